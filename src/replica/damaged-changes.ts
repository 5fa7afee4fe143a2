/**
 * Records of changes that the disk has damaged or lost. A genesis and a text's container are made again from their names;
 * the relay is asked for other changes.
 */
import { genesisOf, textContainer } from "../document/derived-changes.ts"
import { isText } from "../schema/schema.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"
import { withDamage } from "./disk/records.ts"
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
 * Notes changes that the disk has damaged or lost: a heal asks the relay for them. `hash`: the change, if it is known
 * which one it is. If it is still in the outbox, the relay may have it all the same, because the ack may have been lost.
 * Until the relay gives the change back, it is marked bad, and so reported as lost.
 */
export function noteDamage(entity: string, hash: Hash | undefined, tx: Transaction): void {
  tx.touchDocument(entity) // the document lacks the change: if this note is undone, it must be hydrated again
  const owed = hash === undefined ? undefined : tx.owed(entity, hash)
  if (owed && tx.badOf(entity).has(owed.hash)) return
  tx.state = withDamage(tx.state)
  // The row has what the change wrote. If the relay does not have the change either, it would have it for ever.
  if (tx.staleOf(entity) === undefined) tx.markStale(entity, { suspects: [], waiting: false })
  if (!owed) return
  tx.markBad(entity, owed.hash, { code: "CHUNK_BAD", automerge: "", damaged: true })
  tx.pushLast(entity, owed.hash, true)
}

/**
 * Whether the disk has lost the record of a change. Only missing deps show it. If no verdict is open, all these changes
 * have been in the document once, together with everything that they depend on, so no dep may be missing.
 */
export function lacksRecord(
  held: ReadonlyMap<Hash, Held>,
  waiting: readonly Held[],
  bad: ReadonlyMap<Hash, unknown>,
): boolean {
  return waiting.some(({ change }) => change.deps.some((dep) => !held.has(dep) && !bad.has(dep)))
}

/**
 * Reads these entities again, and notes which of their changes are damaged. Call in a step of its own after a step has
 * failed that had found a damaged change, because its note is undone. Otherwise an edit that fails because of the damage
 * would fail for ever: nobody would ask the relay for the change.
 */
export async function findDamage(documents: Documents, entities: readonly string[], tx: Transaction): Promise<void> {
  for (const entity of entities) {
    documents.drop(entity)
    await documents.live(entity, tx)
  }
}
