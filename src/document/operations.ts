/**
 * Answers questions about the operations of one change: whether each refers only to operations of this change and of
 * its ancestors, whether Automerge would write such operations, and which keys of the document's root they write.
 */

import { type Code, HeadwaterError } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { Operations } from "./columns.ts"
import { DELETE, INCREMENT, MARK, SET } from "./format.ts"

/** Returns whether an ancestor of the change has made this operation. */
export type Exists = (counter: number, actor: Actor) => boolean

/** The key of the document's root whose value is the entity's collection. */
export const TYPE = "@type"
/** The key of the document's root that a change sets and removes again when it has nothing else to write. */
export const MADE = "@made"

/**
 * Returns the code of a fault in the operations of a change; undefined when there is no fault. Not for the genesis,
 * which is compared byte for byte instead.
 *
 * `OP_REFERENCE`: an operation refers to an operation that is neither an earlier one of this change nor one of an
 * ancestor. `CHUNK_BAD`: an operation that Automerge never writes (an insertion into a map, a deletion of nothing, half
 * a mark), or an operation on `@type`, which only the genesis may write.
 *
 * Such a fault must be found by reading the change. Automerge fails on the change only where it meets a concurrent
 * change, so some replicas would find it sound and others bad.
 */
export function fault(change: Change, exists: Exists): Code | undefined {
  try {
    return faultIn(new Operations(change), change, exists)
  } catch (error) {
    throwUnlessMalformed(error)
    return "CHUNK_BAD"
  }
}

/** Does the work of `fault`, but throws `CHUNK_BAD` for a malformed column. */
function faultIn(op: Operations, { startOp }: Change, exists: Exists): Code | undefined {
  /** Whether an operation is an earlier one of this change, or one of an ancestor. */
  const known = (counter: number, actor: number) => {
    if (actor === 0 && counter >= startOp) return counter < op.counter
    const author = op.actor(actor)
    return author !== undefined && exists(counter, author)
  }
  /** Whether the previous operation began a mark. If so, this operation must end the mark. */
  let marking = false
  while (op.next()) {
    if (!honest(op) || (op.action === MARK && !op.markName.there) !== marking) return "CHUNK_BAD"
    marking = op.action === MARK && op.markName.there
    if (op.inRoot && op.key.text === TYPE) return "CHUNK_BAD"
    if (!op.inRoot && !known(op.objectCounter.value, op.objectActor.value)) return "OP_REFERENCE"
    if (op.onElement && !known(op.elementCounter.value, op.elementActor.value)) return "OP_REFERENCE"
    for (let i = 0; i < op.predecessors; i++) {
      op.predecessorCounter.next()
      op.predecessorActor.next()
      if (!op.predecessorCounter.there || !op.predecessorActor.there) return "CHUNK_BAD"
      if (!known(op.predecessorCounter.value, op.predecessorActor.value)) return "OP_REFERENCE"
    }
  }
  return marking ? "CHUNK_BAD" : undefined
}

/** Whether Automerge writes operations of this form. */
function honest(op: Operations): boolean {
  const { action, inMap, insert, predecessors } = op
  if (op.objectActor.there === op.inRoot || action > MARK) return false
  if (inMap) {
    if (op.elementCounter.there || op.elementActor.there || insert || op.key.text === "__proto__") return false
  } else if (op.inRoot || op.onElement === op.atHead) return false
  if (action === MARK) return insert
  if (action === DELETE || action === INCREMENT) return !insert && predecessors > 0
  // A put at a key may have predecessors. An insertion must have none. A put at an element must have some, because it
  // replaces the element's value.
  return inMap || (insert ? predecessors === 0 : op.onElement && predecessors > 0)
}

/** Whether the change does nothing but set this key of the root. */
export function setsOnly(change: Change, key: string): boolean {
  try {
    const op = new Operations(change)
    while (op.next()) if (!op.inRoot || op.key.text !== key || op.action !== SET) return false
    return true
  } catch (error) {
    throwUnlessMalformed(error)
    return false
  }
}

/** If the only operation of the change sets this key of the root to a string, returns the string; else undefined. */
export function onlyString(change: Change, key: string): string | undefined {
  try {
    const op = new Operations(change)
    if (change.ops !== 1 || !op.next() || !op.inRoot || op.key.text !== key || op.action !== SET) return undefined
    return op.string()
  } catch (error) {
    throwUnlessMalformed(error)
    return undefined
  }
}

/** Returns the keys of the root that the change writes or deletes. */
export function rootKeys(change: Change): Set<string> {
  const keys = new Set<string>()
  const op = new Operations(change)
  while (op.next()) if (op.inRoot) keys.add(op.key.text)
  return keys
}

/**
 * Throws an error again, unless `Operations` threw it because the change is malformed. Any other error (no memory, say)
 * is a failure of the machine, and says nothing about the change.
 */
function throwUnlessMalformed(error: unknown): void {
  if (!(error instanceof HeadwaterError)) throw error
}
