/**
 * The live documents of a replica: hydrated when an entity is written to or must be projected, kept while they are used,
 * evicted least recently used first. WebAssembly memory never returns to the system, so a document that is not needed is
 * freed at once.
 */

import { Admission } from "../document/admission.ts"
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./transaction.ts"

/** A hydrated entity. */
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

  /** A change that is in the document, and who brought it. */
  add(change: Change, by: string | null | undefined): void {
    this.admission.trust(change)
    if (by !== undefined && by !== null) this.#authors.set(change.hash, by)
  }

  by(hash: Hash | undefined): string | null {
    return hash === undefined ? null : (this.#authors.get(hash) ?? null)
  }
}

export class Documents {
  /** In order of use, the least recent first. */
  readonly #live = new Map<string, Live>()
  readonly #kept: number

  /** `kept`: live documents that are kept when no step uses them. */
  constructor(kept: number) {
    this.#kept = kept
  }

  get(entity: string): Live | undefined {
    const live = this.#live.get(entity)
    if (live !== undefined) {
      this.#live.delete(entity)
      this.#live.set(entity, live)
    }
    return live
  }

  has(entity: string): boolean {
    return this.#live.has(entity)
  }

  add(live: Live): Live {
    this.#live.set(live.entity.id, live)
    return live
  }

  /** Forgets a document whose memory and disk may differ; the next use loads it again. */
  drop(entity: string): void {
    const live = this.#live.get(entity)
    this.#live.delete(entity)
    try {
      live?.entity.free()
    } catch {
      // After a panic inside WebAssembly its memory may be lost; the document is not used again either way.
    }
  }

  dropAll(): void {
    for (const entity of [...this.#live.keys()]) this.drop(entity)
  }

  /** Called between groups, when no step holds a document. */
  evict(): void {
    for (const entity of this.#live.keys()) {
      if (this.#live.size <= this.#kept) return
      this.drop(entity)
    }
  }
}
