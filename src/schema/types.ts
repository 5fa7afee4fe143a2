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
 * holds the schema's output, and is validated as the schema's input after each edit. So the output must be JSON without
 * `id`, `$` or `@` keys, and must be assignable to the input.
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

/** The way in which a field merges, if it does not merge as a whole value. */
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
 * The metadata on every row. Times are ms since 1970. A row never shows a time that is still to come, even if the clock
 * of the writing device was ahead. `…By` is a principal, null until the relay has named one.
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
  /** This row is out of date: changes have arrived that are not projected yet. */
  $stale?: true
  /** The row was made by another version of the projection; this device is making it again. */
  $provisional?: true
  /**
   * Fields of more than 4,096 UTF-8 bytes, which the row lacks: their start, and their length in UTF-16 units. `read`
   * gives them whole.
   */
  $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
}>
/**
 * The fields that are often too long for a row: their types in a row say that they may be absent. Every other field of
 * more than 4,096 UTF-8 bytes is absent, too. But if all types said so, nobody could read a title without a check.
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
/** Every field, as `read` and drafts have it. Containers and fields with a default are never undefined. */
export type Whole<S, F, D> = {
  [K in keyof Out<S> as K extends Container<F> ? K : never]-?: NonNullable<Out<S>[K]>
} & {
  [K in keyof Out<S> as K extends Container<F> ? never : K extends Defaulted<D> ? K : never]-?: Exclude<
    Out<S>[K],
    undefined
  >
} & { [K in keyof Out<S> as K extends Container<F> | Defaulted<D> ? never : K]: Out<S>[K] }
/** A row: plain JSON and frozen. It is the same object until the row changes. */
export type Row<S, F, D> = Meta<keyof Out<S> & string> &
  Deep<Omit<Whole<S, F, D>, Absent<F>>> &
  Deep<Partial<Pick<Whole<S, F, D>, Absent<F> & keyof Whole<S, F, D>>>>

/** Edits that an update can make beyond assigning to its draft. */
export interface Edit<S, F> {
  /** Replaces `remove` UTF-16 units at `at` by `insert`, in the text that the earlier splices have made. */
  splice(key: Keys<F, "text"> & keyof Out<S>, at: number, remove: number, insert?: string): void
}
