/**
 * The real library and the real relay in one simulated world. Commands do to it what life does: people edit, devices crash
 * and come back, connections break in all their ways, the relay is killed or put back to an older copy. `settle` heals
 * everything and checks what must then be true; the oracle checks what must always be.
 */
import { type Latency, Scheduler } from "./clock.ts"
import { checkEnd } from "./end.ts"
import { Network } from "./network.ts"
import { Oracle, Violation } from "./oracle.ts"
import type { Random } from "./random.ts"
import { RelayHost } from "./relay.ts"
import { codeOf, type EditKind, RELAY, Replica } from "./replica.ts"
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
  /** Chance that a push frame arrives twice. */
  readonly duplicates?: number
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

/** How long a healed world may take to agree: far above the longest pause between two attempts to connect. */
const SETTLE_MS = 30 * 60_000
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
    "device restores": 0,
    "failed commits": 0,
    "offline times": 0,
  }
  readonly #speeds: Speeds
  readonly #chance: Random
  #tokens = 0
  #named = 0

  constructor(options: WorldOptions) {
    this.#speeds = options.speeds ?? (options.held ? instant : usualSpeeds)
    this.scheduler = new Scheduler(options.seed)
    this.#chance = this.scheduler.random("world")
    this.oracle = new Oracle((bytes) => this.relay.durable(bytes))
    this.network = new Network(this.scheduler, this.#speeds.network, {
      up: (connection, frame) => this.oracle.up(this.replica(connection.owner).device, connection, frame),
      down: (connection, frame) => this.oracle.down(connection, frame),
      repeatable: (frame) => this.oracle.isPush(frame),
    })
    this.network.duplicates = options.duplicates ?? 0
    this.network.held = options.held ?? false
    this.relay = new RelayHost(this.scheduler, this.network, this.oracle, this.#speeds.disk, (owner) => {
      return options.principals ? this.replica(owner).principal : "local"
    })
    this.network.host = this.relay
    for (let i = 0; i < options.replicas; i++) this.addReplica()
  }

  addReplica(): Replica {
    const name = `r${this.#named++}`
    const replica = new Replica(this.scheduler, this.network, this.oracle, name, this.#speeds.store)
    replica.dials = !this.network.held
    this.replicas.push(replica)
    return replica
  }

  replica(name: string): Replica {
    return this.replicas.find((replica) => replica.name === name)!
  }

  async start(): Promise<void> {
    await this.relay.start()
    for (const replica of this.replicas) replica.start()
    this.check()
  }

  check(): void {
    if (this.oracle.violation) throw this.oracle.violation
  }

  async pass(ms: number): Promise<void> {
    await this.scheduler.pass(ms)
    this.check()
  }

  async steps(n: number): Promise<void> {
    await this.scheduler.steps(n)
    this.check()
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

  connect(replica: Replica): void {
    replica.ws?.connect(RELAY)
  }

  disconnect(replica: Replica): void {
    replica.ws?.disconnect()
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

  async crashRelay(told: number): Promise<boolean> {
    if (!this.relay.running) return false
    this.seen["relay crashes"]++
    await this.relay.crash(told)
    return true
  }

  async restoreRelay(which: number): Promise<boolean> {
    if (this.relay.backups.length === 0) return false
    this.oracle.noteStored()
    await this.#loseDisks(async () => {
      await this.relay.restore(which)
    })
    this.seen["relay restores"]++
    return true
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
    const saved = [...this.oracle.edits.values()].filter(
      (edit) => edit.replica === replica.name && edit.state === "saved",
    )
    ws.whenStored().then(
      () => this.oracle.allStored(replica.device, saved),
      (error) => {
        const code = codeOf(error)
        if (code !== "CLOSED" && code !== "REJECTED") this.oracle.fail("never stored", `${replica.name}: ${code}`)
      },
    )
    return true
  }

  backUpDevice(replica: Replica): boolean {
    replica.backup = replica.device.backup()
    return true
  }

  async restoreDevice(replica: Replica): Promise<boolean> {
    const { backup } = replica
    if (!backup) return false
    await this.#replaceDevice(replica, backup)
    return true
  }

  /** Two devices go on from one copied store. */
  async cloneDevice(replica: Replica, from: Replica): Promise<boolean> {
    if (replica === from) return false
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
    const before = [...this.oracle.edits.values()].filter((edit) => edit.hash && holders(edit.hash))
    await loss()
    const left = this.#holders()
    for (const edit of before) if (!left(edit.hash!)) edit.excused = true
  }

  #holders(): (hash: string) => boolean {
    const held = new Set(this.replicas.flatMap(({ device }) => this.oracle.kept(device)))
    return (hash) => held.has(hash) || this.oracle.onDiskNow(hash)
  }

  // the end -----------------------------------------------------------------------------------------------------------

  /** Everything works again: the world must come to rest, and agree. */
  async settle(): Promise<void> {
    this.network.held = false
    this.network.duplicates = 0
    for (const { up, down } of this.network.connections) up.held = down.held = false
    this.relay.release()
    if (!this.relay.running) await this.relay.start()
    for (const replica of this.replicas) {
      replica.device.failCommits(0)
      if (!replica.running) replica.start()
      replica.wake()
    }
    await this.#eachWrites()
    await this.#rest()
    this.addReplica().start()
    await this.#rest()
    await checkEnd(this)
  }

  /** After all that it went through, every replica can write, and be read by the others. */
  async #eachWrites(): Promise<void> {
    const until = this.scheduler.now + SETTLE_MS
    for (const replica of this.replicas) {
      while (!replica.ws && this.scheduler.now < until) await this.pass(100)
      if (!replica.ws) throw new Violation("never opens", replica.name)
      this.edit(replica, "both", `last-${replica.name}`)
    }
  }

  async #rest(): Promise<void> {
    const until = this.scheduler.now + SETTLE_MS
    for (const replica of this.replicas) if (replica.ws?.status.phase !== "live") this.connect(replica)
    // Longer than anything can be on its way.
    const enough = 3000 + 2 * this.#speeds.network.worst
    for (let quiet = 0; quiet < enough; ) {
      await this.pass(1000)
      quiet = this.replicas.every(isLevel) ? quiet + 1000 : 0
      if (this.scheduler.now > until) {
        const states = this.replicas.map(({ name, ws }) => `${name} ${JSON.stringify(ws?.status ?? "not open")}`)
        throw new Violation("never quiet", states.join("; "))
      }
    }
  }

  /** How often each thing happened. */
  happened(): Record<string, number> {
    const { cuts, zombies, silences, duplicates } = this.network.seen
    const { heals, adopted, rejected } = this.oracle.seen
    return {
      ...this.seen,
      "connections dropped": cuts,
      "zombie connections": zombies,
      "half-open connections": silences,
      "push frames duplicated": duplicates,
      heals,
      "changes adopted": adopted,
      "changes refused": rejected,
      ...this.oracle.concurrency(),
    }
  }

  /** Frees what the run has used. */
  async end(): Promise<void> {
    for (const replica of this.replicas) await replica.close()
  }
}

const isLevel = ({ ws }: Replica): boolean => ws?.status.phase === "live" && ws.status.pending === 0
