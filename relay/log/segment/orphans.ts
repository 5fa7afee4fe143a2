/**
 * Orphans are changes that depend on a lost change. The log still sends them to replicas, but no look-up finds them: so
 * the relay asks for them again, and with them for the lost change. A change is an orphan until a replica pushes it again
 * together with the lost change. The index of each sealed segment lists the changes that were orphans when the segment
 * ended.
 */
import type { Hash } from "../../../src/wire/protocol.ts"
import { type Key, keyName } from "./keys.ts"
import type { OpenIndex } from "./open-index.ts"

/** Bytes of an orphan in an index: its entity's key, then its hash. */
export const ORPHAN_BYTES = 48

export class Orphans {
  /** The hashes of orphans, by the name of their entity's key. */
  readonly #hashes = new Map<string, Set<Hash>>()
  #count = 0
  /** Whether there are orphans that are not listed, because the list was full. */
  #overflowed = false

  get count(): number {
    return this.#count
  }
  get overflowed(): boolean {
    return this.#overflowed
  }

  /** Whether this entity may have orphans. */
  mayHave(entity: Key): boolean {
    return this.#overflowed || this.#hashes.has(keyName(entity))
  }

  of(entity: Key): ReadonlySet<Hash> {
    return this.#hashes.get(keyName(entity)) ?? NONE
  }

  add(entity: Key, hash: Hash): void {
    const name = keyName(entity)
    let hashes = this.#hashes.get(name)
    if (!hashes) this.#hashes.set(name, (hashes = new Set()))
    if (!hashes.has(hash)) this.#count++
    hashes.add(hash)
  }

  overflow(): void {
    this.#overflowed = true
  }

  *[Symbol.iterator](): Generator<readonly [entity: Key, hash: Hash]> {
    for (const [name, hashes] of this.#hashes) {
      const entity = Buffer.from(name, "latin1")
      for (const hash of hashes) yield [entity, hash]
    }
  }
}

const NONE: ReadonlySet<Hash> = new Set()

/**
 * Returns the orphans at the end of a segment: the orphans from before the segment and the segment's own, except those
 * that became known in the segment. `most`: the number of orphans that the list may have. If there are more, every
 * entity of the log counts as one that may have orphans, for ever.
 */
export function orphansAfter(before: Orphans | undefined, index: OpenIndex, most: number): Orphans {
  const after = new Orphans()
  if (before?.overflowed) after.overflow()
  for (const orphans of [before ?? [], index.orphans]) {
    for (const [entity, hash] of orphans) {
      if (index.known(entity, hash)) continue
      if (after.count < most) after.add(entity, hash)
      else after.overflow()
    }
  }
  return after
}
