/** A hydrated entity: its document, and its changes as the disk has them. */
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"

/** What the relay's entry says of a change. */
type Origin = Omit<Held, "change">

export class Live {
  readonly entity: Entity
  /** Changes on the disk that are not in the document, because they depend on missing or bad changes. */
  waiting: readonly Held[] = []
  /**
   * By actor, what the entry of its first change says. Most entries say the same of all changes of an actor, so that a
   * long history needs no record for each change here.
   */
  readonly #originOf = new Map<Actor, Origin>()
  /** What the entries of those changes say of which `#originOf` does not hold. */
  readonly #otherOrigins = new Map<Hash, Origin>()

  constructor(entity: Entity) {
    this.entity = entity
  }

  /** Every change in the document. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.entity.changes
  }

  /** Call for each change that was added to the document. */
  add({ change, ...origin }: Held): void {
    const first = this.#originOf.get(change.actor)
    if (first === undefined) this.#originOf.set(change.actor, origin)
    else if (!same(first, origin)) this.#otherOrigins.set(change.hash, origin)
  }

  /** Returns a change of the document as it must be on the disk; undefined when it is not in the document. */
  held(hash: Hash): Held | undefined {
    const change = this.changes.get(hash)
    const origin = change && (this.#otherOrigins.get(hash) ?? this.#originOf.get(change.actor))
    return origin && { change, ...origin }
  }

  /** Returns the principal that pushed a change; undefined when the principal is not known. */
  readonly by = (hash: Hash): string | undefined => this.held(hash)?.by
}

function same(a: Origin, b: Origin): boolean {
  return a.collection === b.collection && a.by === b.by && a.adopted === b.adopted && a.once === b.once
}
