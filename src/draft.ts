import type { AnyDef } from "./schema.ts"

/** A row's own fields as plain values: what a document holds, what a draft shows. */
export type Fields = Record<string, unknown>

/** One splice of a `text()` field, at the text as it stands when it is made. Positions are UTF-16 units. */
export interface Splice {
  readonly key: string
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/** What one update does to a document. A key is in one of the four only. */
export interface Changes {
  /** Keys written whole, with checked plain values. */
  readonly set: ReadonlyMap<string, unknown>
  /** Keys that are no longer there. */
  readonly remove: readonly string[]
  /** `text()` keys assigned: written by difference. */
  readonly text: ReadonlyMap<string, string>
  readonly splices: readonly Splice[]
}

export interface Edited {
  readonly changes: Changes
  /** The whole entity as it will be: what the schema validates. */
  readonly after: Fields
}

export declare function edited(def: AnyDef | undefined, before: Fields, f: (draft: never, edit: never) => unknown): Edited
export declare function created(def: AnyDef | undefined, input: unknown): Edited
