/** A hydrated entity: its document, and its changes as the disk has them. */
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"

export class Live {
  readonly entity: Entity
  /** Changes on the disk that are not in the document, because they depend on missing or bad changes. */
  waiting: readonly Held[] = []
  /** Every change in the document, with what the relay's entry said of the change. */
  readonly #held = new Map<Hash, Held>()

  constructor(entity: Entity) {
    this.entity = entity
  }

  /** Every change in the document. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.entity.changes
  }

  /** Call for each change that was added to the document. */
  add(held: Held): void {
    this.#held.set(held.change.hash, held)
  }

  /** Returns a change of the document as it must be on the disk; undefined when it is not in the document. */
  held(hash: Hash): Held | undefined {
    return this.#held.get(hash)
  }

  /** Returns the principal that pushed a change; undefined when the principal is not known. */
  readonly by = (hash: Hash): string | undefined => this.#held.get(hash)?.by
}
