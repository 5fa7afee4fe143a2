/**
 * Checks what must be true at every moment. The oracle reads frames, the devices' records and the relay's disk, and
 * never a private field. So a violation is something that a user, a second client or the next start of a program could
 * see.
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
  /** The first violation. It is kept here, because an error thrown inside the library would be caught there. */
  violation: Violation | undefined
  /** Every change that was ever seen, on a disk or on the wire. */
  readonly changes = new Map<Hash, Minted>()
  /** Changes of which the run has destroyed the last copy. */
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

  /** `onDisk` says whether the relay's disk has this change and keeps it even if the power fails now. */
  constructor(onDisk: (hash: Hash) => boolean) {
    this.#onDisk = onDisk
  }

  fail(kind: string, message: string): void {
    this.violation ??= new Violation(kind, message)
  }

  /** Runs `read`, and notes an error as a violation, because the library would catch the error as one of its own. */
  read<T>(kind: string, where: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      this.fail(kind, `${where}: ${String(error)}`)
      throw error
    }
  }

  /** Call it with every change that is seen. No other change may ever have the same actor and seq. */
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

  /** Whether this change was on the relay's disk at some time. */
  isStored(hash: Hash): boolean {
    if (!this.stored.has(hash) && this.onDiskNow(hash)) this.stored.add(hash)
    return this.stored.has(hash)
  }

  /** Call it before an older copy replaces the relay's disk: it notes what the disk holds now. */
  noteStored(): void {
    for (const hash of this.changes.keys()) this.isStored(hash)
  }

  /** Whether the relay's disk has this change's bytes now, and keeps them even if the power fails. */
  onDiskNow(hash: Hash): boolean {
    const change = this.changes.get(hash)
    return change !== undefined && this.#onDisk(hash)
  }

  /**
   * Whether the relay could send this change to a device: its bytes are flushed, and it is in the log. Bytes behind a
   * torn tail are not in the log.
   */
  relayHolds(hash: Hash): boolean {
    return this.onDiskNow(hash) && this.log.has(hash)
  }
}
