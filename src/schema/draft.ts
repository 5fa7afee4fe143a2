/**
 * Turns an app's create or update into writes of fields. An update edits a draft. Its touched keys are found by
 * comparing the draft with the fields from which the draft was made.
 */
import { HeadwaterError } from "../base/errors.ts"
import { withDefaults } from "./defaults.ts"
import { type AnyDef, isText } from "./schema.ts"
import { refuseAddedIssues, refuseReserved, validated } from "./validation.ts"
import { checkedText, equal, isThenable, isUserKey, own, plainCopy } from "./values.ts"

/** The fields of an entity as plain values, without metadata. */
export type Fields = Record<string, unknown>

/**
 * Replaces `remove` UTF-16 units of a `text()` field, from the offset `at` on, with `insert`. `at` is an offset in the
 * text that the earlier splices have made.
 */
export interface Splice {
  readonly key: string
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/** The writes of one create or update to the fields of a document. Each key is in only one of the four parts. */
export interface Changes {
  /** Keys that are written whole, with checked plain values. */
  readonly set: ReadonlyMap<string, unknown>
  /** Keys that are deleted. */
  readonly remove: readonly string[]
  /** `text()` keys that are assigned, each with the new text. Only its differences from the old text are written. */
  readonly text: ReadonlyMap<string, string>
  /** The splices, in the order in which they were made. */
  readonly splices: readonly Splice[]
}

export interface Edited {
  readonly changes: Changes
  /** All fields after the changes, with defaults. */
  readonly after: Fields
}

/**
 * Returns the writes of a create: the schema's output, and those keys of the input that the output lacks. Throws
 * `SCHEMA_ISSUES`, `SCHEMA_ASYNC`, `VALUE_UNSUPPORTED`, and `FIELD_KIND` (the value of a `text()` field is not a
 * string).
 */
export function created(def: AnyDef | undefined, input: unknown): Edited {
  const set = new Map<string, unknown>()
  const text = new Map<string, string>()
  const after: Fields = {}
  for (const [key, value] of Object.entries(validated(def, input))) {
    if (value === undefined) continue
    const copy = plainCopy(value, checkedKey(key))
    after[key] = copy
    if (!isText(def, key)) set.set(key, copy)
    else text.set(key, asText(copy, key))
  }
  return { changes: { set, remove: [], text, splices: [] }, after: withDefaults(def, after) }
}

/**
 * Returns the writes of an update. `stored`: the fields in the document. `f`: the app's function. It gets the draft,
 * which is a plain copy of `stored` with defaults, and an `edit` for splices. Throws what `f` throws, and
 * `UPDATE_ASYNC`, `EDIT_MIXED`, `SPLICE_RANGE`, `FIELD_KIND`, `VALUE_UNSUPPORTED`, `SCHEMA_ISSUES` (for issues that the
 * update adds) or `SCHEMA_ASYNC`.
 */
export function edited<Draft, E>(
  def: AnyDef | undefined,
  stored: Readonly<Fields>,
  f: (draft: Draft, edit: E) => unknown,
): Edited {
  const before = withDefaults(def, stored)
  const draft = deepCopy(before)
  const splicing = new Splicing(def, before)
  const splice = splicing.splice.bind(splicing)
  // The app's function sees the types of its schema. Here, the draft and the edit are plain objects.
  const result = f(draft as Draft, { splice } as E)
  splicing.close()
  if (isThenable(result)) {
    result.then(undefined, () => {}) // a rejection is ignored, because `UPDATE_ASYNC` is thrown anyway
    throw new HeadwaterError("UPDATE_ASYNC", "the update's function is asynchronous: await first, then update")
  }
  const changes = compare(def, stored, before, draft, splicing)
  const after = applied(def, stored, changes, splicing.texts)
  if (changes.set.size + changes.remove.length + changes.text.size + changes.splices.length > 0) {
    refuseAddedIssues(def, before, after)
  }
  return { changes, after }
}

function compare(
  def: AnyDef | undefined,
  stored: Readonly<Fields>,
  before: Fields,
  draft: Fields,
  splicing: Splicing,
): Changes {
  const set = new Map<string, unknown>()
  const text = new Map<string, string>()
  const remove: string[] = []
  if (Object.getPrototypeOf(draft) !== Object.prototype) checkedKey("__proto__")
  refuseReserved(draft)
  for (const key of Object.keys({ ...before, ...draft })) {
    const value = own(draft, key)
    const old = own(before, key)
    if (value === old) continue
    if (value === undefined) {
      if (isText(def, key) && typeof old === "string") text.set(key, "")
      else if (Object.hasOwn(stored, key)) remove.push(key)
      continue
    }
    const copy = plainCopy(value, checkedKey(key))
    if (equal(copy, old)) continue
    if (isText(def, key)) text.set(key, asText(copy, key))
    else set.set(key, copy)
  }
  for (const { key } of splicing.made) {
    if (text.has(key) || set.has(key) || remove.includes(key)) {
      const message = `${key} is both assigned and spliced in one update: do one of the two`
      throw new HeadwaterError("EDIT_MIXED", message, { field: key })
    }
  }
  return { set, remove, text: withoutUnchanged(text, before), splices: splicing.made }
}

/** Removes each text that equals the text before (an empty text that was deleted, say), because it is no change. */
function withoutUnchanged(text: Map<string, string>, before: Fields): Map<string, string> {
  for (const [key, value] of text) if (value === own(before, key)) text.delete(key)
  return text
}

function applied(
  def: AnyDef | undefined,
  stored: Readonly<Fields>,
  changes: Changes,
  texts: ReadonlyMap<string, string>,
): Fields {
  const after: Fields = { ...stored }
  for (const [key, value] of changes.set) after[key] = value
  for (const [key, value] of changes.text) after[key] = value
  for (const [key, value] of texts) after[key] = value
  for (const key of changes.remove) delete after[key]
  return withDefaults(def, after)
}

/** The splices of one update. */
class Splicing {
  readonly made: Splice[] = []
  /** By key, each spliced text after all splices so far. */
  readonly texts = new Map<string, string>()
  readonly #def: AnyDef | undefined
  readonly #before: Fields
  #open = true

  constructor(def: AnyDef | undefined, before: Fields) {
    this.#def = def
    this.#before = before
  }

  splice(key: string, at: number, remove: number, insert = ""): void {
    if (!this.#open) {
      const message = "edit.splice was called after its update: call it within the update's function"
      throw new HeadwaterError("UPDATE_ASYNC", message, { field: key })
    }
    const text = this.texts.get(key) ?? own(this.#before, key)
    if (!isText(this.#def, key) || typeof text !== "string") {
      throw new HeadwaterError("FIELD_KIND", `${key} is not a text() field: assign it`, { field: key })
    }
    const fresh = asText(insert, key)
    const end = at + remove
    if (!(Number.isSafeInteger(at) && Number.isSafeInteger(remove) && at >= 0 && remove >= 0 && end <= text.length)) {
      throw range(key, `a splice of ${remove} at ${at} is not within the text's ${text.length} UTF-16 units`)
    }
    if (splitsPair(text, at) || splitsPair(text, end)) {
      throw range(key, `a splice of ${remove} at ${at} cuts a surrogate pair in two`)
    }
    if (remove === 0 && fresh === "") return
    this.texts.set(key, text.slice(0, at) + fresh + text.slice(end))
    this.made.push({ key, at, remove, insert: fresh })
  }

  /** Call when the update is over: a later splice throws `UPDATE_ASYNC`. */
  close(): void {
    this.#open = false
  }
}

function splitsPair(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1)
  const after = text.charCodeAt(at)
  return before >= 0xd800 && before <= 0xdbff && after >= 0xdc00 && after <= 0xdfff
}

function checkedKey(key: string): string {
  if (isUserKey(key)) return key
  const message = `no field can be called ${JSON.stringify(key)}: choose another name`
  throw new HeadwaterError("VALUE_UNSUPPORTED", message, { field: key })
}

function asText(value: unknown, key: string): string {
  if (typeof value !== "string") {
    throw new HeadwaterError("FIELD_KIND", `${key} is a text() field: give it a string`, { field: key })
  }
  return checkedText(value, key)
}

const range = (field: string, what: string) => new HeadwaterError("SPLICE_RANGE", `${field}: ${what}`, { field })

function deepCopy<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(deepCopy) as T
  const copy: Fields = {}
  for (const key of Object.keys(value)) copy[key] = deepCopy((value as Fields)[key])
  return copy as T
}
