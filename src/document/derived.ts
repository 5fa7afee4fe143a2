/**
 * Makes derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write
 * to the same text field, must produce one object and not two. So genesis and containers have no time, no message, and
 * an actor that is a function of their content (`deriveChange`). Automerge makes a template of each once. For every
 * entity the template's bytes are rewritten: neither the operations nor their order depend on the entity.
 */

import { type Change, deriveChange, readChange, withDeps } from "../wire/chunk.ts"
import { type Hash, isId } from "../wire/protocol.ts"
import { automerge, type Handle, NOBODY, newHandle } from "./automerge.ts"
import { onlyString, TYPE } from "./operations.ts"

/** The templates, by what they make: change chunks under the actor `NOBODY`. The oldest one is forgotten first. */
const templates = new Map<string, Uint8Array>()
/** How many templates are kept. An app needs fewer, but the changes of others may bring any number of names. */
const KEPT = 256

/** For tests. */
export const templatesKept = (): number => templates.size

function template(name: string, make: () => Uint8Array): Uint8Array {
  let chunk = templates.get(name)
  if (chunk !== undefined) return chunk
  chunk = make()
  templates.set(name, chunk)
  const [first] = templates.keys()
  if (templates.size > KEPT && first !== undefined) templates.delete(first)
  return chunk
}

/** Makes the genesis: a change that sets `@type` to the collection, does nothing else and has no deps. */
export function genesisOf(entity: string, collection: string): Change {
  const chunk = template(`genesis ${collection}`, () => {
    const handle = newHandle()
    handle.put("_root", TYPE, collection, "str")
    handle.commit(undefined, 0)
    return lastOf(handle)
  })
  return readChange(deriveChange(entity, chunk))
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
  const chunk = template(`text ${key}`, () => {
    const handle = newHandle()
    handle.applyChanges([genesis.chunk])
    handle.putObject("_root", key, "")
    handle.commit(undefined, 0)
    return lastOf(handle)
  })
  return readChange(deriveChange(entity, withDeps(chunk, [genesis.hash])))
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

/** Returns the chunk of the change that was just committed. Frees the document. */
function lastOf(handle: Handle): Uint8Array {
  const chunk = handle.getLastLocalChange()
  handle.free()
  if (chunk === null) throw new Error("Automerge made no change")
  return chunk
}
