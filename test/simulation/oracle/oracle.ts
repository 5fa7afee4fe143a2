/**
 * What must hold at every moment, whatever happens. The oracle reads frames, the devices' records and the relay's disk,
 * never a private field: a violation is something that a user, a second client or the next start could see.
 */
import { isDerived, readChange } from "../../../src/wire/chunk.ts"
import type { Hash } from "../../../src/wire/protocol.ts"
import { Causes } from "./causes.ts"
import { Devices } from "./devices.ts"
import { Edits } from "./edits.ts"
import { type Minted, short, Violation } from "./facts.ts"
import { RelayLog } from "./relay-log.ts"
import { SizesReached } from "./sizes-reached.ts"
import { Wire } from "./wire.ts"

export class Oracle {
  /** The first thing that was wrong: it may be found inside the engine, which would swallow a throw. */
  violation: Violation | undefined
  /** Every change that was ever met, on a disk or on the wire. */
  readonly changes = new Map<Hash, Minted>()
  /** Changes whose last disk is gone, by an act of ours. */
  readonly lost = new Set<Hash>()
  /** Changes that were on the relay's disk at some time. */
  readonly stored = new Set<Hash>()
  readonly edits = new Edits(this)
  readonly causes = new Causes(this)
  readonly devices = new Devices(this)
  readonly log = new RelayLog(this)
  readonly wire = new Wire(this)
  readonly sizes = new SizesReached()
  readonly #minted = new Map<string, Hash>()
  readonly #onDisk: (hash: Hash) => boolean

  /** `onDisk`: whether the relay's disk has these bytes and keeps them whatever happens now. */
  constructor(onDisk: (hash: Hash) => boolean) {
    this.#onDisk = onDisk
  }

  fail(kind: string, message: string): void {
    this.violation ??= new Violation(kind, message)
  }

  /** A throw would be lost inside the engine, which takes it for one of its own. */
  read<T>(kind: string, where: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      this.fail(kind, `${where}: ${String(error)}`)
      throw error
    }
  }

  /** A change is met: nobody may ever have met another one of its actor and number. */
  learn(entity: string, chunk: Uint8Array): Minted {
    const change = this.read("bytes that are no change", entity, () => readChange(chunk))
    const known = this.changes.get(change.hash)
    if (known) return known
    const minted = { ...change, entity, derived: isDerived(entity, change) }
    this.changes.set(change.hash, minted)
    const name = `${entity}/${change.actor}/${change.seq}`
    const other = this.#minted.get(name)
    if (other) this.fail("minted twice", `${name} names ${short(other)} and ${short(change.hash)}`)
    this.#minted.set(name, change.hash)
    return minted
  }

  /** The changes that a device holds, each with its entity. */
  held(device: string): ReadonlyMap<Hash, string> {
    return this.devices.held(device)
  }

  /** It was on the relay's disk at some time. */
  isStored(hash: Hash): boolean {
    if (!this.stored.has(hash) && this.onDiskNow(hash)) this.stored.add(hash)
    return this.stored.has(hash)
  }

  /** Before the relay's disk goes back in time: what it holds now was stored once. */
  noteStored(): void {
    for (const hash of this.changes.keys()) this.isStored(hash)
  }

  /** The relay's disk has its bytes now, and keeps them. */
  onDiskNow(hash: Hash): boolean {
    const change = this.changes.get(hash)
    return change !== undefined && this.#onDisk(hash)
  }

  /** The relay would give it back: it is in the log and safe. Bytes behind a torn tail are neither. */
  relayHolds(hash: Hash): boolean {
    return this.onDiskNow(hash) && this.log.has(hash)
  }
}
