/** Finds the ancestors of each change that is about to be added to a history, one change after the other. */

import type { Change } from "../../wire/chunk.ts"
import type { Actor, Hash } from "../../wire/protocol.ts"
import type { History } from "./history.ts"

/**
 * A set of changes with all their ancestors, as a number for each actor: how many changes of this actor are in the set.
 * They are the actor's first changes, because an actor's changes form a chain.
 */
export type Ancestry = Map<Actor, number>

/**
 * Finds the ancestry of each of the `joining` changes. The caller must call `of` for them in causal order. The cost of
 * a call is the number of changes in the history that are not ancestors: none if the change depends on the heads, many
 * if it depends only on old changes. The ancestry of a change is kept only as long as joining changes that name it as a
 * dep are still to come.
 */
export class Ancestries {
  readonly #history: History
  /**
   * By hash of a change, how many changes that are still to come name it as a dep. The last of them takes the object in
   * `#known` for its own ancestry.
   */
  readonly #users = new Map<Hash, number>()
  /** By hash of a change in the history that `#users` counts for: the change with all its ancestors. */
  readonly #known = new Map<Hash, Ancestry>()
  /** How many changes all walks together have visited so far. */
  #walked = 0

  constructor(history: History, joining: Iterable<Change>) {
    this.#history = history
    this.#announce(joining)
  }

  /** Finds the ancestors of the change. The change itself is not among them. */
  of(change: Change): Ancestry {
    const { deps } = change
    const known = deps.every((dep) => this.#known.has(dep))
    if (!known && this.#walked > this.#history.size) {
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
   * Call when the change was added to the history. `ancestry`: the result of `of` for this change, which the caller
   * must not use any more.
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
   * Finds the ancestors by elimination: assumes that every change in the history is an ancestor, walks back from the
   * newest change, and takes out the changes that are not.
   */
  #below(deps: readonly Hash[]): Ancestry {
    const ancestry = this.#history.seqs()
    const walked = this.#history.beyond(deps, ({ actor, seq }) => ancestry.set(actor, seq - 1))
    this.#walked += walked + ancestry.size
    return ancestry
  }

  /**
   * Finds the ancestries of all changes in the history, in one pass. Called when the walks of `#below` together have
   * cost more than this pass, because many changes depend on old ones.
   */
  #retrace(): void {
    const { order } = this.#history
    this.#announce(order)
    for (const change of order) this.joined(change, this.of(change))
  }
}
