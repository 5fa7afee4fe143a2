/**
 * Makes derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write
 * to the same text field, must make one object and not two. So a derived change has no time and no message, and its
 * actor is a function of its content (`deriveChange`).
 *
 * The genesis of an entity and the container of a text travel as names instead of bytes. So `wire/named-changes.ts`
 * makes these two.
 */

import { type Change, deriveChange, deriveFrom, readChange, templateOf } from "../wire/chunk.ts"
import { genesisOf, textContainer } from "../wire/named-changes.ts"
import { type Hash, isId, limits } from "../wire/protocol.ts"
import { automerge, NOBODY } from "./automerge.ts"
import { encodeChange } from "./encoder/new-change.ts"
import { NewOperations } from "./encoder/new-operations.ts"
import { MADE, onlyString, TYPE } from "./root-operations.ts"

export { genesisOf, textContainer }

/**
 * When a document has more heads than this, an edit merges some of them first. This is half of the deps that a change
 * may have, because each text container that the edit makes is one more head.
 */
export const MANY_HEADS = limits.heads / 2

/**
 * Returns the collection in which this change makes the entity; undefined when the change is no genesis. A change that
 * sets `@type` in other bytes is no genesis, because the containers that replicas derive depend on the genesis's hash.
 */
export function collectionMadeBy(entity: string, change: Change): string | undefined {
  const name = change.deps.length === 0 ? onlyString(change, TYPE) : undefined
  return name !== undefined && isId(name) && genesisOf(entity, name).hash === change.hash ? name : undefined
}

/**
 * Makes a change that merges `heads`: it depends on them, and only sets a key and removes the key again. An edit
 * depends on all heads of the document. When there are more heads than a change may have deps, some must be merged
 * before it.
 */
export function merging(entity: string, heads: readonly Change[]): Change {
  const startOp = Math.max(...heads.map(({ maxOp }) => maxOp)) + 1
  const operations = new NewOperations(startOp)
  operations.delete(MADE, [operations.set({ object: undefined, key: MADE }, true)])
  const deps = heads.map(({ hash }) => hash)
  return deriveFrom(
    templateOf(encodeChange({ deps, actor: NOBODY, seq: 1, startOp, time: 0, others: [] }, operations)),
    entity,
  )
}

/**
 * Makes the change that deletes the values that conflict with a field's text. `others`: the ids of the operations that
 * wrote these values. Values that are written later stay.
 */
export function pruning(entity: string, key: string, others: string[], heads: readonly Hash[], maxOp: number): Change {
  const change = { actor: NOBODY, seq: 1, startOp: maxOp + 1, time: 0, message: null, deps: [...heads].sort() }
  const ops = [{ action: "del", obj: "_root", key, pred: others }]
  return readChange(deriveChange(entity, automerge().encodeChange({ ...change, author: null, ops })))
}
