/** A hydrated entity: its Automerge document, the graph of its changes, and who brought each of them. */
import { Admission } from "../document/admission.ts"
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./held.ts"

export class Live {
  readonly entity: Entity
  /** Whether what arrives may join the document. */
  readonly admission: Admission
  /** Held changes that wait for others. */
  waiting: readonly Held[] = []
  readonly #authors = new Map<Hash, string>()

  constructor(entity: Entity, admission = new Admission(entity.id)) {
    this.entity = entity
    this.admission = admission
  }

  /** Every change in the document. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.admission.changes
  }

  /** Notes a change that is in the document now, and the principal that pushed it. */
  add(change: Change, by: string | null | undefined): void {
    this.admission.trust(change)
    if (by !== undefined && by !== null) this.#authors.set(change.hash, by)
  }

  /** The principal that pushed a change; null when it is not known. */
  by(hash: Hash | undefined): string | null {
    return hash === undefined ? null : (this.#authors.get(hash) ?? null)
  }
}
