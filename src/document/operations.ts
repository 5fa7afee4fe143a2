/**
 * What stands inside a change, as far as it says whether the change is honest: which operations it names, and whether any
 * Automerge would write it. Read from the columns in plain JavaScript, because Automerge's own decoder costs more than
 * applying the change. Columns as in https://automerge.org/automerge-binary-format-spec ("Operation columns").
 */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { Operations } from "./columns.ts"

/** Whether this operation stands among the change's ancestors. */
export type Exists = (counter: number, actor: Actor) => boolean

const SET = 1
const DELETE = 3
const INCREMENT = 5
const MARK = 7
/** Where the root says which collection the entity is in. */
export const TYPE = "@type"

/**
 * `OP_REFERENCE` when an operation names one that is neither earlier in this change nor among its ancestors. `CHUNK_BAD`
 * for operations that no Automerge writes and that do harm only where something concurrent meets them, so that trying
 * them would not come out the same everywhere: an insertion into a map, a deletion of nothing, half a mark. So for those
 * that touch the collection, which is settled once, by the genesis. (That is not asked here: it is known byte for byte.)
 */
export function fault(change: Change, exists: Exists): Code | undefined {
  try {
    return faultIn(new Operations(change), change, exists)
  } catch {
    return "CHUNK_BAD"
  }
}

function faultIn(op: Operations, { startOp }: Change, exists: Exists): Code | undefined {
  const known = (counter: number, actor: number) => {
    if (actor === 0 && counter >= startOp) return counter < op.counter
    const author = op.actor(actor)
    return author !== undefined && exists(counter, author)
  }
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
      if (!known(op.predecessorCounter.value, op.predecessorActor.value)) return "OP_REFERENCE"
    }
  }
  return marking ? "CHUNK_BAD" : undefined
}

function honest(op: Operations): boolean {
  const { action, inMap, insert, predecessors } = op
  if (op.objectActor.there === op.inRoot || action > MARK) return false
  if (inMap) {
    if (op.elementCounter.there || op.elementActor.there || insert || op.key.text === "__proto__") return false
  } else if (op.inRoot || op.onElement === op.atHead) return false
  if (action === MARK) return insert
  if (action === DELETE || action === INCREMENT) return !insert && predecessors > 0
  // A put onto an element replaces it. What replaces nothing is a new key of a map, or an insertion, which must.
  return inMap || (insert ? predecessors === 0 : op.onElement && predecessors > 0)
}

/** Whether all that the change does is to set this key of the root. */
export function setsOnly(change: Change, key: string): boolean {
  try {
    const op = new Operations(change)
    while (op.next()) if (!op.inRoot || op.key.text !== key || op.action !== SET) return false
    return true
  } catch {
    return false
  }
}

/** The string that the change's only operation sets this key of the root to; undefined for any other change. */
export function onlyString(change: Change, key: string): string | undefined {
  try {
    const op = new Operations(change)
    if (change.ops !== 1 || !op.next() || !op.inRoot || op.key.text !== key || op.action !== SET) return undefined
    return op.string()
  } catch {
    return undefined
  }
}

/** The keys of the root that the change puts or deletes. */
export function rootKeys(change: Change): Set<string> {
  const keys = new Set<string>()
  const op = new Operations(change)
  while (op.next()) if (op.inRoot) keys.add(op.key.text)
  return keys
}
