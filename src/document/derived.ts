/**
 * Makes derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write
 * to the same text field, must produce one object and not two. So genesis and containers have no time, no message, and
 * an actor that is a function of their content (`deriveChange`).
 */

import { type Change, deriveChange, readChange, sealChange, withDerivedActor } from "../wire/chunk.ts"
import { type Hash, isId } from "../wire/protocol.ts"
import { automerge, NOBODY } from "./automerge.ts"
import { encodeChange } from "./encoder/new-change.ts"
import { MAKE_TEXT, NewOperations } from "./encoder/new-operations.ts"
import { onlyString, TYPE } from "./operations.ts"

/** Makes the genesis: a change that sets `@type` to the collection, does nothing else and has no deps. */
export function genesisOf(entity: string, collection: string): Change {
  const operations = new NewOperations(1)
  operations.set({ object: undefined, key: TYPE }, collection)
  return derived(entity, [], 1, operations)
}

/**
 * Returns the collection in which this change makes the entity; undefined when the change is no genesis. A change that
 * does the same in other bytes is no genesis: the containers that other replicas derive would not depend on it.
 */
export function collectionMadeBy(entity: string, change: Change): string | undefined {
  const name = change.deps.length === 0 ? onlyString(change, TYPE) : undefined
  return name !== undefined && isId(name) && genesisOf(entity, name).hash === change.hash ? name : undefined
}

/** Makes the change that creates the empty text of one field. Its only dep is the genesis. */
export function textContainer(entity: string, genesis: Change, key: string): Change {
  const operations = new NewOperations(genesis.maxOp + 1)
  operations.make({ object: undefined, key }, MAKE_TEXT)
  return derived(entity, [genesis.hash], genesis.maxOp + 1, operations)
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

function derived(entity: string, deps: readonly Hash[], startOp: number, operations: NewOperations): Change {
  const template = encodeChange({ deps, actor: NOBODY, startOp, time: 0, others: [] }, operations)
  return sealChange(withDerivedActor(entity, template))
}
