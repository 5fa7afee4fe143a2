/** A world whose frames and flushes wait to be told: for schedules that name every step. */

import type { State } from "../../../src/replica/disk/records.ts"
import { position } from "../../../src/wire/protocol.ts"
import { bodyAt } from "../../support/logged-body.ts"
import { settle } from "../end.ts"
import {
  backUpDevice,
  connect,
  crash,
  crashRelay,
  destroy,
  disconnect,
  harmRelay,
  open,
  restoreDevice,
  restoreRelay,
} from "./mishaps.ts"
import { RELAY, type Replica } from "./replica.ts"
import { World, type WorldOptions } from "./world.ts"

/** Enough for whatever follows at once (nothing takes time here), too little for any pause that the library makes. */
const SOON_MS = 1

export class Stage {
  readonly world: World

  constructor(options: Pick<Partial<WorldOptions>, "replicas" | "principals" | "segment" | "sizes"> = {}) {
    this.world = new World({ seed: 1, held: true, replicas: 3, ...options })
  }

  async start(): Promise<void> {
    this.world.start()
    await this.#relayIsUp()
  }

  async #relayIsUp(): Promise<void> {
    await this.world.pass(100)
    void this.world.relay.openLog()
    await this.flush()
  }

  /** Makes the entity, or writes to its text. Resolves when it is saved. */
  async edit(r: number, entity = "e0"): Promise<void> {
    this.world.edit(this.#replica(r), "splice", entity)
    await this.soon()
  }

  /** Asks for an edit and waits for nothing. */
  editAtOnce(r: number, entity = "e0"): void {
    this.world.edit(this.#replica(r), "splice", entity)
  }

  /** The next writes of the relay's disk fail. */
  failDisk(writes = 1): void {
    this.world.relay.failDisk(writes)
  }

  async connect(r: number): Promise<void> {
    const replica = this.#replica(r)
    connect(this.world, replica, RELAY)
    for (let i = 0; i < 500 && !this.#connection(r)?.open; i++) await this.soon()
    await this.soon()
  }

  /** The relay receives this many frames, if there are so many. */
  async up(r: number, frames = 1): Promise<void> {
    for (let i = 0; i < frames; i++) {
      await this.#connection(r)?.up.release()
      await this.soon()
    }
  }

  /** The replica receives a frame in the same moment as whatever follows. */
  async downAtOnce(r: number): Promise<void> {
    await this.#connection(r)?.down.release()
  }

  /** The replica receives this many frames. */
  async down(r: number, frames = 1): Promise<void> {
    for (let i = 0; i < frames; i++) {
      await this.#connection(r)?.down.release()
      await this.soon()
    }
  }

  /** What the relay has appended reaches its disk. */
  async flush(): Promise<void> {
    do await this.soon()
    while (await this.world.relay.flush())
  }

  /** Longer than what has arrived waits to be taken together. */
  async pause(): Promise<void> {
    await this.world.pass(100)
  }

  /** A whole good session. */
  async sync(r: number): Promise<void> {
    if (!this.#connection(r)?.open) await this.connect(r)
    const connection = this.#connection(r)!
    for (let idle = 0; idle < 3; ) {
      const moved =
        (await connection.up.release()) || (await this.world.relay.flush()) || (await connection.down.release())
      await this.world.pass(20)
      idle = moved ? 0 : idle + 1
    }
  }

  async crash(r: number): Promise<void> {
    crash(this.world, this.#replica(r), false)
    await this.soon()
  }

  async open(r: number): Promise<void> {
    open(this.world, this.#replica(r))
    await this.world.pass(100)
  }

  /** The device is gone for good. */
  async die(r: number): Promise<void> {
    await destroy(this.world, this.#replica(r))
  }

  backUpDevice(r: number): void {
    backUpDevice(this.#replica(r))
  }

  async restoreDevice(r: number): Promise<void> {
    await restoreDevice(this.world, this.#replica(r))
    await this.world.pass(100)
  }

  /** Another token from now on. */
  async account(r: number, principal: string): Promise<void> {
    this.#connection(r)?.cut()
    this.#replica(r).principal = principal
    await this.soon()
  }

  async cut(r: number): Promise<void> {
    disconnect(this.world, this.#replica(r))
    await this.soon()
  }

  backUp(): void {
    this.world.relay.backUp()
  }

  async restore(which: number): Promise<void> {
    await restoreRelay(this.world, which)
    await this.#relayIsUp()
  }

  async crashRelay(): Promise<void> {
    await crashRelay(this.world, 0)
    await this.#relayIsUp()
  }

  /** In the relay's files, a byte of an entity's first change is another one, or of what the log notes about it. */
  async damage(entity: string, what: "change" | "head" = "change"): Promise<void> {
    const { changes } = this.world.oracle
    const { hash } = [...changes.values()].find((change) => change.entity === entity && change.deps.length === 0)!
    const where = (file: Uint8Array, path: string) =>
      what === "change" ? bodyAt(path, file, hash) : Buffer.from(file).indexOf(hash, 0, "hex")
    await harmRelay(this.world, (file, path) => where(file, path) + 20)
    await this.#relayIsUp()
  }

  async soon(): Promise<void> {
    await this.world.pass(SOON_MS)
  }

  // where things stand ------------------------------------------------------------------------------------------------

  /** It has learned of a place in the log that its cursor has not come to. */
  reachIsAhead(r: number): boolean {
    const { cursor, reach } = this.#state(r)
    const place = (hex: string | null | undefined) => (hex ? position(Buffer.from(hex, "hex")) : 0)
    return place(reach) > place(cursor)
  }

  heals(r: number): boolean {
    return this.#state(r).heal === true
  }

  pending(r: number): number {
    return this.#replica(r).device.ours.filter(([key]) => key[1] === "out").length
  }

  #state(r: number): Partial<State> {
    const found = this.#replica(r).device.ours.find(([key]) => key[1] === "state")
    return found ? (JSON.parse(found[1] as string) as State) : {}
  }

  /** The schedule must come to the place that it is about. */
  expect(what: string, holds: boolean): void {
    if (!holds) throw new Error(`the schedule does not come to where ${what}`)
  }

  async settle(): Promise<void> {
    await settle(this.world)
  }

  #replica(r: number): Replica {
    return this.world.replicas[r]!
  }

  #connection(r: number) {
    return this.world.network.of(this.#replica(r).name).at(-1)
  }
}
