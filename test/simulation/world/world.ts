/**
 * The real library and the real relay in one simulated world. Commands do to this world what real life does: people
 * edit, devices crash and come back, connections break in every way, and the relay is killed or put back to an older
 * copy (`mishaps.ts`). At the end `settle` makes everything work again and checks what must be true then. The oracle
 * checks what must be true at every moment.
 */
import { type Sizes, usualSizes } from "../../../src/base/replica-sizes.ts"
import { decodeRelay, encode } from "../../../src/wire/protocol.ts"
import { Oracle } from "../oracle/oracle.ts"
import { type Latency, Scheduler } from "./clock.ts"
import { changeAccess } from "./mishaps.ts"
import { Network } from "./network.ts"
import type { Random } from "./random.ts"
import { RelayHost } from "./relay.ts"
import { codeOf, collectionOf, type EditKind, Replica, type Workspace } from "./replica.ts"
import { tinySizes } from "./sizes.ts"
import { WORKSPACE } from "./store.ts"

export interface Speeds {
  readonly store: Latency
  readonly network: Latency
  readonly disk: Latency
}

export interface WorldOptions {
  readonly seed: number
  readonly replicas: number
  readonly speeds?: Speeds
  /** Chance that a push, or news from the relay, is delivered twice. Default 0. */
  readonly duplicates?: number
  /** Whether all sizes of the library and of the relay are tiny. */
  readonly tiny?: boolean
  /** Sizes of the library that replace the usual or the tiny ones. */
  readonly sizes?: Partial<Sizes>
  /** Number of entities that the run edits. Default 3. */
  readonly entities?: number
  /** Entries after which the relay's log begins a new segment. */
  readonly segment?: number
  /** Whether each device has a second workspace, and one connection for both. */
  readonly shared?: boolean
  /** Whether the relay sees a principal of its own for each replica. Otherwise all replicas are `local`. */
  readonly principals?: boolean
  /** Bytes that a connection carries in 1 ms. Default infinite. */
  readonly bytesPerMs?: number
  /** Whether people edit entities on screens: through handles, which stay open as long as the program runs. */
  readonly screens?: boolean
  /** Whether frames and flushes wait until they are released, for schedules that name every step. */
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

export class World {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly oracle: Oracle
  readonly relay: RelayHost
  readonly replicas: Replica[] = []
  /** The entities that the run edits. */
  readonly entities: readonly string[]
  /** How often each thing was done to this world. */
  readonly seen = {
    edits: 0,
    "replica crashes": 0,
    "replicas reopened": 0,
    "relay crashes": 0,
    "relay restores": 0,
    "relay files harmed": 0,
    "device restores": 0,
    "offline times": 0,
    "account switches": 0,
    "access withdrawn": 0,
    "access told in a notice": 0,
    "app updates": 0,
    "device rows harmed": 0,
    "device row pages harmed": 0,
    "device changes harmed": 0,
    "device histories harmed": 0,
    "outbox records harmed": 0,
    "outbox pages harmed": 0,
    "returns to a socket": 0,
    "returns amid old frames": 0,
    "acked ambushes": 0,
    "unsynced ambushes": 0,
    "healing ambushes": 0,
    "unread ambushes": 0,
  }
  readonly speeds: Speeds
  /** The harm of an ambush whose moment has come. It is done as soon as the current event is over. */
  strike: (() => Promise<unknown>) | undefined
  readonly chance: Random
  /** Random numbers for the damage on devices' disks. */
  readonly trouble: Random
  /** Whether the relay sees a principal for each account. */
  readonly principals: boolean
  readonly #sizes: Sizes
  /** Undefined: every other replica reads rows without Automerge, so that both ways must give the same rows. */
  readonly #readRows: boolean | undefined
  readonly #seed: number
  readonly #shared: boolean
  readonly #screens: boolean
  #tokens = 0
  #named = 0

  constructor(options: WorldOptions) {
    this.#shared = options.shared ?? false
    this.#screens = options.screens ?? false
    this.#seed = options.seed
    this.principals = options.principals ?? false
    const encodeWrites = options.seed % 2 === 0
    this.#sizes = { ...(options.tiny ? tinySizes : usualSizes), encodeWrites, ...options.sizes }
    this.#readRows = options.sizes?.readRows
    this.entities = Array.from({ length: options.entities ?? 3 }, (_, i) => `e${i}`)
    this.speeds = options.speeds ?? (options.held ? instant : usualSpeeds)
    this.scheduler = new Scheduler(options.seed)
    this.chance = this.scheduler.random("world")
    this.trouble = this.scheduler.random("trouble")
    this.oracle = new Oracle((hash) => this.relay.durable(hash))
    const { wire } = this.oracle
    this.network = new Network(this.scheduler, this.speeds.network, {
      changed: (connection, frame) => this.#asNewerRelay(this.replica(connection.owner), frame),
      up: (connection, frame) => wire.up(this.replica(connection.owner).device, connection, frame),
      arrived: (connection, frame) => wire.arrived(connection, frame),
      down: (connection, frame) => {
        const device = connection.silent.down ? undefined : this.replica(connection.owner)?.device
        wire.down(device, connection, frame)
      },
      reached: (connection, frame) => wire.reached(this.replica(connection.owner).device, frame),
      isPush: (frame) => wire.isPush(frame),
      isNews: (frame) => wire.isNews(frame),
    })
    this.network.duplicates = options.duplicates ?? 0
    this.network.held = options.held ?? false
    this.network.bytesPerMs = options.bytesPerMs ?? Infinity
    const { scheduler, network, oracle } = this
    this.relay = new RelayHost({
      scheduler,
      network,
      oracle,
      latency: this.speeds.disk,
      principalOf: (owner) => (this.principals ? this.replica(owner).principal : "local"),
      accessOf: (owner) => this.replica(owner)?.access ?? "write",
      segmentEntries: options.segment ?? 20_000,
      tiny: options.tiny ?? false,
    })
    this.network.host = this.relay
    for (let i = 0; i < options.replicas; i++) this.addReplica()
  }

  addReplica(): Replica {
    const { scheduler, network, oracle } = this
    const readRows = this.#readRows ?? ((this.#seed >> 1) + this.#named) % 2 === 0
    const name = `r${this.#named++}`
    const sizes = { ...this.#sizes, readRows }
    const replica = new Replica({ name, scheduler, network, oracle, latency: this.speeds.store, sizes })
    replica.dials = !this.network.held
    replica.shares = this.#shared
    replica.onScreens = this.#screens
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

  // what people do ----------------------------------------------------------------------------------------------------

  edit(replica: Replica, kind: EditKind, entity: string): boolean {
    const token = `<${(this.#tokens++).toString(36).padStart(2, "0")}>`
    const done = replica.edit(kind, entity, token, this.chance)
    if (done) this.seen.edits++
    return done
  }

  /** Calls `whenStored`. When it resolves, the oracle checks that everything saved here before is stored. */
  whenStored(replica: Replica): boolean {
    const { ws, device } = replica
    if (!ws) return false
    const { switches } = replica
    const { principal } = ws.status
    // Whether the account was switched and the relay has not yet named the new principal.
    const isSwitching = principal !== replica.principal
    // `whenStored` does not wait for changes that another account has left here.
    const saved = this.oracle.edits
      .savedOn(device)
      .filter(({ hash }) => !this.oracle.devices.waitsForOther(device, hash!, principal))
    ws.whenStored().then(
      () => this.oracle.edits.allStored(device, saved),
      (error) => {
        if (codeOf(error) === "REJECTED" && device.rejected().length > 0) return
        const waitsForOther = isSwitching || replica.switches > switches || ws.status.others.length > 0
        if (codeOf(error) === "PRINCIPAL_CHANGED" && waitsForOther) return
        this.#checkGivenUp(replica, ws, "never stored", error)
      },
    )
    return true
  }

  /** Calls `whenSynced`. When it resolves, the oracle checks that the device has all that is stored now. */
  whenSynced(replica: Replica): boolean {
    const { ws, device } = replica
    if (!ws) return false
    const stored = this.oracle.log.flushed()
    ws.whenSynced().then(
      () => this.oracle.devices.checkSynced(device, stored),
      (error) => this.#checkGivenUp(replica, ws, "never synced", error),
    )
    return true
  }

  /** Checks a rejection that nothing else excuses: the promise may reject only because its workspace was closed. */
  #checkGivenUp(replica: Replica, ws: Workspace, what: string, error: unknown): void {
    if (codeOf(error) === "CLOSED" && replica.ws !== ws) return
    this.oracle.fail(what, `${replica.name}: ${String(error)}`)
  }

  // the end -----------------------------------------------------------------------------------------------------------

  /** Runs `loss`, which replaces or damages disks. Edits whose changes have no copy afterwards are excused. */
  async loseDisks(loss: () => Promise<void>): Promise<void> {
    const holders = this.#holders()
    const before = [...this.oracle.changes.keys()].filter(holders)
    await loss()
    const left = this.#holders()
    const lost = new Set(before.filter((hash) => !left(hash)))
    for (const hash of lost) this.oracle.lost.add(hash)
    for (const edit of this.oracle.edits.made.values()) if (edit.hash && lost.has(edit.hash)) edit.excused = true
  }

  #holders(): (hash: string) => boolean {
    const held = new Set(this.replicas.flatMap(({ device }) => this.oracle.devices.kept(device)))
    return (hash) => held.has(hash) || this.oracle.relayHolds(hash)
  }

  /** Makes everything work from now on. */
  heal(): void {
    this.network.held = false
    this.network.duplicates = 0
    this.network.bytesPerMs = Infinity
    for (const { up, down } of this.network.connections) up.held = down.held = false
    this.relay.release()
    this.relay.failDisk(0)
    this.relay.start()
    for (const replica of this.replicas) {
      replica.device.failCommits(0)
      replica.device.failReads(0)
      replica.tokens.next.length = 0
      replica.newer.next = 0
      if (replica.access === "read") changeAccess(this, replica, "notice")
      if (!replica.running) replica.start()
      replica.wake()
    }
  }

  /** How often each thing has happened in this run. */
  happened(): Record<string, number> {
    const { cuts, zombies, silences, lost, duplicates, overtaken, paused, slow } = this.network.seen
    const { wire, edits, sizes } = this.oracle
    const { heals, adopted, rejected, forbidden, again, deflated, plain, asTheyCame, encodedAgain } = wire.seen
    const saved = Object.entries(edits.kinds).map(([kind, times]) => [`saved: ${kind}`, times])
    return {
      ...this.seen,
      ...Object.fromEntries(saved),
      "edits left by another account": this.replicas.reduce((sum, { othersTold }) => sum + othersTold, 0),
      "edits of the second collection": [...edits.made.values()].filter(
        ({ entity }) => collectionOf(entity) === "tasks",
      ).length,
      "failed commits": this.replicas.reduce((sum, { device }) => sum + device.failures, 0),
      "failed reads": this.replicas.reduce((sum, { device }) => sum + device.readFailures, 0),
      "failed opens": this.replicas.reduce((sum, { failedOpens }) => sum + failedOpens, 0),
      "failed relay disks": this.relay.failures,
      "failed tokens": this.replicas.reduce((sum, { tokens }) => sum + tokens.failed, 0),
      "messages of a newer relay": this.replicas.reduce((sum, { newer }) => sum + newer.met, 0),
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
      "changes refused, read only": forbidden,
      "edits refused, read only": edits.readOnly,
      "entries deflated": deflated,
      "entries not deflated": plain,
      "entries served as they came": asTheyCame,
      "entries encoded again": encodedAgain,
      ...sizes.seen,
      "writes of one turn in several commits": edits.dividedTurns,
      "frames that took over a second": slow,
      "connections not read for a while": paused,
      "credit used up": wire.credit.usedUp,
      ...edits.concurrency(),
    }
  }

  /** Adds an entry of a kind that this library does not know, as a newer relay might send it. */
  #asNewerRelay(replica: Replica | undefined, frame: Uint8Array): Uint8Array {
    if (replica === undefined || replica.newer.next === 0) return frame
    const message = decodeRelay(frame)
    if (message?.t !== "entries" || message.w !== WORKSPACE) return frame
    replica.newer.next--
    replica.newer.met++
    const entry = {
      entity: "newer",
      collection: "notes",
      kind: "snapshot",
      chunks: [new Uint8Array(40)],
      by: "newer",
    } as const
    return encode({ ...message, items: [...message.items, { entry }] })
  }

  /** Closes all replicas, to free memory. */
  async end(): Promise<void> {
    for (const replica of this.replicas) await replica.close()
  }
}
