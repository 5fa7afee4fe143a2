/**
 * Makes derived changes: every replica makes the same bytes. Two replicas that create the same entity, or first write
 * to the same text field, must produce one object and not two. So genesis and containers have no time, no message, and
 * an actor that is a function of their content (`deriveChange`). A template of each is encoded once; for every entity
 * its bytes are rewritten, because neither the operations nor their order depend on the entity.
 */

import { type Change, deriveChange, deriveFrom, readChange, type Template, templateOf } from "../wire/chunk.ts"
import { type Hash, isId } from "../wire/protocol.ts"
import { automerge, NOBODY } from "./automerge.ts"
import { encodeChange } from "./encoder/new-change.ts"
import { NewOperations } from "./encoder/new-operations.ts"
import { MAKE_TEXT } from "./format.ts"
import { MADE, onlyString, TYPE } from "./operations.ts"

/** The templates, by what they make. The oldest one is forgotten first. */
const templates = new Map<string, Template>()
/** How many templates are kept. An app needs fewer, but the changes of others may bring any number of names. */
const KEPT = 256

/** For tests. */
export const templatesKept = (): number => templates.size

/** Returns the template of this name: a change with these deps, and with the operations that `write` adds. */
function template(
  name: string,
  deps: readonly Hash[],
  startOp: number,
  write: (operations: NewOperations) => void,
): Template {
  const known = templates.get(name)
  if (known !== undefined) return known
  const operations = new NewOperations(startOp)
  write(operations)
  const made = templateOf(encodeChange({ deps, actor: NOBODY, startOp, time: 0, others: [] }, operations))
  templates.set(name, made)
  const [first] = templates.keys()
  if (templates.size > KEPT && first !== undefined) templates.delete(first)
  return made
}

/** Makes the genesis: a change that sets `@type` to the collection, does nothing else and has no deps. */
export function genesisOf(entity: string, collection: string): Change {
  const made = template(`genesis ${collection}`, [], 1, (operations) =>
    operations.set({ object: undefined, key: TYPE }, collection),
  )
  return deriveFrom(made, entity)
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
  const made = template(`text ${key}`, [genesis.hash], genesis.maxOp + 1, (operations) =>
    operations.make({ object: undefined, key }, MAKE_TEXT),
  )
  return deriveFrom(made, entity, genesis.hash)
}

/**
 * Makes a change that depends on these changes and has no other effect: it sets a key and removes the key again. An
 * edit depends on all heads, so with more heads than a change may depend on, the heads must be merged before.
 */
export function merging(entity: string, heads: readonly Change[]): Change {
  const startOp = Math.max(...heads.map(({ maxOp }) => maxOp)) + 1
  const operations = new NewOperations(startOp)
  operations.delete(MADE, operations.set({ object: undefined, key: MADE }, true))
  const deps = heads.map(({ hash }) => hash)
  return deriveFrom(templateOf(encodeChange({ deps, actor: NOBODY, startOp, time: 0, others: [] }, operations)), entity)
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
