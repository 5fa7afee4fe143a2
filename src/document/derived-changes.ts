/**
 * Derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write to the
 * same text field, must produce one object and not two. So genesis and containers have no time, no message, and an actor
 * that is a function of their content (`deriveChange`). The wire names these two instead of sending them, so
 * `wire/named-changes.ts` makes them.
 */

import { type Change, deriveChange, readChange } from "../wire/chunk.ts"
import { genesisOf, textContainer } from "../wire/named-changes.ts"
import { type Hash, isId } from "../wire/protocol.ts"
import { automerge, NOBODY } from "./automerge.ts"
import { onlyString, TYPE } from "./operations.ts"

export { genesisOf, textContainer }

/**
 * Returns the collection in which this change makes the entity; undefined when the change is no genesis. A change that
 * does the same in other bytes is no genesis: the containers that other replicas derive would not depend on it.
 */
export function collectionMadeBy(entity: string, change: Change): string | undefined {
  const name = change.deps.length === 0 ? onlyString(change, TYPE) : undefined
  return name !== undefined && isId(name) && genesisOf(entity, name).hash === change.hash ? name : undefined
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
