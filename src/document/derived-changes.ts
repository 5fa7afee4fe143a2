/**
 * Derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write to the
 * same text field, must produce one object and not two. So genesis and containers have no time, no message, and an actor
 * that is a function of their content (`deriveChange`). The wire names these two instead of sending them, so
 * `wire/named-changes.ts` makes them.
 */

import { type Change, deriveChange, deriveFrom, readChange, templateOf } from "../wire/chunk.ts"
import { genesisOf, textContainer } from "../wire/named-changes.ts"
import { type Hash, isId, limits } from "../wire/protocol.ts"
import { automerge, NOBODY } from "./automerge.ts"
import { encodeChange } from "./encoder/new-change.ts"
import { NewOperations } from "./encoder/new-operations.ts"
import { MADE, onlyString, TYPE } from "./operations.ts"

export { genesisOf, textContainer }

/**
 * An edit of a document with more heads merges them first. Half of what a change may depend on, because the edit also
 * makes a head of each text container.
 */
export const MANY_HEADS = limits.heads / 2

/**
 * Returns the collection in which this change makes the entity; undefined when the change is no genesis. A change that
 * does the same in other bytes is no genesis: the containers that other replicas derive would not depend on it.
 */
export function collectionMadeBy(entity: string, change: Change): string | undefined {
  const name = change.deps.length === 0 ? onlyString(change, TYPE) : undefined
  return name !== undefined && isId(name) && genesisOf(entity, name).hash === change.hash ? name : undefined
}

/**
 * Makes a change that depends on these changes and has no other effect: it sets a key and removes the key again. An
 * edit depends on all heads, so with more heads than a change may depend on, the heads must be merged before.
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
 * Makes the change that deletes the values that conflict with a field's text now, but no later values. `others`: the
 * operation ids of the values to delete.
 */
export function pruning(entity: string, key: string, others: string[], heads: readonly Hash[], maxOp: number): Change {
  const change = { actor: NOBODY, seq: 1, startOp: maxOp + 1, time: 0, message: null, deps: [...heads].sort() }
  const ops = [{ action: "del", obj: "_root", key, pred: others }]
  return readChange(deriveChange(entity, automerge().encodeChange({ ...change, author: null, ops })))
}
