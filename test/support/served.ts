/**
 * The part of a relay behind its sockets: real connections on a real log, on a disk in memory. No disk operation takes
 * longer than a turn of the event loop. A test says how full a socket is, and may make every size tiny.
 */
import { createHash } from "node:crypto"
import type { Log, Logs } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { Connection } from "../../relay/serve/connection.ts"
import type { ServeSizes } from "../../relay/serve/serve-sizes.ts"
import { ServedWorkspaces } from "../../relay/serve/served-workspace.ts"
import type { Clock } from "../../src/base/env.ts"
import type { Code } from "../../src/base/errors.ts"
import { hashOf } from "../../src/wire/chunk.ts"
import { type Access, decodeRelay, type RelayMessage } from "../../src/wire/protocol.ts"
import { Client } from "./client.ts"
import { dice } from "./dice.ts"
import { type Files, type SimDisk, simDisk } from "./disk.ts"
import { bodyAt } from "./logged-body.ts"

export interface ServedOptions {
  readonly sizes?: Partial<ServeSizes>
  readonly clock?: Clock
  /** The files on the disk at the start, as `SimDisk.snapshot` returned them. */
  readonly files?: Files
}

export class Served {
  readonly disk: SimDisk
  readonly workspaces: ServedWorkspaces
  /** For each workspace's log: by how many users it is open now, and how many listeners it has. */
  readonly uses = new Map<string, { opened: number; listeners: number }>()
  readonly #clock: Clock
  readonly #logs: Logs
  #nextId = 1
  #syncs = Promise.resolve()
  #release = () => {}
  #broken = false

  static async open(options: ServedOptions = {}): Promise<Served> {
    const before = async ({ kind }: { kind: string }): Promise<void> => {
      if (kind !== "sync") return
      await served.#syncs
      if (served.#broken) throw new Error("the disk is broken")
    }
    const disk = simDisk({ random: dice(1), before: (operation) => before(operation) })
    if (options.files) disk.restore(options.files)
    const logs = await openLogs({ folder: "data", disk: disk.disk, clock: nodeClock, report() {} })
    const served = new Served(disk, logs, options)
    return served
  }

  private constructor(disk: SimDisk, logs: Logs, { sizes, clock = nodeClock }: ServedOptions) {
    this.disk = disk
    this.#clock = clock
    this.#logs = logs
    this.workspaces = new ServedWorkspaces(
      { open: (w) => this.#open(w), check: () => logs.check(), close: () => logs.close() },
      sizes,
    )
  }

  /** A replica that has just connected. */
  connect(options: ReplicaOptions = {}): Replica {
    return new Replica(this, this.#nextId++, this.#clock, options)
  }

  log(workspace = "w"): Promise<Log> {
    return this.#logs.open(workspace)
  }

  /** From now on flushes wait until `release`. */
  hold(): void {
    this.#syncs = new Promise((resolve) => {
      this.#release = resolve
    })
  }

  release(): void {
    this.#release()
  }

  /** Makes flushes fail, or succeed again. */
  fail(broken: boolean): void {
    this.#broken = broken
  }

  /** Flips bits of the flushed entry of which this is the first chunk. */
  damage(chunk: Uint8Array, w = "w"): void {
    const folder = `data/${createHash("sha256").update(w).digest("hex")}/`
    for (const [path, file] of this.disk.files()) {
      if (!path.startsWith(folder)) continue
      const at = bodyAt(path, file, hashOf(chunk))
      if (at >= 0) return this.disk.rot(path, at + 20)
    }
    throw new Error("no file has this entry")
  }

  /** Resolves after so many turns of the event loop that nothing more happens by itself. */
  async settled(): Promise<void> {
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  async close(): Promise<void> {
    this.release()
    await this.#logs.close()
  }

  async #open(w: string): Promise<Log> {
    const log = await this.#logs.open(w)
    const uses = this.uses.get(w) ?? { opened: 0, listeners: 0 }
    this.uses.set(w, uses)
    uses.opened++
    const listening = (stop: () => void) => {
      uses.listeners++
      return () => {
        uses.listeners--
        stop()
      }
    }
    return new Proxy(log, {
      get(target, name) {
        if (name === "onFlush") return (f: () => void) => listening(target.onFlush(f))
        if (name === "onBreak") return (f: () => void) => listening(target.onBreak(f))
        if (name === "close") {
          return () => {
            uses.opened--
            return target.close()
          }
        }
        const value = Reflect.get(target, name, target)
        return typeof value === "function" ? value.bind(target) : value
      },
    })
  }
}

export interface ReplicaOptions {
  readonly access?: Access
  readonly principal?: string
  /** Called with each message when the relay sends it. */
  hears?(message: RelayMessage): void
}

/** A connected replica whose messages a test sends. */
export class Replica extends Client {
  readonly connection: Connection
  readonly id: number
  /** The number of bytes in its socket, as its connection sees it. */
  buffered = 0
  /** Whether its connection has stopped reading. `pauses`: how often it has stopped or begun again. */
  paused = false
  pauses = 0
  readonly reported: Code[] = []

  constructor(served: Served, id: number, clock: Clock, options: ReplicaOptions) {
    super()
    const { access = "write", principal = "local", hears = () => {} } = options
    this.id = id
    this.connection = new Connection({
      id,
      workspaces: served.workspaces,
      clock,
      principal,
      access,
      send: (frame) => {
        hears(decodeRelay(frame)!)
        this.arrived(frame)
      },
      close: (code, reason) => this.hasClosed(code, reason),
      buffered: () => this.buffered,
      pauseReading: (paused) => {
        this.paused = paused
        this.pauses++
      },
      report: (code) => this.reported.push(code),
    })
  }

  /** Tells the connection that the socket is gone. */
  disconnect(): void {
    this.connection.disconnected()
  }

  /** Acts as the network that has taken all bytes in the socket except `left`. */
  drain(left = 0): void {
    this.buffered = left
    this.connection.drained()
  }

  sendFrame(frame: Uint8Array): void {
    this.connection.receive(frame)
  }
}
