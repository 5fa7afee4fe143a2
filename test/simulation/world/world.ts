/**
 * The real library and the real relay in one simulated world. Commands do to it what life does: people edit, devices crash
 * and come back, connections break in all their ways, the relay is killed or put back to an older copy. `settle` heals
 * everything and checks what must then be true; the oracle checks what must always be.
 */
import { decodeHeader, HEADER_BYTES } from "../../../relay/log/segment/header.ts"
import type { Relay, RelayOptions } from "../../../src/sync/socket.ts"
import type { Files } from "../../support/disk.ts"
import { Oracle } from "../oracle/oracle.ts"
import { type Latency, Scheduler } from "./clock.ts"
import { Network } from "./network.ts"
import type { Random } from "./random.ts"
import { isOurs, RelayHost } from "./relay.ts"
import { codeOf, type EditKind, Replica } from "./replica.ts"
import type { Records } from "./store.ts"

export interface Speeds {
  readonly store: Latency
  readonly network: Latency
  readonly disk: Latency
}

export interface WorldOptions {
  readonly seed: number
  readonly replicas: number
  readonly speeds?: Speeds
  /** Chance that a push, or news from the relay, arrives twice. */
  readonly duplicates?: number
  /** Entries after which the relay's log begins another file. */
  readonly segment?: number
  /** Each device has a second workspace, and one connection for both. */
  readonly shared?: boolean
  /** Each replica is somebody else's (as a token would say), or all are `local`. */
  readonly principals?: boolean
  /** Frames and flushes wait until they are released: for schedules that name every step. */
  readonly held?: boolean
}

export const usualSpeeds: Speeds = {
  store: { usual: 4, worst: 100 },
  network: { usual: 30, worst: 3000 },
  disk: { usual: 3, worst: 200 },
}
const instant: Speeds = {
  store: { usual: 1, worst: 1 },
  network: { usual: 1, worst: 1 },
  disk: { usual: 1, worst: 1 },
}

export const ENTITIES = ["e0", "e1", "e2"] as const

export class World {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly oracle: Oracle
  readonly relay: RelayHost
  readonly replicas: Replica[] = []
  readonly seen = {
    edits: 0,
    "replica crashes": 0,
    "replicas reopened": 0,
    "relay crashes": 0,
    "relay restores": 0,
    "relay files harmed": 0,
    "device restores": 0,
    "offline times": 0,
    "returns to a socket": 0,
    "returns amid old frames": 0,
    "acked ambushes": 0,
    "unsynced ambushes": 0,
    "healing ambushes": 0,
    "unread ambushes": 0,
  }
  readonly speeds: Speeds
  /** Happens as soon as the event is over that has made the moment for it. */
  strike: (() => Promise<unknown>) | undefined
  readonly #chance: Random
  readonly #shared: boolean
  #tokens = 0
  #named = 0

  constructor(options: WorldOptions) {
    this.#shared = options.shared ?? false
    this.speeds = options.speeds ?? (options.held ? instant : usualSpeeds)
    this.scheduler = new Scheduler(options.seed)
    this.#chance = this.scheduler.random("world")
    this.oracle = new Oracle((bytes) => this.relay.durable(bytes))
    this.network = new Network(this.scheduler, this.speeds.network, {
      up: (connection, frame) => this.oracle.up(this.replica(connection.owner).device, connection, frame),
      down: (connection, frame) => {
        const device = connection.silent.down ? undefined : this.replica(connection.owner)?.device
        this.oracle.down(device, connection, frame)
      },
      isPush: (frame) => this.oracle.isPush(frame),
      isNews: (frame) => this.oracle.isNews(frame),
    })
    this.network.duplicates = options.duplicates ?? 0
    this.network.held = options.held ?? false
    const principal = (owner: string) => (options.principals ? this.replica(owner).principal : "local")
    const { disk } = this.speeds
    this.relay = new RelayHost(this.scheduler, this.network, this.oracle, disk, principal, options.segment ?? 20_000)
    this.network.host = this.relay
    for (let i = 0; i < options.replicas; i++) this.addReplica()
  }

  addReplica(): Replica {
    const name = `r${this.#named++}`
    const replica = new Replica(this.scheduler, this.network, this.oracle, name, this.speeds.store)
    replica.dials = !this.network.held
    replica.shares = this.#shared
    this.replicas.push(replica)
    return replica
  }

  replica(name: string): Replica {
    return this.replicas.find((replica) => replica.name === name)!
  }

  start(): void {
    this.relay.start()
    for (const replica of this.replicas) replica.start()
    this.check()
  }

  check(): void {
    if (this.oracle.violation) throw this.oracle.violation
  }

  async pass(ms: number): Promise<void> {
    const until = this.scheduler.now + ms
    while (await this.#step(until));
    await this.scheduler.pass(Math.max(0, until - this.scheduler.now))
  }

  async steps(n: number): Promise<void> {
    for (let i = 0; i < n; i++) if (!(await this.#step())) return
  }

  async #step(until?: number): Promise<boolean> {
    const stepped = await this.scheduler.step(until)
    const strike = this.strike
    this.strike = undefined
    await strike?.()
    this.check()
    return stepped
  }

  // what happens to it ------------------------------------------------------------------------------------------------

  edit(replica: Replica, kind: EditKind, entity: string): boolean {
    const token = `<${(this.#tokens++).toString(36).padStart(2, "0")}>`
    const done = replica.edit(kind, entity, token, this.#chance)
    if (done) this.seen.edits++
    return done
  }

  crash(replica: Replica, delivered: boolean): boolean {
    if (!replica.running) return false
    this.seen["replica crashes"]++
    replica.crash(delivered)
    return true
  }

  open(replica: Replica): boolean {
    if (replica.running) return false
    this.seen["replicas reopened"]++
    replica.start()
    return true
  }

  async close(replica: Replica): Promise<boolean> {
    if (!replica.ws) return false
    await replica.close()
    return true
  }

  /** To the relay that it had last, or to this one. */
  connect(replica: Replica, relay?: Relay | RelayOptions): void {
    const { ws, left } = replica
    if (!ws) return
    if (left?.open) {
      this.seen["returns to a socket"]++
      if (left.up.length + left.down.length > 0) this.seen["returns amid old frames"]++
    }
    replica.left = undefined
    ws.connect(relay)
  }

  disconnect(replica: Replica): void {
    const { ws } = replica
    if (ws?.status.connected) replica.left = this.network.of(replica.name).at(-1)
    ws?.disconnect()
  }

  /** The device is gone for good. */
  async destroy(replica: Replica): Promise<void> {
    await this.#loseDisks(async () => {
      replica.crash(false)
      this.replicas.splice(this.replicas.indexOf(replica), 1)
    })
  }

  goOffline(replica: Replica): boolean {
    if (!replica.online) return false
    this.seen["offline times"]++
    replica.online = false
    for (const connection of this.network.of(replica.name)) connection.cut()
    return true
  }

  /** `x` chooses whether the power goes, who is told, and how long it is down. */
  async crashRelay(x: number): Promise<boolean> {
    if (!this.relay.running) return false
    this.seen["relay crashes"]++
    await this.relay.crash(x % 2 === 0, (id) => x % 3 !== 2 || id % 2 === 0)
    this.#startRelayAfter([100, 2000, 60_000][(x >> 2) % 3]!)
    return true
  }

  async restoreRelay(which: number): Promise<boolean> {
    const { backups } = this.relay
    const copy = backups[which % backups.length]
    if (!copy) return false
    await this.putBack(copy)
    return true
  }

  /** An older copy takes the place of the relay's disk. */
  async putBack(copy: Files): Promise<void> {
    this.oracle.noteStored()
    await this.#loseDisks(() => this.relay.restore(copy))
    this.#startRelayAfter(100)
    this.seen["relay restores"]++
  }

  /** While the relay is down, one byte of one of its files becomes another one. False when there is none. */
  async harmRelay(where: (file: Uint8Array, path: string) => number): Promise<boolean> {
    const files = new Map(this.relay.snapshot())
    const fitting = [...files].filter(([path, bytes]) => isOurs(path) && inside(bytes, where(bytes, path)))
    if (fitting.length === 0) return false
    const [path, file] = this.#chance.pick(fitting)
    const at = where(file, path)
    const bytes = file.slice()
    bytes[at]! ^= 1 + this.#chance.below(255)
    this.oracle.noteStored()
    const before = await this.relay.readLog(files)
    await this.#loseDisks(() => this.relay.restore(files.set(path, bytes)))
    this.oracle.harmed(segmentOf(path), before)
    const left = new Set((await this.relay.readLog()).map(({ position }) => position))
    const gone = before.filter(({ position }) => !left.has(position)).length
    if (gone > mayCost(path, file, at))
      this.oracle.fail("harmed too much", `${gone} of ${before.length} entries for byte ${at} of ${path}`)
    this.#startRelayAfter(100)
    this.seen["relay files harmed"]++
    return true
  }

  #startRelayAfter(ms: number): void {
    this.scheduler.after(ms, "relay starts", () => this.relay.start())
  }

  failCommits(replica: Replica, n: number): boolean {
    if (!replica.running) return false
    replica.device.failCommits(n)
    return true
  }

  /** Asks when all that is saved here is stored; the oracle checks the answer. */
  whenStored(replica: Replica): boolean {
    const { ws } = replica
    if (!ws) return false
    const saved = this.oracle.edits.savedOn(replica.device)
    ws.whenStored().then(
      () => this.oracle.edits.allStored(replica.device, saved),
      (error) => {
        const code = codeOf(error)
        if (code !== "CLOSED" && code !== "REJECTED") this.oracle.fail("never stored", `${replica.name}: ${code}`)
      },
    )
    return true
  }

  backUpDevice(replica: Replica): boolean {
    replica.backup = { records: replica.device.backup(), principal: replica.principal }
    return true
  }

  async restoreDevice(replica: Replica): Promise<boolean> {
    const { backup } = replica
    if (!backup) return false
    replica.principal = backup.principal // whoever has the device back has its account too
    await this.#replaceDevice(replica, backup.records)
    return true
  }

  /** A new device takes its place: it has nothing. */
  wipeDevice(replica: Replica): Promise<void> {
    return this.#replaceDevice(replica, new Map())
  }

  /** Two devices of one person go on from one copied store. */
  async cloneDevice(replica: Replica, from: Replica): Promise<boolean> {
    if (replica === from) return false
    replica.principal = from.principal
    await this.#replaceDevice(replica, from.device.backup())
    return true
  }

  /** What no disk holds any more afterwards is nobody's fault. */
  async #replaceDevice(replica: Replica, records: Records): Promise<void> {
    await this.#loseDisks(async () => {
      replica.crash(false)
      replica.device.restore(records)
      this.oracle.reload(replica.device)
    })
    this.seen["device restores"]++
    replica.start()
  }

  async #loseDisks(loss: () => Promise<void>): Promise<void> {
    const holders = this.#holders()
    const before = [...this.oracle.changes.keys()].filter(holders)
    await loss()
    const left = this.#holders()
    const lost = new Set(before.filter((hash) => !left(hash)))
    for (const hash of lost) this.oracle.lost.add(hash)
    for (const edit of this.oracle.edits.made.values()) if (edit.hash && lost.has(edit.hash)) edit.excused = true
  }

  #holders(): (hash: string) => boolean {
    const held = new Set(this.replicas.flatMap(({ device }) => this.oracle.kept(device)))
    return (hash) => held.has(hash) || this.oracle.relayHolds(hash)
  }

  /** Everything works from here on. */
  heal(): void {
    this.network.held = false
    this.network.duplicates = 0
    for (const { up, down } of this.network.connections) up.held = down.held = false
    this.relay.release()
    this.relay.failDisk(0)
    this.relay.start()
    for (const replica of this.replicas) {
      replica.device.failCommits(0)
      if (!replica.running) replica.start()
      replica.wake()
    }
  }

  /** How often each thing happened. */
  happened(): Record<string, number> {
    const { cuts, zombies, silences, lost, duplicates, overtaken } = this.network.seen
    const { heals, adopted, rejected, again } = this.oracle.seen
    const saved = Object.entries(this.oracle.edits.kinds).map(([kind, times]) => [`saved: ${kind}`, times])
    return {
      ...this.seen,
      ...Object.fromEntries(saved),
      "failed commits": this.replicas.reduce((sum, { device }) => sum + device.failures, 0),
      "failed relay disks": this.relay.failures,
      "connections dropped": cuts,
      "zombie connections": zombies,
      "half-open connections": silences,
      "frames lost on the way up": lost.up,
      "frames lost on the way down": lost.down,
      "frames doubled, up": duplicates.up,
      "frames doubled, down": duplicates.down,
      "pushes overtaken": overtaken,
      "changes pushed again": again,
      heals,
      "changes adopted": adopted,
      "changes refused": rejected,
      ...this.oracle.edits.concurrency(),
    }
  }

  /** Frees what the run has used. */
  async end(): Promise<void> {
    for (const replica of this.replicas) await replica.close()
  }
}

/** Bytes of a segment's header, which has a copy at its end (`relay/log/segment/header.ts`). */
export const COPY = 128

/** `…/00000003.log` is 3. */
const segmentOf = (path: string): number => Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10)
/** Entries that one byte may destroy: a record is one, a header is there twice, and an index can be made again. */
function mayCost(path: string, file: Uint8Array, at: number): number {
  if (!path.endsWith(".log")) return 0
  const header = Buffer.from(file.subarray(0, HEADER_BYTES))
  // With both copies of the header gone there is only the index to say where records are: it knows of no second way.
  if (at >= HEADER_BYTES) return decodeHeader(header) ? 1 : Number.POSITIVE_INFINITY
  const bothWhole = header.subarray(0, COPY).equals(header.subarray(-COPY))
  return bothWhole ? 0 : Number.POSITIVE_INFINITY
}
const inside = (bytes: Uint8Array, at: number): boolean => at >= 20 && at < bytes.length
