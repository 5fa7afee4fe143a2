/** A live document: a hydrated entity, and the facts that the disk has of its changes. */
import { listAt } from "../base/maps.ts"
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"

/** The facts about a change that its record has beside the change. */
type Origin = Omit<Held, "change">

/** Successive changes of one actor that have the same `origin`. */
interface Run {
  /** The seq of the first change. */
  readonly from: number
  readonly origin: Origin
}

export class Live {
  readonly entity: Entity
  /** Changes on the disk that are not in the document, because they depend on missing or bad changes. */
  waiting: readonly Held[] = []
  /**
   * By actor: the runs of the actor's changes, in the order of their seqs. One object for a whole run, so a long
   * history takes little memory.
   */
  readonly #runs = new Map<Actor, Run[]>()

  constructor(entity: Entity) {
    this.entity = entity
  }

  /** Every change in the document. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.entity.changes
  }

  /** Call for each change that was added to the document, in the order in which it was added. */
  add({ change: { actor, seq }, ...origin }: Held): void {
    const runs = listAt(this.#runs, actor)
    const last = runs.at(-1)
    if (last === undefined || !same(last.origin, origin)) runs.push({ from: seq, origin })
  }

  /** Returns a change with the facts that its record must have; undefined when the change is not in the document. */
  held(hash: Hash): Held | undefined {
    const change = this.changes.get(hash)
    const run = change && this.#runs.get(change.actor)?.findLast(({ from }) => from <= change.seq)
    return run && { change, ...run.origin }
  }

  /** Returns the author of a change (`Held.by`); undefined when it is not known. */
  readonly by = (hash: Hash): string | undefined => this.held(hash)?.by
}

function same(a: Origin, b: Origin): boolean {
  return a.collection === b.collection && a.by === b.by && a.adopted === b.adopted && a.once === b.once
}
