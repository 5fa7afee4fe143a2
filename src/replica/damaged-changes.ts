/**
 * Records of changes that the disk has damaged or lost. A genesis and a text's container are made again from their
 * names; the relay is asked for other changes.
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
 * Makes a change again that everybody makes alike: the genesis of an entity, or the container of a text. Undefined for
 * every other change.
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
 * Notes that the disk has damaged or lost a change, so that a heal asks the relay for it. `hash`: the change; undefined
 * when it is not known which one it is. Removes the record, so that the damage is noted once: perhaps the relay does
 * not have the change either, and each note of damage begins a heal. A change in the outbox is marked as bad instead,
 * and so reported as lost, until the relay gives it back. (The relay may have it, because perhaps only the ack was
 * lost.)
 */
export function noteDamage(entity: string, hash: Hash | undefined, tx: Transaction): void {
  tx.touchDocument(entity) // the document lacks the change: it must be dropped if this note is undone
  const owed = hash === undefined ? undefined : tx.owed(entity, hash)
  if (owed && tx.badOf(entity).has(owed.hash)) return
  tx.state = withDamage(tx.state)
  // The row still shows what the change wrote. It must be made again, because perhaps the relay does not have the
  // change either.
  if (tx.staleOf(entity) === undefined) tx.markStale(entity, { suspects: [], waiting: false })
  if (!owed) {
    if (hash !== undefined) tx.put(keys.change(tx.workspace, entity, hash), undefined)
    return
  }
  tx.markBad(entity, owed.hash, { code: "CHUNK_BAD", automerge: "", damaged: true })
  tx.pushLast(entity, owed.hash, true)
}

/**
 * Whether the disk has lost the record of a change. Call only when no verdict on the entity's changes is open: then all
 * of these changes were once in the document together with their deps. So a dep that is neither in `held` nor in `bad`
 * was lost.
 */
export function lacksRecord(
  held: ReadonlyMap<Hash, Held>,
  waiting: readonly Held[],
  bad: ReadonlyMap<Hash, unknown>,
): boolean {
  return waiting.some(({ change }) => change.deps.some((dep) => !held.has(dep) && !bad.has(dep)))
}

/**
 * Reads these entities again, and notes which of their changes are damaged. Call in a new step after a step has failed
 * that had found a damaged change: with the failed step, its note of the damage is undone. Without the note nobody
 * would ask the relay for the change, and an edit that fails because of the damage would fail for ever.
 */
export async function findDamage(documents: Documents, entities: readonly string[], tx: Transaction): Promise<void> {
  for (const entity of entities) {
    documents.drop(entity)
    await documents.saved.held(entity, tx)
    // Reading notes damaged records. That a record is missing shows only when a document is made.
    if (tx.staleOf(entity) === undefined) await documents.live(entity, tx)
  }
}
