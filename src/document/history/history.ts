/**
 * Keeps the changes of one entity, and facts about all of them together: heads, seqs, operations, times. Changes are
 * added and never removed.
 */

import { HeadwaterError } from "../../base/errors.ts"
import type { Change } from "../../wire/chunk.ts"
import type { Actor, Hash } from "../../wire/protocol.ts"
import { byTime } from "./graph.ts"
import { OrderedChanges } from "./ordered-changes.ts"
import { Numbers } from "./packed-changes.ts"

/** A set of changes in which every change was added after all its deps. */
export class History {
  readonly #changes = new OrderedChanges()
  /** By actor, the places of its changes in `#changes`, in the order of their seqs. */
  readonly #byActor = new Map<Actor, Numbers>()
  readonly #heads = new Set<Hash>()
  #sortedHeads: readonly Hash[] | undefined
  #hasRoot = false
  #maxOp = 0
  #operations = 0
  #earliest: Change | undefined
  #latest: Change | undefined

  static of(changes: Iterable<Change>): History {
    const history = new History()
    for (const change of changes) history.add(change)
    return history
  }

  /** Adds a change, unless the history has it already. Throws `CHUNK_BAD` when the history lacks one of its deps. */
  add(change: Change): void {
    const { hash, actor, deps, startOp, maxOp, time } = change
    if (this.#changes.has(hash)) return
    for (const dep of deps) {
      if (!this.#changes.has(dep))
        throw new HeadwaterError("CHUNK_BAD", `change ${hash} depends on a change that is missing`)
    }
    let places = this.#byActor.get(actor)
    if (places === undefined) this.#byActor.set(actor, (places = new Numbers()))
    places.push(this.#changes.size)
    this.#changes.add(change)
    for (const dep of deps) this.#heads.delete(dep)
    this.#heads.add(hash)
    this.#sortedHeads = undefined
    this.#hasRoot ||= deps.length === 0
    this.#maxOp = Math.max(this.#maxOp, maxOp)
    this.#operations += maxOp - startOp + 1
    if (time === 0) return
    if (this.#earliest === undefined || byTime(change, this.#earliest) < 0) this.#earliest = change
    if (this.#latest === undefined || byTime(change, this.#latest) > 0) this.#latest = change
  }

  get changes(): ReadonlyMap<Hash, Change> {
    return this.#changes
  }
  /** How many changes there are. */
  get size(): number {
    return this.#changes.size
  }
  /** The changes in the order in which they were added, which is causal. Each call makes the list again. */
  get order(): readonly Change[] {
    return this.#changes.from(0)
  }
  /** Returns the changes that were added after the first `size` changes. */
  addedSince(size: number): readonly Change[] {
    return this.#changes.from(size)
  }

  /**
   * Packs all changes but the `newest` last ones, so that they take little memory. Does nothing if fewer than `newest`
   * changes would be packed. A packed change can be read as before, but each read hashes its chunk again.
   */
  pack(newest?: number): void {
    this.#changes.pack(newest)
  }

  /** The heads, sorted. */
  get heads(): readonly Hash[] {
    this.#sortedHeads ??= [...this.#heads].sort()
    return this.#sortedHeads
  }
  /** Whether the history has a change without deps, which is the genesis. */
  get hasRoot(): boolean {
    return this.#hasRoot
  }
  /** The largest operation counter in these changes. */
  get maxOp(): number {
    return this.#maxOp
  }
  /** How many operations these changes have. Inserting or deleting one character is one operation. */
  get operations(): number {
    return this.#operations
  }
  /** The oldest change by the authors' clocks; changes without a time are ignored. */
  get earliest(): Change | undefined {
    return this.#earliest
  }
  /** The newest change by the authors' clocks; changes without a time are ignored. */
  get latest(): Change | undefined {
    return this.#latest
  }

  /** Counts the changes of each actor. They are the actor's first changes, because an actor's changes form a chain. */
  seqs(): Map<Actor, number> {
    const seqs = new Map<Actor, number>()
    for (const [actor, changes] of this.#byActor) seqs.set(actor, changes.size)
    return seqs
  }

  seqOf(actor: Actor): number {
    return this.#byActor.get(actor)?.size ?? 0
  }

  /** Returns the last change of an actor. */
  lastOf(actor: Actor): Change | undefined {
    const places = this.#byActor.get(actor)
    return places && this.#changes.at(places.at(places.size - 1))
  }

  /**
   * Returns the seq of the change in which `actor` made the operation with this counter; undefined when the history
   * lacks that change.
   */
  madeBy(actor: Actor, counter: number): number | undefined {
    const places = this.#byActor.get(actor)
    if (places === undefined) return undefined
    let low = 0
    let high = places.size
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#changes.maxOpAt(places.at(middle)) < counter) low = middle + 1
      else high = middle
    }
    return low < places.size && this.#changes.startOpAt(places.at(low)) <= counter ? low + 1 : undefined
  }

  /**
   * Calls `visit` with every change that is neither one of `hashes` nor an ancestor of one, the last added first.
   * Returns the cost of the call: the number of heads, plus the number of changes that it walked back over.
   */
  beyond(hashes: readonly Hash[], visit: (change: Change) => void): number {
    const inside = new Set(hashes)
    /**
     * Changes to visit that the walk has not reached yet. When this set is empty, every change that the walk has not
     * reached is one of `hashes` or an ancestor of one.
     */
    const outside = new Set([...this.#heads].filter((hash) => !inside.has(hash)))
    let at = this.size
    while (outside.size > 0) {
      const change = this.#changes.at(--at)
      if (outside.delete(change.hash)) {
        visit(change)
        for (const dep of change.deps) if (!inside.has(dep)) outside.add(dep)
      } else {
        for (const dep of change.deps) {
          inside.add(dep)
          outside.delete(dep)
        }
      }
    }
    return this.#heads.size + this.size - at
  }
}
