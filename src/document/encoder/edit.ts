/**
 * Makes a change of fields that are no texts, byte for byte as Automerge makes it in `Entity.write`, `Entity.remove` and
 * `Entity.restore`. The entity was read without Automerge, so such an edit needs no WebAssembly.
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
 * Returns the change by `actor` that does these writes; none when they change nothing. `time` in s. Undefined: a write
 * is of a kind that is not known here, or the heads must be merged first, and Automerge must make the change. Throws
 * `TOO_LARGE`.
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
  // Automerge also names the last change of the author, unless it is a head.
  const own = history.lastOf(actor)?.hash
  const deps = own === undefined || history.heads.includes(own) ? history.heads : [...history.heads, own]
  const header = { deps, actor, seq: history.seqOf(actor) + 1, startOp, time, others }
  const change = sealChange(encodeChange(header, operations))
  noteMade(change)
  return [change]
}

/**
 * Plans the writes for these changes, as `planned` does. Undefined when one of the fields is a text or a counter, or is to
 * become a text. Throws `TOO_LARGE`.
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

/** The write that takes a deletion back. */
export const RESTORATION: FieldWrite = { do: "delete", key: DELETED }

/** Stands for the cell of a field that is neither a text nor a counter: its value makes no difference to the plan. */
const REGISTER: Cell = { kind: "scalar", value: undefined }

interface Edit {
  readonly write: FieldWrite
  /** The values that are under the key now, sorted by the ids of their operations. */
  readonly replaced: readonly Value[]
}

/** Automerge writes no operation that deletes nothing, nor one that sets the scalar that is there already. */
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
