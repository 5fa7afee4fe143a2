import type { Change } from "./chunk.ts"
import type { Changes, Fields } from "./draft.ts"
import type { Actor, Hash } from "./protocol.ts"
import type { AnyDef } from "./schema.ts"

export interface Facts {
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt?: number
  /** Which changes say so: whoever pushed them is `$createdBy`, `$updatedBy`, `$deletedBy`. */
  readonly createdIn?: Hash
  readonly updatedIn?: Hash
  readonly deletedIn?: Hash
}

export declare class Entity {
  static create(id: string, collection: string, actor: Actor): Entity
  static hydrate(id: string, changes: readonly Change[], actor: Actor): Entity
  readonly id: string
  readonly collection: string
  readonly genesis: Change
  readonly heads: readonly Hash[]
  readonly deleted: boolean
  readonly facts: Facts
  has(hash: Hash): boolean
  whole(def: AnyDef | undefined): Fields
  write(def: AnyDef | undefined, changes: Changes, time: number): Change[]
  remove(time: number): Change[]
  restore(time: number): Change[]
  apply(changes: readonly Change[]): void
  free(): void
}

export declare function loadAutomerge(wasm?: URL | string | BufferSource): Promise<void>
export declare function automergeVersion(): string
