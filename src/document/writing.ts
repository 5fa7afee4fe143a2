/**
 * How a change of fields becomes operations. What the document holds decides: a text is written by difference, anything
 * else whole. Registers are never written in place, and their strings are scalars at every depth: an edit inside a value
 * that another replica replaces would be lost without a conflict, and two dates would merge letter by letter.
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Changes, Splice } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import { limits } from "../wire/protocol.ts"
import { automerge, type Handle } from "./automerge.ts"
import type { Cell } from "./cells.ts"
import { difference, type Hunk } from "./difference.ts"

export type Step =
  | { readonly do: "put"; readonly key: string; readonly value: unknown }
  | { readonly do: "delete"; readonly key: string }
  /** One after the other, each at the text as it then stands; `value` is what comes out. */
  | { readonly do: "splice"; readonly key: string; readonly hunks: readonly Hunk[]; readonly value: string }

type Cells = ReadonlyMap<string, Cell>

/** Nothing is touched yet. `FIELD_KIND`, `SPLICE_RANGE`, `TOO_LARGE`. */
export function planned(def: AnyDef | undefined, changes: Changes, cells: Cells): Step[] {
  const steps: Step[] = []
  for (const [key, value] of changes.set) steps.push(assigned(cells.get(key), key, value))
  for (const key of changes.remove) {
    const cell = cells.get(key)
    if (cell === undefined) continue
    if (cell.kind === "counter") throw wrongKind(key, cell)
    // A container is never deleted: absent and empty read alike.
    steps.push(cell.text === undefined ? { do: "delete", key } : rewritten(key, cell.text.value, ""))
  }
  for (const [key, value] of changes.text) {
    const cell = cells.get(key)
    if (cell?.kind === "object" && cell.text === undefined) throw wrongKind(key, cell)
    if (cell !== undefined) steps.push(assigned(cell, key, value))
    else if (value !== "") steps.push({ do: "splice", key, hunks: [{ at: 0, remove: 0, insert: value }], value })
  }
  for (const [key, splices] of byKey(changes.splices)) steps.push(spliced(def, cells.get(key), key, splices))
  refuseGiants(steps)
  return steps.filter((step) => step.do !== "splice" || step.hunks.length > 0)
}

function assigned(cell: Cell | undefined, key: string, value: unknown): Step {
  if (cell?.text !== undefined) {
    if (typeof value !== "string") throw wrongKind(key, cell)
    return rewritten(key, cell.text.value, value)
  }
  if (cell?.kind === "counter") throw wrongKind(key, cell)
  return { do: "put", key, value }
}

/** From the end to the start, so that positions stand. */
const rewritten = (key: string, before: string, value: string): Step => ({
  do: "splice",
  key,
  hunks: difference(before, value).reverse(),
  value,
})

function byKey(splices: readonly Splice[]): Map<string, Splice[]> {
  const keyed = new Map<string, Splice[]>()
  for (const splice of splices) {
    const some = keyed.get(splice.key)
    if (some === undefined) keyed.set(splice.key, [splice])
    else some.push(splice)
  }
  return keyed
}

function spliced(def: AnyDef | undefined, cell: Cell | undefined, key: string, splices: readonly Splice[]): Step {
  if (cell === undefined ? !isText(def, key) : cell.text === undefined) throw wrongKind(key, cell)
  let value = cell?.text?.value ?? ""
  for (const { at, remove, insert } of splices) {
    // The text of the draft may have been a default, of which the document has nothing.
    if (at + remove > value.length) {
      throw new HeadwaterError("SPLICE_RANGE", `${key}: ${at}, ${remove} is beyond ${value.length}`, { field: key })
    }
    value = value.slice(0, at) + insert + value.slice(at + remove)
  }
  return { do: "splice", key, hunks: splices, value }
}

const wrongKind = (field: string, cell: Cell | undefined) =>
  new HeadwaterError(
    "FIELD_KIND",
    `${field} holds ${cell?.text ? "text" : (cell?.kind ?? "no text")} in this document`,
    {
      field,
    },
  )

/** What is certainly beyond a chunk's limits never reaches Automerge; the exact answer comes with the chunk. */
function refuseGiants(steps: readonly Step[]): void {
  let units = 0
  let values = 0
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
  for (const step of steps) {
    if (step.do === "put") weigh(step.value)
    else if (step.do === "splice") for (const { insert } of step.hunks) units += insert.length
  }
  if (units <= limits.chunk && values <= limits.ops) return
  throw new HeadwaterError("TOO_LARGE", `one change holds at most ${limits.chunk} bytes and ${limits.ops} operations`)
}

/** `object` is the text that a splice works on. */
export function perform(handle: Handle, step: Step, object: string | undefined): void {
  if (step.do === "put") put(handle, step.key, step.value)
  else if (step.do === "delete") handle.delete("_root", step.key)
  else for (const { at, remove, insert } of step.hunks) handle.splice(object as string, at, remove, insert)
}

function put(handle: Handle, key: string, value: unknown): void {
  if (typeof value === "string") handle.put("_root", key, value, "str")
  else if (typeof value === "number") handle.put("_root", key, value, Number.isInteger(value) ? "int" : "f64")
  else if (typeof value === "boolean") handle.put("_root", key, value, "boolean")
  else if (value === null) handle.put("_root", key, null, "null")
  else handle.putObjectFromHydrate("_root", key, withScalars(value))
}

function withScalars(value: unknown): unknown {
  if (typeof value === "string") return new (automerge().ImmutableString)(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(withScalars)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withScalars(item)]))
}
