/**
 * Turns an app's writes of fields into operations. How a field is written depends on its present value in the document.
 * Of a text, only the difference is written. Any other value is a register and is written whole. A register is never
 * edited in place: an edit inside a value that another replica replaces would be lost without a conflict. Strings in a
 * register are scalars at every depth: otherwise two dates would merge letter by letter.
 */

import { HeadwaterError } from "../base/errors.ts"
import { listAt } from "../base/maps.ts"
import type { Changes, Splice } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import { limits } from "../wire/protocol.ts"
import { automerge, type Handle } from "./automerge.ts"
import type { Cell } from "./cells.ts"
import { difference, type Hunk } from "./difference.ts"

/** A planned write to one field. */
export type FieldWrite =
  | { readonly do: "put"; readonly key: string; readonly value: unknown }
  | { readonly do: "delete"; readonly key: string }
  | TextWrite

interface TextWrite {
  readonly do: "splice"
  readonly key: string
  /** Applied one after the other, each to the text that the earlier hunks have made. */
  readonly hunks: readonly Hunk[]
  /** The text after all hunks. */
  readonly value: string
  /** How many characters the hunks insert and remove, one operation each. */
  readonly ops: number
}

type Cells = ReadonlyMap<string, Cell>
/** The cells of an entity that is being created. */
export const NO_CELLS: Cells = new Map()

/**
 * Plans the writes for `changes` without touching the document; `perform` does the writes. Throws `FIELD_KIND`,
 * `SPLICE_RANGE`, `TOO_LARGE`.
 */
export function planned(def: AnyDef | undefined, changes: Changes, cells: Cells): FieldWrite[] {
  const writes: FieldWrite[] = []
  for (const [key, value] of changes.set) writes.push(assigned(cells.get(key), key, value))
  for (const key of changes.remove) {
    const cell = cells.get(key)
    if (cell === undefined) continue
    if (cell.kind === "counter") throw wrongKind(key, cell)
    // A text is emptied and not deleted, because its container can be made only once. Rows show an absent text as "",
    // too.
    writes.push(cell.text === undefined ? { do: "delete", key } : rewritten(key, cell.text.value, ""))
  }
  for (const [key, value] of changes.text) {
    const cell = cells.get(key)
    if (cell?.kind === "object" && cell.text === undefined) throw wrongKind(key, cell)
    if (cell !== undefined) writes.push(assigned(cell, key, value))
    else if (value !== "") writes.push(firstText(key, value))
  }
  const splices = new Map<string, Splice[]>()
  for (const splice of changes.splices) listAt(splices, splice.key).push(splice)
  for (const [key, ofKey] of splices) writes.push(spliced(def, cells.get(key), key, ofKey))
  refuseGiants(writes)
  return writes.filter((write) => write.do !== "splice" || write.hunks.length > 0)
}

function assigned(cell: Cell | undefined, key: string, value: unknown): FieldWrite {
  if (cell?.text !== undefined) {
    if (typeof value !== "string") throw wrongKind(key, cell)
    return rewritten(key, cell.text.value, value)
  }
  if (cell?.kind === "counter") throw wrongKind(key, cell)
  return { do: "put", key, value }
}

/** Plans to replace a text by difference. The hunks go from the end to the start, so that none moves the next one. */
function rewritten(key: string, before: string, value: string): FieldWrite {
  // The length alone shows that the write is too large for one change. Finding the difference first would take seconds.
  if (value.length - before.length > limits.ops && characters(value) - before.length > limits.ops) throw giant()
  const hunks = difference(before, value)
    .reverse()
    .flatMap((hunk) => inside(hunk, before))
  return { do: "splice", key, hunks, value, ops: hunks.reduce((sum, hunk) => sum + cost(hunk, before), 0) }
}

const firstText = (key: string, value: string): TextWrite => {
  return {
    do: "splice",
    key,
    hunks: [{ at: 0, remove: 0, insert: value }],
    value,
    // Counted only when it is read, because counting takes time and `refuseGiants` rarely reads it.
    get ops() {
      return characters(value)
    },
  }
}

/**
 * Divides a hunk in two, so that the new text is inserted behind the first character that is removed. The new text then
 * lies inside the text that it replaces. So it cannot mix with text that others insert before or after the replaced
 * text.
 */
function inside({ at, remove, insert }: Hunk, before: string): Hunk[] {
  if (remove === 0 || insert === "") return [{ at, remove, insert }]
  const first = (before.codePointAt(at) ?? 0) > 0xffff ? 2 : 1
  return [
    { at: at + first, remove: remove - first, insert },
    { at, remove: first, insert: "" },
  ]
}

/** How many operations it takes to apply a hunk to the text `before`: one for each character. */
const cost = ({ at, remove, insert }: Hunk, before: string): number =>
  characters(insert) + characters(before.slice(at, at + remove))

/** How many Unicode characters a text has. */
function characters(text: string): number {
  let pairs = 0
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) pairs++
  return text.length - pairs
}

function spliced(def: AnyDef | undefined, cell: Cell | undefined, key: string, splices: readonly Splice[]): FieldWrite {
  if (cell === undefined ? !isText(def, key) : cell.text === undefined) throw wrongKind(key, cell)
  let value = cell?.text?.value ?? ""
  let ops = 0
  for (const splice of splices) {
    const { at, remove, insert } = splice
    // `edited` has checked the splice against the draft's text, which may differ from the text in the document.
    if (at + remove > value.length) {
      const message = `${key}: a splice of ${remove} at ${at} ends beyond the text's ${value.length} UTF-16 units`
      throw new HeadwaterError("SPLICE_RANGE", message, { field: key })
    }
    ops += cost(splice, value)
    value = value.slice(0, at) + insert + value.slice(at + remove)
  }
  return { do: "splice", key, hunks: splices, value, ops }
}

const wrongKind = (field: string, cell: Cell | undefined) =>
  new HeadwaterError(
    "FIELD_KIND",
    `${field} is of kind ${cell?.text ? "text" : (cell?.kind ?? "none")}: write it as that kind, or use another field`,
    { field },
  )

/**
 * Throws `TOO_LARGE` for writes that certainly exceed a chunk's limits, before Automerge does them. After Automerge has
 * done the other writes, `readChange` checks the limits exactly.
 */
function refuseGiants(writes: readonly FieldWrite[]): void {
  /** UTF-16 units of all strings: a lower bound of the chunk's bytes. */
  let units = 0
  /**
   * A lower bound of the operations that registers need. At the end of the function, the operations of texts are added.
   */
  let values = 0
  /** UTF-16 units that splices insert and remove: an upper bound of the operations that texts need. */
  let texts = 0
  const weigh = (value: unknown) => {
    values++
    if (typeof value === "string") units += value.length
    else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        if (!Array.isArray(value)) units += key.length
        weigh(item)
      }
    }
  }
  for (const write of writes) {
    if (write.do === "put") weigh(write.value)
    else if (write.do === "splice") {
      for (const { insert, remove } of write.hunks) {
        units += insert.length
        texts += insert.length + remove
      }
    }
  }
  if (units <= limits.chunk && values + texts <= limits.ops) return
  for (const write of writes) if (write.do === "splice") values += write.ops
  if (units <= limits.chunk && values <= limits.ops) return
  throw giant()
}

function giant(): HeadwaterError {
  const most = `${limits.chunk} bytes and ${limits.ops} operations`
  return new HeadwaterError("TOO_LARGE", `one change has at most ${most}: divide this write into several updates`)
}

/** Does one write in the document's open transaction. `object`: the id of the text that is spliced. */
export function perform(handle: Handle, write: FieldWrite, object: string | undefined): void {
  if (write.do === "put") put(handle, write.key, write.value)
  else if (write.do === "delete") handle.delete("_root", write.key)
  else for (const { at, remove, insert } of write.hunks) handle.splice(object as string, at, remove, insert)
}

function put(handle: Handle, key: string, value: unknown): void {
  if (typeof value === "string") handle.put("_root", key, value, "str")
  else if (typeof value === "number") handle.put("_root", key, value, Number.isInteger(value) ? "int" : "f64")
  else if (typeof value === "boolean") handle.put("_root", key, value, "boolean")
  else if (value === null) handle.put("_root", key, null, "null")
  else handle.putObjectFromHydrate("_root", key, withScalars(value))
}

/**
 * Copies a value, and makes every string in it an `ImmutableString`: from a plain string, `putObjectFromHydrate` would
 * make a text object.
 */
export function withScalars(value: unknown): unknown {
  if (typeof value === "string") return new (automerge().ImmutableString)(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(withScalars)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withScalars(item)]))
}
