/** From an app's function over a plain copy to what one change must do: touched keys are found by comparing. */
import { HeadwaterError } from "../base/errors.ts"
import { type AnyDef, isText, refuseAddedIssues, refuseReserved, validated, withDefaults } from "./schema.ts"
import { checkedText, equal, isUserKey, own, plainCopy } from "./values.ts"

/** An entity's own fields as plain values: what a document holds, what a draft shows. */
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
  /** The whole entity as it will be, as the schema saw it. */
  readonly after: Fields
}

/**
 * What a create writes: the input as the schema returns it, and the input's keys that the schema does not know.
 * `SCHEMA_ISSUES`, `SCHEMA_ASYNC`, `VALUE_UNSUPPORTED`, `FIELD_KIND` (a `text()` field given something else).
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
 * What an update writes: `f` gets a plain copy of `stored` (what the document holds) with defaults, and an `edit` for
 * what assignment cannot say. Nothing has happened when it throws: `UPDATE_ASYNC`, `EDIT_MIXED`, `SPLICE_RANGE`,
 * `FIELD_KIND`, `VALUE_UNSUPPORTED`, `SCHEMA_ISSUES` (for issues that the update adds), `SCHEMA_ASYNC`, or what `f` threw.
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
  // The types of draft and edit are what the schema's types promise; here they are plain objects.
  const result = f(draft as Draft, { splice } as E)
  splicing.close()
  if (isThenable(result)) {
    result.then(undefined, () => {}) // its failure has been reported already, by what is thrown here
    throw new HeadwaterError("UPDATE_ASYNC", "an update's function must not be asynchronous: await first, then update")
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
      throw new HeadwaterError("EDIT_MIXED", `${key} is both assigned and spliced in one update`, { field: key })
    }
  }
  return { set, remove, text: withoutEmptied(text, before), splices: splicing.made }
}

/** Emptying what is empty writes nothing. */
function withoutEmptied(text: Map<string, string>, before: Fields): Map<string, string> {
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

class Splicing {
  readonly made: Splice[] = []
  /** The spliced texts as they stand. */
  readonly texts = new Map<string, string>()
  readonly #def: AnyDef | undefined
  readonly #before: Fields
  #open = true

  constructor(def: AnyDef | undefined, before: Fields) {
    this.#def = def
    this.#before = before
  }

  splice(key: string, at: number, remove: number, insert = ""): void {
    if (!this.#open) throw new HeadwaterError("UPDATE_ASYNC", "edit is used after its update is over", { field: key })
    const text = this.texts.get(key) ?? own(this.#before, key)
    if (!isText(this.#def, key) || typeof text !== "string") {
      throw new HeadwaterError("FIELD_KIND", `${key} is not a text() field`, { field: key })
    }
    const fresh = asText(insert, key)
    const end = at + remove
    if (!(Number.isSafeInteger(at) && Number.isSafeInteger(remove) && at >= 0 && remove >= 0 && end <= text.length)) {
      throw range(key, `${at}, ${remove} is not within ${text.length} UTF-16 units`)
    }
    if (splitsPair(text, at) || splitsPair(text, end)) throw range(key, `${at}, ${remove} cuts a surrogate pair`)
    if (remove === 0 && fresh === "") return
    this.texts.set(key, text.slice(0, at) + fresh + text.slice(end))
    this.made.push({ key, at, remove, insert: fresh })
  }

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
  throw new HeadwaterError("VALUE_UNSUPPORTED", `no field can be called ${JSON.stringify(key)}`, { field: key })
}

function asText(value: unknown, key: string): string {
  if (typeof value !== "string")
    throw new HeadwaterError("FIELD_KIND", `${key} is text and nothing else`, { field: key })
  return checkedText(value, key)
}

const range = (field: string, what: string) => new HeadwaterError("SPLICE_RANGE", `${field}: ${what}`, { field })

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

function deepCopy<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(deepCopy) as T
  const copy: Fields = {}
  for (const key of Object.keys(value)) copy[key] = deepCopy((value as Fields)[key])
  return copy as T
}
