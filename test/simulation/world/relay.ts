/** The relay's machine: its disk, and, while the relay runs, the real connections and the real log. */

import { hash } from "node:crypto"
import type { Log, Logs } from "../../../relay/log/contract.ts"
import type { LogSizes } from "../../../relay/log/log-sizes.ts"
import { openLogs } from "../../../relay/log/logs.ts"
import { Connection, closeCode } from "../../../relay/serve/connection.ts"
import type { ServeSizes } from "../../../relay/serve/serve-sizes.ts"
import { ServedWorkspaces } from "../../../relay/serve/served-workspace.ts"
import { type Access, encode, type Hash, position } from "../../../src/wire/protocol.ts"
import { type Files, type Operation, type SimDisk, simDisk } from "../../support/disk.ts"
import { hasChange } from "../../support/logged-body.ts"
import { type Logged, Violation } from "../oracle/facts.ts"
import type { Oracle } from "../oracle/oracle.ts"
import { draw, type Lane, type Latency, Process, type Scheduler } from "./clock.ts"
import type { Host, Line, Listener, Network } from "./network.ts"
import type { Random } from "./random.ts"
import { tinyLogSizes, tinyServeSizes } from "./sizes.ts"
import { HOME, WORKSPACE } from "./store.ts"

const FOLDER = "data"
/** Whether a file belongs to the log of the workspace that the property checks. */
export const isOurs = (path: string): boolean => path.includes(OURS)
const OURS = `/${hash("sha256", WORKSPACE)}/`
/** Events that the relay reports after it has read all of a segment and something is missing there. */
const FOUND: ReadonlySet<unknown> = new Set(["log.damaged", "log.torn", "log.missing"])

export interface RelayHostOptions {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly oracle: Oracle
  /** How long operations of its disk take. */
  readonly latency: Latency
  /** The principal that the relay sees behind a device. */
  readonly principalOf: (owner: string) => string
  /** The access that the relay grants to a device now. */
  readonly accessOf: (owner: string) => Access
  /** Entries after which its log begins a new segment. */
  readonly segmentEntries: number
  /** Whether all other sizes of its log and of its serving are tiny. */
  readonly tiny: boolean
}

export class RelayHost implements Host {
  readonly backups: Files[] = []
  /** Called before the disk syncs, with the number of entries that were appended and not flushed. */
  onSync: (entries: number) => void = () => {}
  /** Called when the relay has found that its log has lost entries. */
  onBreak: () => void = () => {}
  /** How many disk operations have failed. */
  failures = 0
  readonly #disk: SimDisk
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #oracle: Oracle
  readonly #latency: Latency
  readonly #syncs: Lane
  readonly #random: Random
  readonly #principalOf: (owner: string) => string
  readonly #accessOf: (owner: string) => Access
  /** The open connections, each with its line. */
  readonly #served = new Map<Connection, Line>()
  readonly #logSizes: Partial<LogSizes>
  readonly #serveSizes: Partial<ServeSizes>
  #process: Process | undefined
  #workspaces: ServedWorkspaces | undefined
  #logs: Logs | undefined
  #log: Log | undefined
  #life = 0
  #failing = 0
  /**
   * Whether an operation of the disk has failed, or damage was found, since the program started. In that case the relay
   * may refuse to serve.
   */
  #troubled = false
  /** Whether a flush of the log has failed since the log was opened last. */
  #failed = false

  constructor({ scheduler, network, oracle, latency, principalOf, accessOf, segmentEntries, tiny }: RelayHostOptions) {
    this.#scheduler = scheduler
    this.#network = network
    this.#oracle = oracle
    this.#latency = latency
    this.#principalOf = principalOf
    this.#accessOf = accessOf
    this.#logSizes = { ...(tiny && tinyLogSizes), segmentEntries }
    this.#serveSizes = tiny ? tinyServeSizes : {}
    this.#random = scheduler.random("relay")
    this.#syncs = scheduler.lane("relay", latency)
    this.#syncs.held = network.held
    this.#disk = simDisk({ random: () => this.#random.unit(), before: (operation) => this.#takesTime(operation) })
  }

  get running(): boolean {
    return this.#process !== undefined
  }

  /** Starts the program. It listens some events later. */
  start(): void {
    if (this.#process) return
    const process = new Process(this.#scheduler, `relay.${++this.#life}`)
    this.#process = process
    this.#troubled = false
    this.#failed = false
    const report = (event: object) => this.#note(event)
    const { disk } = this.#disk
    openLogs({ folder: FOLDER, disk, clock: process, report, sizes: this.#logSizes }).then(
      (logs) => {
        this.#logs = logs
        this.#workspaces = new ServedWorkspaces(this.#watched(logs), this.#serveSizes)
      },
      (error) => this.#oracle.fail("the relay does not start", String(error)),
    )
  }

  /**
   * Ends the program by kill -9, or by a power failure, which also takes everything that was not synced. `told`: which
   * clients notice at once.
   */
  async crash(power: boolean, told: (id: number) => boolean): Promise<void> {
    this.#stop(told)
    if (power) this.#disk.crash()
    else this.#disk.kill()
    // After a kill the system still has what was written and not synced.
    this.#oracle.log.restarted(await this.readLog(this.#disk.files()), false)
  }

  /** Opens the log before a client asks for it. */
  async openLog(): Promise<void> {
    await this.#logs?.open(WORKSPACE)
  }

  /** A copy of the files that would survive a power failure now. The oracle notes which damage is in the copy. */
  snapshot(): Files {
    const files = this.#disk.snapshot()
    this.#oracle.causes.copied(files)
    return files
  }

  backUp(): void {
    this.backups.push(this.snapshot())
  }

  /** Replaces the disk by an older copy. */
  async restore(copy: Files): Promise<void> {
    this.#stop(() => true)
    this.#disk.restore(copy)
    this.#oracle.causes.restored(copy)
    this.#oracle.log.restarted(await this.readLog(), true)
  }

  /** Lets the first waiting sync happen. False when no sync waits. */
  flush(): Promise<boolean> {
    return this.#syncs.release()
  }

  release(): void {
    this.#syncs.held = false
  }

  /** Whether the disk has this change and keeps it even if the power fails now. */
  durable(hash: Hash): boolean {
    for (const [path, file] of this.#disk.snapshot()) if (isOurs(path) && hasChange(path, file, hash)) return true
    return false
  }

  /**
   * The entries that a relay started on these files would serve. Default: the files that would survive a power failure
   * now. Takes no simulated time and changes nothing.
   */
  async readLog(files = this.#disk.snapshot()): Promise<Logged[]> {
    const copy = simDisk({ random: () => 0 })
    copy.restore(files)
    const { disk } = copy
    for (const path of files.keys()) await disk.makeFolder(path.slice(0, path.lastIndexOf("/")))
    const clock = new Process(this.#scheduler, "reader")
    const logs = await openLogs({ folder: FOLDER, disk, clock, report: () => {} })
    const log = await logs.open(WORKSPACE)
    const entries: Logged[] = []
    try {
      for (let page = await log.since(0, 2 ** 20); page.entries.length > 0; ) {
        for (const { position, entry } of page.entries) entries.push({ position, entry })
        page = await log.since(entries.at(-1)!.position, 2 ** 20)
      }
    } catch (error) {
      throw new Violation("no entry where the log has one", String(error))
    }
    await log.close()
    await logs.close()
    return entries
  }

  accept(_url: string, line: Line): Listener | undefined {
    if (!this.#process || !this.#workspaces) return undefined
    const accessNow = () => this.#accessOf(line.owner)
    const connection = new Connection({
      id: line.id,
      workspaces: this.#workspaces,
      clock: this.#process,
      principal: this.#principalOf(line.owner),
      get access() {
        return accessNow()
      },
      send: (frame) => line.send(frame),
      close: (code, reason) => {
        if (code === closeCode.bad || code === closeCode.failed)
          this.#oracle.fail("ended for no good reason", `${line.owner}'s connection: ${code} ${reason}`)
        this.#served.delete(connection)
        line.close(code, reason)
      },
      buffered: () => line.buffered(),
      pauseReading: (paused) => line.pauseReading(paused),
      report: (_code, error, workspace) => {
        if (workspace !== undefined && !this.#troubled)
          this.#oracle.fail("not served for no good reason", `${line.owner}'s connection: ${String(error)}`)
      },
    })
    this.#served.set(connection, line)
    return {
      receive: (frame) => connection.receive(frame),
      closed: () => {
        this.#served.delete(connection)
        connection.disconnected()
      },
      drained: () => connection.drained(),
    }
  }

  /**
   * Tells a device in a notice which access it has now, as a relay does when its list of grants has changed. A
   * connection that has sent no request yet gets no notice: the answer to its first pull names the access. Returns
   * whether any connection got a notice.
   */
  sayAccess(owner: string): boolean {
    const told = [...this.#served].filter(([{ active }, line]) => active && line.owner === owner)
    const access = this.#accessOf(owner)
    for (const [, line] of told)
      for (const w of [WORKSPACE, HOME]) line.send(encode({ t: "notice", w, code: "FORBIDDEN", access }))
    return told.length > 0
  }

  /** Makes the next `n` writes or syncs of the disk fail. */
  failDisk(n: number): void {
    this.#failing = n
  }

  #takesTime({ kind, path }: Operation): Promise<void> {
    const process = this.#process!
    const fails = this.#failing > 0 && (kind === "write" || kind === "sync")
    if (fails) {
      this.#failing--
      this.failures++
      this.#troubled = true
    }
    const label = `${kind} ${path.slice(-12)}${fails ? " fails" : ""}`
    if (kind === "sync" && isOurs(path) && this.#log) this.onSync(this.#log.appended - position(this.#log.end))
    return new Promise((resolve, reject) => {
      const end = fails ? () => reject(new Error("the simulated disk said no")) : resolve
      if (kind === "sync" || kind === "syncFolder") this.#syncs.push(label, end, process)
      else this.#scheduler.after(draw(this.#random, this.#latency), `relay ${label}`, end, process)
    })
  }

  #stop(told: (id: number) => boolean): void {
    this.#process?.kill()
    this.#process = undefined
    this.#workspaces = undefined
    this.#logs = undefined
    this.#log = undefined
    this.#failing = 0
    this.#served.clear()
    this.#syncs.clear()
    this.#network.hostDied(({ id }) => told(id))
  }

  #note(event: object): void {
    this.#scheduler.note(JSON.stringify(event))
    if (!("event" in event) || ("workspace" in event && event.workspace !== WORKSPACE)) return
    // The relay takes no push from the moment it finds damage until it has mended the log.
    if (event.event === "log.damage" || event.event === "log.broken") this.#troubled = true
    if (event.event === "log.broken") this.onBreak()
    if ("segment" in event && FOUND.has(event.event)) this.#oracle.causes.harmFound(Number(event.segment))
    if (event.event !== "log.failed" || !this.#log) return
    this.#failed = true
    this.#oracle.log.rolledBack(this.#log.appended)
  }

  /** Returns logs that report every appended entry to the oracle. */
  #watched(logs: Logs): Logs {
    const watch = (log: Log): Log =>
      new Proxy(log, {
        get: (target, name) => {
          if (name === "append") {
            return (...given: Parameters<Log["append"]>) => {
              const position = target.append(...given)
              this.#oracle.log.appended(position, given[0])
              return position
            }
          }
          const value = Reflect.get(target, name, target)
          return typeof value === "function" ? value.bind(target) : value
        },
      })
    const open = async (workspace: string) => {
      if (workspace !== WORKSPACE) return logs.open(workspace)
      const log = await logs.open(workspace)
      // After a failed flush the log takes back the entries that were not flushed. When its files are opened again, it
      // has those of these entries that are whole in its file. But a log that nobody has borrowed for a while may still
      // be open, and then it has none of them.
      const isReopened = log !== this.#log
      if (this.#failed && isReopened) this.#oracle.log.restarted(await this.readLog(this.#disk.files()), false)
      if (isReopened) this.#failed = false
      this.#log = log
      return watch(log)
    }
    return { open, check: () => logs.check(), close: () => logs.close() }
  }
}
