import type { StandardSchemaV1 as Std } from "@standard-schema/spec"
import { HeadwaterError } from "../base/errors.ts"
import { isId } from "../wire/protocol.ts"
import { isReserved, isUserKey, own, plainCopy } from "./values.ts"

// What a schema says --------------------------------------------------------------------------------------------------
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

/** A draft (a copy of the row) must be valid input again: no `id`, `$` or `@` keys, JSON out, out assignable to in. */
export type Usable<S> =
  Extract<keyof Out<S>, "id" | `$${string}` | `@${string}`> extends never
    ? Out<S> extends Jsonish<Out<S>>
      ? Out<S> extends In<S>
        ? unknown
        : { "SCHEMA: a transform's output is not valid input": never }
      : { "SCHEMA: JSON only; a time is a number (ms since 1970)": never }
    : { "SCHEMA: leave out `id` and keys that begin with $ or @": never }

// What merges finer than a whole value --------------------------------------------------------------------------------
export interface Kind<K extends string> {
  readonly kind: K
}
type KindOf<V> = V extends string ? Kind<"text"> : never
export type FieldsOf<T> = { readonly [K in keyof T]?: KindOf<NonNullable<T[K]>> }
export type Keys<F, K extends string> = { [P in keyof F]-?: F[P] extends Kind<K> ? P : never }[keyof F]

/** A named set of entities of one schema, as `collection` makes it. */
export interface Def<N extends string, S, F, D> {
  readonly name: N
  readonly schema: S
  readonly fields: F
  readonly defaults: D
}
export type AnyDef = Def<string, AnySchema, Readonly<Record<string, Kind<string>>>, Readonly<Record<string, unknown>>>

// Rows' types ----------------------------------------------------------------------------------------------------------------
export type Deep<T> = T extends readonly (infer I)[]
  ? readonly Deep<I>[]
  : T extends object
    ? { readonly [K in keyof T]: Deep<T[K]> }
    : T

/**
 * On every row. Times in ms since 1970, never later than the present time when the row was read or made, whatever the clock
 * of the device that wrote said; `…By` is a principal, null until the relay has named one.
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
  $sync: "saved" | "stored"
  $pending: boolean
  $dirtyFields: readonly K[]
  $conflicts: readonly K[]
  /** An older row, shown until newer chunks are projected. */
  $stale?: true
  /** Made by another projection version, being redone here. */
  $provisional?: true
  /** Text fields too long for the row: their start, and their length in UTF-16 units. */
  $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
}>
export type Absent<F> = Keys<F, "text" | "bytes">
type Always<F, D> = Keys<F, "set" | "list" | "map" | "counter"> | keyof D
/** Every field, as `read` and drafts have it: containers are never undefined. */
export type Whole<S, F, D> = {
  [K in keyof Out<S> as K extends Always<F, D> | Keys<F, "text"> ? K : never]-?: NonNullable<Out<S>[K]>
} & { [K in keyof Out<S> as K extends Always<F, D> | Keys<F, "text"> ? never : K]: Out<S>[K] }
/** A row: plain JSON, frozen, the same object until it changes. */
export type Row<S, F, D> = Meta<keyof Out<S> & string> &
  Deep<Omit<Whole<S, F, D>, Absent<F>>> &
  Deep<Partial<Pick<Whole<S, F, D>, Absent<F> & keyof Whole<S, F, D>>>>

/** What a draft cannot say. */
export interface Edit<S, F> {
  /** Replaces `remove` UTF-16 units at `at` by `insert`, at the text as it stands after the splices before it. */
  splice(key: Keys<F, "text"> & keyof Out<S>, at: number, remove: number, insert?: string): void
}

/**
 * A schema that only types and never refuses: `collection("notes", shape<Note>())`.
 * Values are checked all the same: what JSON cannot hold is `VALUE_UNSUPPORTED`.
 */
export function shape<T>(): Std<T, T> {
  return { "~standard": { version: 1, vendor: "headwater", validate: (value) => ({ value: value as T }) } }
}

const TEXT: Kind<"text"> = Object.freeze({ kind: "text" })

/**
 * Collaborative text: concurrent edits of one field both stay. Written with `edit.splice`, or assigned, which applies
 * the difference. Rows leave it out above 4,096 UTF-8 bytes, see `preview`; absent and empty read alike.
 */
export function text(): Kind<"text"> {
  return TEXT
}

/**
 * Names a set of entities of one schema.
 *
 * `schema` is any Standard Schema, `shape<T>()` or `undefined`. `fields` says which fields merge finer than a whole
 * value; any other is a register: one value, written whole, the concurrent ones kept as a conflict. `defaults` is what
 * a row shows for a key that its document lacks; it is never written.
 *
 * `ID_INVALID`: the name does not match `[A-Za-z0-9_-]{1,64}`. `FIELD_KIND`: an unknown kind, or a default for a
 * `text()` field. `VALUE_UNSUPPORTED`: a default that is not JSON, or a key that no field can have.
 */
export function collection<
  const N extends string,
  S extends AnySchema,
  const F extends FieldsOf<Out<S>> = {},
  const D extends Partial<Out<S>> = {},
>(
  name: N,
  schema: S & Usable<S>,
  options?: { readonly fields?: F & { [K in Exclude<keyof F, keyof Out<S>>]: never }; readonly defaults?: D },
): Def<N, S, F, D> {
  const fields = { ...options?.fields } as AnyDef["fields"]
  const defaults: Record<string, unknown> = {}
  if (!isId(name)) {
    throw new HeadwaterError("ID_INVALID", `a collection's name matches [A-Za-z0-9_-]{1,64}: ${JSON.stringify(name)}`)
  }
  for (const [field, { kind }] of Object.entries(fields)) {
    if (!isUserKey(field)) throw new HeadwaterError("VALUE_UNSUPPORTED", "no field can have this name", { field })
    if (kind !== "text") throw new HeadwaterError("FIELD_KIND", `no such kind: ${kind}`, { field })
  }
  for (const [field, value] of Object.entries(options?.defaults ?? {})) {
    if (!isUserKey(field)) throw new HeadwaterError("VALUE_UNSUPPORTED", "no field can have this name", { field })
    if (Object.hasOwn(fields, field))
      throw new HeadwaterError("FIELD_KIND", "an absent text() field reads as empty text", { field })
    if (value !== undefined) defaults[field] = plainCopy(value, field)
  }
  return Object.freeze({ name, schema: schema as S, fields: fields as F, defaults: defaults as D })
}

// Validation ----------------------------------------------------------------------------------------------------------
type Issues = readonly Std.Issue[]

/**
 * A create's fields: what the schema makes of the input, and the input's keys that it does not know.
 * `SCHEMA_ISSUES`: the schema's issues, or a key that no field can have (`id`, `$…`, `@…`); the schema never sees those.
 */
export function validated(def: AnyDef | undefined, input: unknown): Record<string, unknown> {
  const given = plainObject(input, "an input")
  refuseReserved(given)
  const { value, issues } = run(def, given)
  if (issues.length > 0) throw refused(issues)
  const output = plainObject(value, "the schema's output")
  refuseReserved(output)
  return { ...given, ...output }
}

/** Keys that only rows and documents have are not fields: `SCHEMA_ISSUES`, one issue each. */
export function refuseReserved(fields: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(fields).filter((key) => isReserved(key) && fields[key] !== undefined)
  if (keys.length === 0) return
  throw refused(keys.map((key) => ({ message: `no field can be called ${JSON.stringify(key)}`, path: [key] })))
}

/**
 * Refuses an update only for what it makes worse: a value that another version of the app wrote must not lock an entity.
 * `SCHEMA_ISSUES` with the added issues, `SCHEMA_ASYNC`.
 */
export function refuseAddedIssues(
  def: AnyDef | undefined,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): void {
  const { issues } = run(def, after)
  if (issues.length === 0) return
  const known = new Set(run(def, before).issues.map(named))
  const added = issues.filter((issue) => !known.has(named(issue)))
  if (added.length > 0) throw refused(added)
}

function run(def: AnyDef | undefined, value: unknown): { value: unknown; issues: Issues } {
  if (def?.schema === undefined) return { value, issues: [] }
  let result: Std.Result<unknown> | Promise<Std.Result<unknown>>
  try {
    result = def.schema["~standard"].validate(value)
  } catch (cause) {
    return {
      value,
      issues: [{ message: `the schema threw: ${cause instanceof Error ? cause.message : String(cause)}` }],
    }
  }
  if (result instanceof Promise) {
    result.catch(() => {}) // reported by what is thrown here
    throw new HeadwaterError("SCHEMA_ASYNC", `the schema of ${def.name} is asynchronous; writes need an answer at once`)
  }
  return result.issues === undefined ? { value: result.value, issues: [] } : { value, issues: result.issues }
}

function plainObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw refused([{ message: `${what} must be an object` }])
}

const keyOf = (segment: PropertyKey | Std.PathSegment): string =>
  String(typeof segment === "object" ? segment.key : segment)

const named = ({ path, message }: Std.Issue): string => JSON.stringify([path?.map(keyOf), message])

function refused(issues: Issues): HeadwaterError {
  const [first] = issues
  const field = first?.path?.[0] === undefined ? undefined : keyOf(first.path[0])
  const where = field === undefined ? "" : `${field}: `
  return new HeadwaterError("SCHEMA_ISSUES", `${where}${first?.message ?? "refused"}`, { field, issues })
}

// Rows as they are shown ----------------------------------------------------------------------------------------------
/** Whether the field is declared `text()`. */
export const isText = (def: AnyDef | undefined, key: string): boolean =>
  def !== undefined && Object.hasOwn(def.fields, key) && def.fields[key]?.kind === "text"

/** Fields as a row or a draft shows them: defaults for absent keys, empty text for absent `text()` fields. */
export function withDefaults(
  def: AnyDef | undefined,
  stored: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return def === undefined ? { ...stored } : showDefaults(def, { ...stored })
}

/** The same on the very object. */
export function showDefaults(def: AnyDef, row: Record<string, unknown>): Record<string, unknown> {
  const long = row["$long"] as object | undefined
  for (const key in def.defaults) if (own(row, key) === undefined) row[key] = def.defaults[key]
  for (const key in def.fields) {
    if (own(row, key) === undefined && !(long && Object.hasOwn(long, key))) row[key] = ""
  }
  return row
}

/**
 * The start of a text field, short or long, without loading the document: at most `max` UTF-16 units (of a long text
 * at most 256), never half a character. A field that is not text, or not there, gives "".
 */
export function preview<R extends Meta>(row: R, field: keyof R & string, max = 256): string {
  const value = own(row, field) ?? row.$long?.[field]?.preview
  return typeof value === "string" ? startOf(value, max) : ""
}

/** The first `max` UTF-16 units, one less where that would cut a surrogate pair. */
export function startOf(value: string, max: number): string {
  if (value.length <= max) return value
  const last = value.charCodeAt(max - 1)
  return value.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max)
}
