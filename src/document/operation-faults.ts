/**
 * Finds faults in the operations of one change: references to unknown operations, and forms that Automerge never
 * writes.
 */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { Operations, throwUnlessMalformed } from "./columns.ts"
import { DELETE, INCREMENT, MARK } from "./format.ts"
import { TYPE } from "./root-operations.ts"

/** Whether an ancestor of the change has made this operation. */
export type Exists = (counter: number, actor: Actor) => boolean

/**
 * Returns the code of a fault in the operations of a change; undefined when there is no fault. Not for the genesis,
 * which is compared byte for byte instead.
 *
 * `OP_REFERENCE`: an operation refers to an operation that is neither an earlier one of this change nor one of an
 * ancestor. `CHUNK_BAD`: an operation that Automerge never writes (an insertion into a map, a deletion of nothing, the
 * beginning of a mark without its end), or an operation on `@type`, which only the genesis may write.
 *
 * Automerge itself fails on such a change only where a document has a concurrent change. So without this check, some
 * replicas would find the change sound and others bad.
 */
export function fault(change: Change, exists: Exists): Code | undefined {
  try {
    return faultIn(new Operations(change), change, exists)
  } catch (error) {
    throwUnlessMalformed(error)
    return "CHUNK_BAD"
  }
}

/** Finds the fault for `fault`. Throws `CHUNK_BAD` for a malformed column. */
function faultIn(op: Operations, { startOp }: Change, exists: Exists): Code | undefined {
  /** Whether the operation with this id is an earlier one of this change, or one of an ancestor. */
  const known = (counter: number, actor: number) => {
    if (actor === 0 && counter >= startOp) return counter < op.counter
    const author = op.actor(actor)
    return author !== undefined && exists(counter, author)
  }
  /** Whether the previous operation began a mark. If so, this operation must end the mark. */
  let marking = false
  while (op.next()) {
    if (!hasKnownForm(op) || (op.action === MARK && !op.markName.there) !== marking) return "CHUNK_BAD"
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
function hasKnownForm(op: Operations): boolean {
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
