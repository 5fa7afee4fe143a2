/**
 * Changes that everybody makes alike. Two replicas that create the same entity, or first write to the same text field,
 * must produce one object and not two, so genesis and containers have no time, no message, and an actor that is a
 * function of their content (`deriveChange`). Automerge makes each of them once; for other entities the bytes are
 * rewritten, because neither the operations nor their order depend on the entity.
 */

import { type Change, deriveChange, readChange, withDeps } from "../wire/chunk.ts"
import { type Hash, isId } from "../wire/protocol.ts"
import { automerge, newHandle } from "./automerge.ts"
import { onlyString, TYPE } from "./operations.ts"

const NOBODY = "0".repeat(32)
const templates = new Map<string, Uint8Array>()

function template(name: string, make: () => Uint8Array): Uint8Array {
  let chunk = templates.get(name)
  if (chunk === undefined) templates.set(name, (chunk = make()))
  return chunk
}

/** Sets `@type` and nothing else, resting on nothing. */
export function genesisOf(entity: string, collection: string): Change {
  const chunk = template(`genesis ${collection}`, () => {
    const handle = newHandle(NOBODY)
    handle.put("_root", TYPE, collection, "str")
    handle.commit(undefined, 0)
    return lastOf(handle)
  })
  return readChange(deriveChange(entity, chunk))
}

/**
 * The collection that this change makes the entity in; undefined when it is no genesis. One that says the same in other
 * bytes is none: what others derive from theirs would not rest on it.
 */
export function collectionMadeBy(entity: string, change: Change): string | undefined {
  const name = change.deps.length === 0 ? onlyString(change, TYPE) : undefined
  return name !== undefined && isId(name) && genesisOf(entity, name).hash === change.hash ? name : undefined
}

/** Makes the empty text of one field, resting on the genesis. */
export function textContainer(entity: string, genesis: Change, key: string): Change {
  const chunk = template(`text ${key}`, () => {
    const handle = newHandle(NOBODY)
    handle.applyChanges([genesis.chunk])
    handle.putObject("_root", key, "")
    handle.commit(undefined, 0)
    return lastOf(handle)
  })
  return readChange(deriveChange(entity, withDeps(chunk, [genesis.hash])))
}

/** Deletes the values that hide a container, and no later ones: `others` are their operation ids. */
export function pruning(entity: string, key: string, others: string[], heads: readonly Hash[], maxOp: number): Change {
  const change = { actor: NOBODY, seq: 1, startOp: maxOp + 1, time: 0, message: null, deps: [...heads].sort() }
  const ops = [{ action: "del", obj: "_root", key, pred: others }]
  return readChange(deriveChange(entity, automerge().encodeChange({ ...change, author: null, ops })))
}

function lastOf(handle: ReturnType<typeof newHandle>): Uint8Array {
  const chunk = handle.getLastLocalChange()
  handle.free()
  if (chunk === null) throw new Error("Automerge made no change")
  return chunk
}
