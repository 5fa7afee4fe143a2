/** The changes in one entity's document, with facts about them. The set only grows. */

import { HeadwaterError } from "../base/errors.ts"
import { listAt } from "../base/maps.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import { byTime } from "./graph.ts"

/** A set of changes in which every change was added after all its deps. */
export class History {
  readonly #changes = new Map<Hash, Change>()
  readonly #order: Change[] = []
  readonly #byActor = new Map<Actor, Change[]>()
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

  /** Adds a change, unless it is here already. Throws `CHUNK_BAD` when one of its deps is not here. */
  add(change: Change): void {
    const { hash, actor, deps, startOp, maxOp, time } = change
    if (this.#changes.has(hash)) return
    for (const dep of deps) {
      if (!this.#changes.has(dep))
        throw new HeadwaterError("CHUNK_BAD", `change ${hash} depends on one that is missing`)
    }
    this.#changes.set(hash, change)
    this.#order.push(change)
    listAt(this.#byActor, actor).push(change)
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
  /** The changes in the order in which they were added, which is causal. */
  get order(): readonly Change[] {
    return this.#order
  }
  /** The heads, sorted. */
  get heads(): readonly Hash[] {
    this.#sortedHeads ??= [...this.#heads].sort()
    return this.#sortedHeads
  }
  /** Whether a change without deps is here: the genesis. */
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
    for (const [actor, changes] of this.#byActor) seqs.set(actor, changes.length)
    return seqs
  }

  seqOf(actor: Actor): number {
    return this.#byActor.get(actor)?.length ?? 0
  }

  /** Returns the change in which the actor made this operation; undefined when the change is not here. */
  madeBy(actor: Actor, counter: number): Change | undefined {
    const changes = this.#byActor.get(actor) ?? []
    let low = 0
    let high = changes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((changes[middle] as Change).maxOp < counter) low = middle + 1
      else high = middle
    }
    const found = changes[low]
    return found !== undefined && found.startOp <= counter ? found : undefined
  }

  /**
   * Calls `visit` with every change that is neither one of `hashes` nor an ancestor of one, the last added first.
   * Returns how many changes it checked: the heads, and the newest changes until only ancestors were left.
   */
  beyond(hashes: readonly Hash[], visit: (change: Change) => void): number {
    const inside = new Set(hashes)
    /**
     * Changes to visit that the walk has not reached yet. Once there are none, all older changes are ancestors of
     * `hashes`.
     */
    const outside = new Set([...this.#heads].filter((hash) => !inside.has(hash)))
    let at = this.#order.length
    while (outside.size > 0) {
      const change = this.#order[--at] as Change
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
    return this.#heads.size + this.#order.length - at
  }
}
