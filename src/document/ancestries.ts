/**
 * Which of a history's changes are the ancestors of a change that joins it, asked for one joining change after the
 * other.
 */

import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import type { History } from "./history.ts"

/** A set of changes with all their ancestors, as the number of each actor's: an actor's changes are a chain. */
export type Ancestry = Map<Actor, number>

/**
 * Must be asked in causal order. An ancestry costs what the history holds beside it: nothing for a change on the heads,
 * all that is newer for a change on an old one. It is kept only as long as changes that build on it are still to come.
 */
export class Ancestries {
  readonly #history: History
  /**
   * How many changes that are still to come have this one among their deps: the last of them takes its ancestry over.
   */
  readonly #users = new Map<Hash, number>()
  /** Of changes that have joined and have users: what they and their ancestors are. */
  readonly #known = new Map<Hash, Ancestry>()
  /** Changes looked at by all walks so far. */
  #walked = 0

  constructor(history: History, joining: Iterable<Change>) {
    this.#history = history
    this.#announce(joining)
  }

  /** The ancestors of the change, itself not included. */
  of(change: Change): Ancestry {
    const { deps } = change
    const known = deps.every((dep) => this.#known.has(dep))
    if (!known && this.#walked > this.#history.order.length) {
      this.#retrace()
      return this.of(change)
    }
    let ancestry = known ? undefined : this.#below(deps)
    for (const dep of deps) {
      const left = (this.#users.get(dep) ?? 1) - 1
      this.#users.set(dep, left)
      const theirs = this.#known.get(dep)
      if (left === 0) this.#known.delete(dep)
      if (!known || theirs === undefined) continue
      if (ancestry === undefined) ancestry = left === 0 ? theirs : new Map(theirs)
      else for (const [actor, seqs] of theirs) ancestry.set(actor, Math.max(seqs, ancestry.get(actor) ?? 0))
    }
    return ancestry ?? new Map()
  }

  /**
   * The change was added to the history. `ancestry` is what `of` has returned for it; the caller must not use it any
   * more.
   */
  joined({ hash, actor, seq }: Change, ancestry: Ancestry): void {
    if (!this.#users.get(hash)) return
    ancestry.set(actor, seq)
    this.#known.set(hash, ancestry)
  }

  #announce(changes: Iterable<Change>): void {
    for (const { deps } of changes) for (const dep of deps) this.#users.set(dep, (this.#users.get(dep) ?? 0) + 1)
  }

  /**
   * By elimination: assumes that every change is an ancestor, walks back from the newest, and subtracts those that are
   * not.
   */
  #below(deps: readonly Hash[]): Ancestry {
    const ancestry = this.#history.seqs()
    const walked = this.#history.beyond(deps, ({ actor, seq }) => ancestry.set(actor, seq - 1))
    this.#walked += walked + ancestry.size
    return ancestry
  }

  /**
   * Goes once over the whole history: so many changes build on old ones that a walk for each has cost more than that.
   */
  #retrace(): void {
    const { order } = this.#history
    this.#announce(order)
    for (const change of order) this.joined(change, this.of(change))
  }
}
