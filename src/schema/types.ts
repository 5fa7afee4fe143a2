/** The types of rows, drafts and inputs of creates, computed from a schema and its collection's options. No code. */
import type { StandardSchemaV1 as Std } from "@standard-schema/spec"

// ── a schema ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
type Jsonish<T> = T extends Json | undefined
  ? T
  : T extends Date | bigint | symbol | ((...a: never) => unknown)
    ? never
    : T extends object
      ? { [K in keyof T]: Jsonish<T[K]> }
      : never

/** Any Standard Schema (https://standardschema.dev), or `undefined` for a collection without one. */
export type AnySchema = Std<any, any> | undefined
export type Out<S> = S extends Std<any, infer O> ? O : { [key: string]: any }
export type In<S> = S extends Std<infer I, any> ? I : { [key: string]: any }

/**
 * Is `unknown` for a schema that a collection can have; otherwise an object type whose key says what is wrong. A draft
 * has the type of the schema's output. After each update, the draft is validated as the schema's input. So the output
 * must be JSON without `id`, `$` or `@` keys, and must be assignable to the input.
 */
export type Usable<S> =
  Extract<keyof Out<S>, "id" | `$${string}` | `@${string}`> extends never
    ? Out<S> extends Jsonish<Out<S>>
      ? Out<S> extends In<S>
        ? unknown
        : { "SCHEMA: a transform's output is not valid input": never }
      : { "SCHEMA: JSON only; a time is a number (ms since 1970)": never }
    : { "SCHEMA: leave out `id` and keys that begin with $ or @": never }

// ── a collection's options ───────────────────────────────────────────────────────────────────────────────────────────

/** How a field merges that does not merge as a whole value. */
export interface Kind<K extends string> {
  readonly kind: K
}
type KindOf<V> = V extends string ? Kind<"text"> : never
/** The kinds that each field of T can have. */
export type FieldsOf<T> = { readonly [K in keyof T]?: KindOf<NonNullable<T[K]>> }
/** The fields in F of kind K. */
export type Keys<F, K extends string> = { [P in keyof F]-?: F[P] extends Kind<K> ? P : never }[keyof F]

// ── rows and drafts ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Read-only at every depth. */
export type Deep<T> = T extends readonly (infer I)[]
  ? readonly Deep<I>[]
  : T extends object
    ? { readonly [K in keyof T]: Deep<T[K]> }
    : T

/**
 * The metadata on every row. Times are ms since 1970. A row shows the present time in place of a time in the future,
 * which an author's clock that is ahead may have written. `…By` is a principal, null until the relay has named one.
 */
export type Meta<K = string> = Readonly<{
  id: string
  $workspace: string
  $createdAt: number
  $createdBy: string | null
  $updatedAt: number
  $updatedBy: string | null
  $deletedAt?: number
  $deletedBy?: string | null
  /** `saved`: some changes of the entity are on this device only. `stored`: the relay has all of them. */
  $sync: "saved" | "stored"
  $pending: boolean
  /** Fields with changes that the relay has not acknowledged. */
  $dirtyFields: readonly K[]
  $conflicts: readonly K[]
  /** The row is out of date: this device has changes that the row does not show yet. */
  $stale?: true
  /** Reserved for a row that another version of the app has made. No row has it yet. */
  $provisional?: true
  /**
   * The fields that the row lacks because they have more than 4,096 UTF-8 bytes. `preview`: the start of the field.
   * `length`: its UTF-16 units. `read` returns such a field whole.
   */
  $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
}>
/**
 * The fields whose type in a row says that they may be absent, because they are often too long for a row. Any other
 * field of more than 4,096 UTF-8 bytes is absent, too, although its type does not say so: otherwise an app would have
 * to check even a title before it reads it.
 */
export type Absent<F> = Keys<F, "text" | "bytes">
/**
 * The defaults that a collection may have. They are read-only, so that TypeScript infers the exact type of an array or
 * object in them.
 */
export type DefaultsOf<T> = { readonly [K in keyof T]?: Deep<T[K]> }
/** Fields that have a default. */
type Defaulted<D> = { [K in keyof D]-?: undefined extends D[K] ? never : K }[keyof D]
type Container<F> = Keys<F, "text" | "set" | "list" | "map" | "counter">
/** Every field, as `read` and drafts have it. Fields of a `Kind` and fields with a default are never undefined. */
export type Whole<S, F, D> = {
  [K in keyof Out<S> as K extends Container<F> ? K : never]-?: NonNullable<Out<S>[K]>
} & {
  [K in keyof Out<S> as K extends Container<F> ? never : K extends Defaulted<D> ? K : never]-?: Exclude<
    Out<S>[K],
    undefined
  >
} & { [K in keyof Out<S> as K extends Container<F> | Defaulted<D> ? never : K]: Out<S>[K] }
/** A row: plain JSON, frozen. It stays the same object as long as nothing in it changes. */
export type Row<S, F, D> = Meta<keyof Out<S> & string> &
  Deep<Omit<Whole<S, F, D>, Absent<F>>> &
  Deep<Partial<Pick<Whole<S, F, D>, Absent<F> & keyof Whole<S, F, D>>>>

/** Edits that an update can make beyond assigning to its draft. */
export interface Edit<S, F> {
  /**
   * Replaces `remove` UTF-16 units of a text, from the offset `at` on, with `insert`. `at` is an offset in the text
   * that the earlier splices of this update have made.
   */
  splice(key: Keys<F, "text"> & keyof Out<S>, at: number, remove: number, insert?: string): void
}

/** Replaces `remove` UTF-16 units from the offset `at` on with `insert`, in the text that the earlier splices have made. */
export interface TextSplice {
  readonly at: number
  readonly remove: number
  readonly insert: string
}
