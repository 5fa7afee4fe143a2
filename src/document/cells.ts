/** Reads the value of each field in a document, as a plain value that rows and drafts can share. */

import { isBytes, isDate } from "../base/realms.ts"
import { DEPTH, freeze, isFieldKey } from "../schema/values.ts"
import { automerge, type Handle } from "./automerge.ts"
import { DELETED, type DeletedValue } from "./deletion.ts"

/** The text object of a field. */
export interface Text {
  /** The object's id. */
  readonly object: string
  readonly value: string
  /** Operation ids of the values that conflict with the text. */
  readonly others: readonly string[]
}

/** A field in the document: the value that Automerge shows, and the text if one of the field's values is a text. */
export interface Cell {
  /** The kind of the value that Automerge shows: the one with the largest operation id. */
  readonly kind: "text" | "counter" | "object" | "scalar"
  /** The value that Automerge shows, as plain JSON, frozen at every depth. Undefined for bytes, which no row shows. */
  readonly value: unknown
  /** The text among the field's values, also when Automerge shows another value. Absent when no value is a text. */
  readonly text?: Text
}

/** Returns the keys of the root that are fields. */
export function fieldKeys(handle: Handle): Set<string> {
  return new Set(handle.keys("_root").filter(isFieldKey))
}

/** Reads the strings that `@deleted` holds, several if they conflict. */
export function deletionsIn(handle: Handle): DeletedValue[] {
  const strings = handle.getAll("_root", DELETED).filter(([type]) => type === "str")
  return strings.map(([, value, id]) => ({ value: String(value), id: String(id) }))
}

/**
 * Reads the values under a key. Returns undefined when there are none. If several values are texts, uses the one that
 * the derived container of the key makes, or else the last. `own` returns the id of that container's text.
 */
export function readCell(handle: Handle, key: string, own: (key: string) => string): Cell | undefined {
  const values = handle.getAll("_root", key)
  const shown = values.at(-1)
  if (shown === undefined) return undefined
  const texts = values.filter(([type]) => type === "text").map((value) => value[1] as string)
  if (texts.length === 0) return { kind: kindOf(shown[0]), value: plain(handle, shown) }
  const object = (texts.length > 1 && texts.find((id) => id === own(key))) || texts.at(-1)!
  const others = values.map((value) => (value.length === 3 ? value[2] : value[1])).filter((id) => id !== object)
  const text: Text = { object, value: handle.text(object), others }
  // `Entity.write` changes `text`. So when Automerge shows a text, the cell shows `text`, which may be another one.
  return shown[0] === "text" ? textCell(text) : { kind: kindOf(shown[0]), value: plain(handle, shown), text }
}

export const textCell = (text: Text): Cell => ({ kind: "text", value: text.value, text })

export function valueCell(value: unknown): Cell {
  return { kind: typeof value === "object" && value !== null ? "object" : "scalar", value: freeze(value) }
}

function kindOf(type: string): Cell["kind"] {
  if (type === "map" || type === "list" || type === "table") return "object"
  return type === "text" || type === "counter" ? type : "scalar"
}

function plain(handle: Handle, [type, value]: readonly [string, unknown, ...unknown[]]): unknown {
  const object = type === "map" || type === "list" || type === "table"
  return freeze(toPlain(object ? handle.materialize(value as string) : value))
}

/**
 * Turns a value of Automerge into plain JSON. Dates become ms, counters numbers, bytes undefined. A value that JSON
 * cannot hold becomes null.
 *
 * A value that is nested deeper than `DEPTH` becomes null, too: rows are read, compared and frozen recursively, and
 * this device's stack may be smaller than that of the device that made the document. Keys are sorted by UTF-16 units,
 * as in values that Headwater writes; Automerge sorts them by UTF-8 bytes. The key `__proto__` never gets here:
 * `operation-faults.ts` refuses the change.
 */
function toPlain(value: unknown, levels = DEPTH): unknown {
  const A = automerge()
  if (typeof value === "number") return Number.isFinite(value) ? value : null
  if (typeof value === "bigint") return Number(value)
  if (typeof value !== "object" || value === null) return value
  if (isBytes(value)) return undefined
  if (isDate(value)) return toPlain(value.getTime())
  if (A.isImmutableString(value)) return value.val
  if (A.isCounter(value)) return value.value
  if (levels === 0) return null
  if (Array.isArray(value)) return value.map((item) => toPlain(item, levels - 1) ?? null)
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(value).sort()) {
    const item = toPlain((value as Record<string, unknown>)[key], levels - 1)
    if (item !== undefined) result[key] = item
  }
  return result
}
