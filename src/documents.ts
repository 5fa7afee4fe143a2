/**
 * The live documents of a replica: hydrated when an entity is written to or must be projected, kept while they are used,
 * evicted least recently used first. WebAssembly memory never returns to the system, so a document that is not needed is
 * freed at once.
 */
import type { Change } from "./chunk.ts"
import { Entity } from "./entity.ts"
import type { Hash } from "./protocol.ts"
import type { Held } from "./transaction.ts"

/** Live documents that are kept when nobody uses them. */
const KEPT = 64

export interface Author {
  readonly time: number
  readonly hash: Hash
  readonly by: string | null
}

/** A hydrated entity. */
export class Live {
  readonly entity: Entity
  /** Every change in the document. */
  readonly changes = new Map<Hash, Change>()
  /** Held changes that wait for others. */
  waiting: readonly Held[] = []
  created: Author | undefined
  updated: Author | undefined
  private readonly authors = new Map<Hash, string | null>()

  constructor(entity: Entity) {
    this.entity = entity
  }

  credit({ change, by }: { change: Change; by?: string | null | undefined }): void {
    this.changes.set(change.hash, change)
    this.authors.set(change.hash, by ?? null)
    if (change.time === 0) return
    const author = { time: change.time, hash: change.hash, by: by ?? null }
    if (this.created === undefined || older(author, this.created)) this.created = author
    if (this.updated === undefined || older(this.updated, author)) this.updated = author
  }

  /** Who deleted it: the author of the newest change of that moment. */
  deletedBy(at: number): string | null {
    let found: Hash | undefined
    for (const { hash, time } of this.changes.values()) {
      if (time * 1000 === at && (found === undefined || hash > found)) found = hash
    }
    return found === undefined ? null : (this.authors.get(found) ?? null)
  }
}

const older = (a: Author, b: Author): boolean => a.time < b.time || (a.time === b.time && a.hash < b.hash)

export class Documents {
  /** In order of use, the least recent first. */
  private readonly live = new Map<string, Live>()

  get(entity: string): Live | undefined {
    const live = this.live.get(entity)
    if (live !== undefined) {
      this.live.delete(entity)
      this.live.set(entity, live)
    }
    return live
  }

  has(entity: string): boolean {
    return this.live.has(entity)
  }

  add(live: Live): Live {
    this.live.set(live.entity.id, live)
    return live
  }

  /** Forgets a document whose memory and disk may differ; the next use loads it again. */
  drop(entity: string): void {
    this.live.get(entity)?.entity.free()
    this.live.delete(entity)
  }

  dropAll(): void {
    for (const entity of [...this.live.keys()]) this.drop(entity)
  }

  /** Called between groups, when no step holds a document. */
  evict(): void {
    for (const entity of this.live.keys()) {
      if (this.live.size <= KEPT) return
      this.drop(entity)
    }
  }
}
