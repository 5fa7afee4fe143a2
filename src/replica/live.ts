/** A hydrated entity: its document, and the principals that pushed its changes. */
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./held-change.ts"

export class Live {
  readonly entity: Entity
  /** Changes on the disk that are not in the document, because they depend on missing or bad changes. */
  waiting: readonly Held[] = []
  readonly #authors = new Map<Hash, string>()

  constructor(entity: Entity) {
    this.entity = entity
  }

  /** Every change in the document. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.entity.changes
  }

  /** Notes the principal that pushed a change of the document. */
  add(change: Change, by: string | null | undefined): void {
    if (by !== undefined && by !== null) this.#authors.set(change.hash, by)
  }

  /** The principal that pushed a change; null when it is not known. */
  by(hash: Hash | undefined): string | null {
    return hash === undefined ? null : (this.#authors.get(hash) ?? null)
  }
}
