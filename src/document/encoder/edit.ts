/**
 * Makes a change of fields that are no texts, byte for byte as Automerge makes it in `Entity.write`, `Entity.remove`
 * and `Entity.restore`. Needs a `Reader` in place of a document, so the edit needs no WebAssembly.
 */

import type { Changes } from "../../schema/draft.ts"
import type { AnyDef } from "../../schema/schema.ts"
import { type Change, sealChange } from "../../wire/chunk.ts"
import { noteMade } from "../../wire/made-changes.ts"
import type { Actor, Hash } from "../../wire/protocol.ts"
import type { Cell } from "../cells.ts"
import { DELETED, deletedValue } from "../deletion.ts"
import { MANY_HEADS } from "../derived-changes.ts"
import { COUNTER, FALSE, FLOAT, INT, NULL, STRING, TRUE } from "../format.ts"
import { TEXT } from "../reader/objects.ts"
import type { Reader, Value } from "../reader/reader.ts"
import { type FieldWrite, planned } from "../writing.ts"
import { encodeChange } from "./new-change.ts"
import { type Id, NewOperations } from "./new-operations.ts"
import { isScalar, putRegister } from "./registers.ts"

/**
 * Returns the change by `actor` that does these writes, in a list; an empty list when they change nothing. `time` in s.
 * Returns undefined when Automerge must make the change: this file cannot encode one of the writes, or the heads must
 * be merged first. Throws `TOO_LARGE`.
 */
export function encodeEdit(
  before: Reader,
  writes: readonly FieldWrite[],
  actor: Actor,
  time: number,
): Change[] | undefined {
  const { history } = before
  if (history.heads.length > MANY_HEADS) return undefined
  const edits = writes.map((write) => ({ write, replaced: before.values(write.key) })).filter(changesSomething)
  if (edits.length === 0) return []
  const named = new Set(edits.flatMap(({ replaced }) => replaced.map((value) => value.actor)))
  named.delete(actor)
  const others = [...named].sort()
  const idOf = (value: Value): Id => ({ counter: value.counter, actor: others.indexOf(value.actor) + 1 })
  const startOp = history.maxOp + 1
  const operations = new NewOperations(startOp)
  for (const { write, replaced } of edits) {
    const ids = replaced.map(idOf)
    if (write.do === "delete") operations.delete(write.key, ids)
    else if (write.do !== "put" || !putRegister(operations, write.key, write.value, ids)) return undefined
  }
  // Automerge also makes the author's last change a dep, unless it is a head and so is a dep already.
  const own = history.lastOf(actor)?.hash
  const deps = own === undefined || history.heads.includes(own) ? history.heads : [...history.heads, own]
  const header = { deps, actor, seq: history.seqOf(actor) + 1, startOp, time, others }
  const change = sealChange(encodeChange(header, operations))
  noteMade(change)
  return [change]
}

/**
 * Plans the writes for these changes, as `planned` does. Returns undefined when one of the fields is a text or a
 * counter, or is to become a text. Throws `TOO_LARGE`.
 */
export function plannedEdit(before: Reader, def: AnyDef, changes: Changes): FieldWrite[] | undefined {
  if (changes.text.size > 0 || changes.splices.length > 0) return undefined
  const cells = new Map<string, Cell>()
  for (const key of [...changes.set.keys(), ...changes.remove]) {
    const values = before.values(key)
    if (values.some(({ type }) => type === TEXT || type === COUNTER)) return undefined
    if (values.length > 0) cells.set(key, REGISTER)
  }
  return planned(def, changes, cells)
}

/** The write that deletes an entity whose document has these heads. */
export const deletion = (heads: readonly Hash[]): FieldWrite => ({
  do: "put",
  key: DELETED,
  value: deletedValue(heads),
})

/** The write that restores a deleted entity. */
export const RESTORATION: FieldWrite = { do: "delete", key: DELETED }

/**
 * The cell of every field that is neither a text nor a counter: `planned` does not look at the value of such a field.
 */
const REGISTER: Cell = { kind: "scalar", value: undefined }

interface Edit {
  readonly write: FieldWrite
  /** The present values under the key, sorted by the ids of their operations. */
  readonly replaced: readonly Value[]
}

/**
 * Whether Automerge writes an operation for this edit. It writes none to delete an absent key, or to set the scalar
 * that is the only value already.
 */
function changesSomething({ write, replaced }: Edit): boolean {
  if (write.do === "delete") return replaced.length > 0
  const [only] = replaced
  if (write.do !== "put" || only === undefined || replaced.length > 1) return true
  return !isScalar(write.value) || only.type !== typeOf(write.value) || only.value !== write.value
}

function typeOf(value: null | boolean | number | string): number {
  if (value === null) return NULL
  if (typeof value === "boolean") return value ? TRUE : FALSE
  if (typeof value === "string") return STRING
  return Number.isInteger(value) ? INT : FLOAT
}
