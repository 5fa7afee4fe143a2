/** What a document holds under each root key, as plain values that rows and drafts can share. */

import { DEPTH, freeze, isReserved } from "../schema/values.ts"
import { automerge, type Handle } from "./automerge.ts"

/** A text object: where it is, what it says, and the operation ids of the values it shares its key with. */
export interface Text {
  readonly object: string
  readonly value: string
  readonly others: readonly string[]
}

export interface Cell {
  /** What Automerge shows: the value with the largest operation id. */
  readonly kind: "text" | "counter" | "object" | "scalar"
  /** Plain JSON, frozen at every depth; undefined for bytes, which no row shows. */
  readonly value: unknown
  /** There while a text is among the values, whichever Automerge shows. */
  readonly text?: Text
}

/** The keys that are fields. Another tool's `id` or `$x` at the root is none: rows have their own. */
export function fieldKeys(handle: Handle): Set<string> {
  const keys = new Set(handle.keys("_root"))
  for (const key of keys) if (isReserved(key) || key === "__proto__") keys.delete(key)
  return keys
}

/** `own` is the object that our container change makes for this key; it is preferred to another tool's text. */
export function readCell(handle: Handle, key: string, own: (key: string) => string): Cell | undefined {
  const values = handle.getAll("_root", key)
  const shown = values.at(-1)
  if (shown === undefined) return undefined
  const texts = values.filter(([type]) => type === "text").map((value) => value[1] as string)
  if (texts.length === 0) return { kind: kindOf(shown[0]), value: plain(handle, shown) }
  const object = (texts.length > 1 && texts.find((id) => id === own(key))) || texts.at(-1)!
  const others = values.map((value) => (value.length === 3 ? value[2] : value[1])).filter((id) => id !== object)
  const text: Text = { object, value: handle.text(object), others }
  // Of several texts the same one is shown as is written to.
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
 * Dates become ms, counters numbers, bytes nothing; what JSON cannot say becomes null, and so does what lies deeper than
 * any value that is written here: rows are read, compared and frozen where a smaller stack may be than the one that was enough
 * for the document. Keys are sorted, because Automerge lists them in another order on another replica. A key `__proto__`
 * never gets here: verify.ts refuses the change.
 */
function toPlain(value: unknown, levels = DEPTH): unknown {
  const A = automerge()
  if (typeof value === "number") return Number.isFinite(value) ? value : null
  if (typeof value === "bigint") return Number(value)
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Uint8Array) return undefined
  if (value instanceof Date) return toPlain(value.getTime())
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
