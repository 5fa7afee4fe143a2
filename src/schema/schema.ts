/** Lets an app declare a collection: `collection`, and the kinds of its fields. */
import type { StandardSchemaV1 as Std } from "@standard-schema/spec"
import { HeadwaterError } from "../base/errors.ts"
import { isId } from "../wire/protocol.ts"
import type { AnySchema, DefaultsOf, FieldsOf, Kind, Out, Usable } from "./types.ts"
import { isUserKey, plainCopy } from "./values.ts"

/** The declaration of a collection, made by `collection`. */
export interface Def<N extends string, S, F, D> {
  readonly name: N
  readonly schema: S
  readonly fields: F
  readonly defaults: D
}
export type AnyDef = Def<string, AnySchema, Readonly<Record<string, Kind<string>>>, Readonly<Record<string, unknown>>>

/**
 * Makes a schema that declares types and checks nothing: `collection("notes", shape<Note>())`. Headwater itself still
 * refuses a value that is not JSON with `VALUE_UNSUPPORTED`.
 */
export function shape<T>(): Std<T, T> {
  return { "~standard": { version: 1, vendor: "headwater", validate: (value) => ({ value: value as T }) } }
}

const TEXT: Kind<"text"> = Object.freeze({ kind: "text" })

/**
 * Declares a field as collaborative text: all concurrent edits of it are kept. Write the field with `edit.splice`, or
 * assign a text. Assigning writes the difference: each word that differs, or the whole of a rewritten sentence. When
 * two devices assign different words at the same place, both words are kept, one after the other.
 *
 * A field that was never written reads as "". A text of more than 4,096 UTF-8 bytes is left out of the row: see
 * `preview`.
 */
export function text(): Kind<"text"> {
  return TEXT
}

/**
 * Declares a collection: a named set of entities of one schema.
 *
 * `schema` is any Standard Schema, `shape<T>()` or `undefined`. `fields` names the fields that do not merge as a whole
 * value. Any other field is a register: one value that is written whole. Of concurrent values, rows show one, and the
 * document keeps the others. `defaults` has the values that rows and drafts show for keys that the document lacks;
 * defaults are never written.
 *
 * Throws `ID_INVALID` when the name does not match `[A-Za-z0-9_-]{1,64}`, `FIELD_KIND` for an unknown kind or a default
 * for a `text()` field, `VALUE_UNSUPPORTED` for a default that is not JSON or a key that no field can have.
 */
export function collection<
  const N extends string,
  S extends AnySchema,
  const F extends FieldsOf<Out<S>> = {},
  const D extends DefaultsOf<Out<S>> = {},
>(
  name: N,
  schema: S & Usable<S>,
  options?: { readonly fields?: F & { [K in Exclude<keyof F, keyof Out<S>>]: never }; readonly defaults?: D },
): Def<N, S, F, D> {
  const fields = { ...options?.fields } as AnyDef["fields"]
  const defaults: Record<string, unknown> = {}
  if (!isId(name)) {
    const message = `${JSON.stringify(name)} cannot be a collection's name: use [A-Za-z0-9_-]{1,64}`
    throw new HeadwaterError("ID_INVALID", message)
  }
  for (const [field, { kind }] of Object.entries(fields)) {
    if (!isUserKey(field)) throw unusable(field)
    if (kind !== "text") throw new HeadwaterError("FIELD_KIND", `there is no kind ${kind}: use text()`, { field })
  }
  for (const [field, value] of Object.entries(options?.defaults ?? {})) {
    if (!isUserKey(field)) throw unusable(field)
    if (Object.hasOwn(fields, field)) {
      const message = `${field} is text() and reads as "" when it is absent: leave its default out`
      throw new HeadwaterError("FIELD_KIND", message, { field })
    }
    if (value !== undefined) defaults[field] = plainCopy(value, field)
  }
  return Object.freeze({ name, schema: schema as S, fields: fields as F, defaults: defaults as D })
}

const unusable = (field: string) =>
  new HeadwaterError("VALUE_UNSUPPORTED", `no field can be called ${JSON.stringify(field)}: choose another name`, {
    field,
  })

/** Whether the field is declared `text()`. */
export const isText = (def: AnyDef | undefined, key: string): boolean =>
  def !== undefined && Object.hasOwn(def.fields, key) && def.fields[key]?.kind === "text"
