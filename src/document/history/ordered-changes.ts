/**
 * A map of changes by hash, in the order in which they were added. The place of a change is its index in that order.
 * `pack` moves all but the newest changes into buffers (`packed-changes.ts`).
 */

import type { Change } from "../../wire/chunk.ts"
import type { Hash } from "../../wire/protocol.ts"
import { PackedChanges } from "./packed-changes.ts"

/** How many of the newest changes stay objects. Most changes that arrive depend on one of these. */
const NEWEST = 256

/**
 * The list of all histories that have packed nothing, as most have not. They share it, because even an empty
 * `PackedChanges` takes 2.5 kB. Nothing is ever added to it.
 */
const NONE_PACKED = new PackedChanges()

export class OrderedChanges implements ReadonlyMap<Hash, Change> {
  #packed = NONE_PACKED
  /** The changes that are not packed, in order. */
  readonly #newest: Change[] = []
  /** The changes that are not packed, by hash. */
  readonly #byHash = new Map<Hash, Change>()

  get size(): number {
    return this.#packed.size + this.#newest.length
  }

  /** Adds a change that the map does not have yet. */
  add(change: Change): void {
    this.#newest.push(change)
    this.#byHash.set(change.hash, change)
  }

  /** Packs all changes but the `newest` last ones. Does nothing if fewer than `newest` changes would be packed. */
  pack(newest = NEWEST): void {
    if (this.#newest.length < 2 * newest) return
    if (this.#packed === NONE_PACKED) this.#packed = new PackedChanges()
    for (const change of this.#newest.splice(0, this.#newest.length - newest)) {
      this.#packed.add(change)
      this.#byHash.delete(change.hash)
    }
  }

  has(hash: Hash): boolean {
    return this.#byHash.has(hash) || this.#packed.placeOf(hash) !== undefined
  }

  get(hash: Hash): Change | undefined {
    const change = this.#byHash.get(hash)
    if (change !== undefined) return change
    const place = this.#packed.placeOf(hash)
    return place === undefined ? undefined : this.#packed.at(place)
  }

  at(place: number): Change {
    return this.#newestAt(place) ?? this.#packed.at(place)
  }

  startOpAt(place: number): number {
    return this.#newestAt(place)?.startOp ?? this.#packed.startOpAt(place)
  }

  maxOpAt(place: number): number {
    return this.#newestAt(place)?.maxOp ?? this.#packed.maxOpAt(place)
  }

  /** Returns the change at this place and all that were added after it. */
  from(place: number): Change[] {
    const packed: Change[] = []
    for (let at = place; at < this.#packed.size; at++) packed.push(this.#packed.at(at))
    return [...packed, ...this.#newest.slice(Math.max(0, place - this.#packed.size))]
  }

  *values(): MapIterator<Change> {
    for (let place = 0; place < this.size; place++) yield this.at(place)
  }

  *keys(): MapIterator<Hash> {
    for (const { hash } of this.values()) yield hash
  }

  *entries(): MapIterator<[Hash, Change]> {
    for (const change of this.values()) yield [change.hash, change]
  }

  [Symbol.iterator](): MapIterator<[Hash, Change]> {
    return this.entries()
  }

  forEach(visit: (change: Change, hash: Hash, map: ReadonlyMap<Hash, Change>) => void): void {
    for (const [hash, change] of this) visit(change, hash, this)
  }

  #newestAt(place: number): Change | undefined {
    return this.#newest[place - this.#packed.size]
  }
}
