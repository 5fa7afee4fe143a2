/**
 * Handles changes whose records the disk has damaged or lost. A genesis and the container of a text are made again. For
 * other changes, a heal asks the relay.
 */
import { genesisOf, textContainer } from "../document/derived-changes.ts"
import { isText } from "../schema/schema.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"
import { keys, withDamage } from "./disk/records.ts"
import type { Defs } from "./disk/records-in-memory.ts"
import type { Documents } from "./live-documents.ts"
import type { Transaction } from "./transaction.ts"

/**
 * Makes a change again of which every replica makes the same bytes: the genesis of an entity, or the container of a
 * text. Returns undefined for every other change.
 */
export function madeAgain(entity: string, hash: Hash, defs: Defs, tx: Transaction): Held | undefined {
  for (const def of defs.values()) {
    const genesis = genesisOf(entity, def.name)
    const texts = Object.keys(def.fields).filter((key) => isText(def, key))
    const named = [genesis, ...texts.map((key) => textContainer(entity, genesis, key))]
    const change = named.find((one) => one.hash === hash)
    if (change !== undefined) return { change, collection: def.name, by: tx.owed(entity, hash)?.principal ?? undefined }
  }
  return undefined
}

/**
 * Notes that the disk has damaged or lost a change, so that a heal asks the relay for the change. `hash`: the change's
 * hash; undefined when it is unknown. Removes the damaged record, so that its damage is noted once: each note begins a
 * heal, and perhaps the relay does not have the change either.
 *
 * A change in the outbox is marked as bad instead, and so reported as lost, until it arrives from the relay. The relay
 * may have the change, because perhaps only its ack was lost.
 */
export function noteDamage(entity: string, hash: Hash | undefined, tx: Transaction): void {
  tx.touchDocument(entity) // the document lacks the change, so it must be dropped if this note is undone
  const owed = hash === undefined ? undefined : tx.owed(entity, hash)
  if (owed && tx.badOf(entity).has(owed.hash)) return
  tx.state = withDamage(tx.state)
  // The row still shows the values that the change wrote. It must be made again, because perhaps the relay does not
  // have the change either.
  const mark = tx.staleOf(entity)
  if (mark?.waiting !== false) tx.markStale(entity, { suspects: [], ...mark, waiting: false })
  if (!owed) {
    if (hash !== undefined) tx.put(keys.change(tx.workspace, entity, hash), undefined)
    return
  }
  tx.markBad(entity, owed.hash, { code: "CHUNK_BAD", automerge: "", damaged: true })
  tx.pushLast(entity, owed.hash, true)
}

/**
 * Whether the disk has lost the record of a change on which one of `waiting` depends. Call only when the entity has no
 * mark: then all its changes were once in the document together with their deps. So a dep that is neither in `held` nor
 * in `bad` was lost.
 */
export function lacksRecord(
  held: ReadonlyMap<Hash, Held>,
  waiting: readonly Held[],
  bad: ReadonlyMap<Hash, unknown>,
): boolean {
  return waiting.some(({ change }) => change.deps.some((dep) => !held.has(dep) && !bad.has(dep)))
}

/**
 * Reads these entities again, and notes which of their changes are damaged. Call in a new step when a step that found a
 * damaged change has failed: its note of the damage was undone with the step. Without a note no heal would ask the
 * relay for the change, and an edit that fails because of the damage would always fail.
 */
export async function findDamage(documents: Documents, entities: readonly string[], tx: Transaction): Promise<void> {
  for (const entity of entities) {
    documents.drop(entity)
    await documents.saved.held(entity, tx)
    // `held` notes damaged records. A missing record is noticed only when a document is made.
    if (tx.staleOf(entity) === undefined) await documents.live(entity, tx)
  }
}
