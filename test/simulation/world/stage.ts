/** A world for schedules that name every step: frames and flushes wait until the schedule releases them. */

import type { State } from "../../../src/replica/disk/records.ts"
import { position } from "../../../src/wire/protocol.ts"
import { bodyAt } from "../../support/logged-body.ts"
import { jsonIn } from "../../support/record.ts"
import { settle } from "../end.ts"
import {
  backUpDevice,
  changeAccess,
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

/**
 * A wait in simulated ms. It is enough for everything that follows from a step, because nothing takes longer than 1 ms
 * on a stage. It is shorter than any pause of the library.
 */
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

  /** Creates the entity, or edits its text. Resolves when the edit is saved. */
  async edit(r: number, entity = "e0"): Promise<void> {
    this.world.edit(this.#replica(r), "splice", entity)
    await this.soon()
  }

  /** Asks for an edit and does not wait until it is saved. */
  editAtOnce(r: number, entity = "e0"): void {
    this.world.edit(this.#replica(r), "splice", entity)
  }

  /** Makes the next writes of the relay's disk fail. */
  failDisk(writes = 1): void {
    this.world.relay.failDisk(writes)
  }

  /** Makes the next commit of this replica's disk take `ms` simulated ms longer than usual. */
  slowCommit(r: number, ms: number): void {
    this.#replica(r).device.nextCommitMs = ms
  }

  async connect(r: number): Promise<void> {
    const replica = this.#replica(r)
    connect(this.world, replica, RELAY)
    for (let i = 0; i < 500 && !this.#connection(r)?.open; i++) await this.soon()
    await this.soon()
  }

  /** Delivers up to this many frames to the relay. */
  async up(r: number, frames = 1): Promise<void> {
    for (let i = 0; i < frames; i++) {
      await this.#connection(r)?.up.release()
      await this.soon()
    }
  }

  /** Delivers a frame to the replica. No time passes before the next step of the schedule. */
  async downAtOnce(r: number): Promise<void> {
    await this.#connection(r)?.down.release()
  }

  /** Delivers up to this many frames to the replica. */
  async down(r: number, frames = 1): Promise<void> {
    for (let i = 0; i < frames; i++) {
      await this.#connection(r)?.down.release()
      await this.soon()
    }
  }

  /** Flushes everything that the relay has appended. */
  async flush(): Promise<void> {
    do await this.soon()
    while (await this.world.relay.flush())
  }

  /** Waits longer than the library's pause before it pushes a change again that was refused for now. */
  async untilPushedAgain(): Promise<void> {
    await this.world.pass(35_000)
  }

  /** Waits longer than the library waits to commit several frames together. */
  async pause(): Promise<void> {
    await this.world.pass(100)
  }

  /** Connects, and delivers frames and flushes until there are no more. */
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

  /** Removes the device for good. */
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

  /** The relay sees this principal on the device from its next connection on. */
  async account(r: number, principal: string): Promise<void> {
    this.#connection(r)?.cut()
    this.#replica(r).principal = principal
    await this.soon()
  }

  /** The relay lets the device only read, or lets it write again, and tells it in a notice. */
  async access(r: number): Promise<void> {
    changeAccess(this.world, this.#replica(r), "notice")
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

  /** Alters a byte of the relay's files: of an entity's first change, or of the hash that the record notes for it. */
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

  // what a replica's disk says ---------------------------------------------------------------------------------------

  /** Whether its reach is ahead of its cursor. */
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
    return found ? (jsonIn(found[1]) as State) : {}
  }

  /** Fails unless the schedule has come to the situation that it is about. */
  expect(what: string, holds: boolean): void {
    if (!holds) throw new Error(`the schedule does not reach its situation: ${what}`)
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
