/**
 * Moves changes from their entity to the rejected list. Other changes that were bad only because of the moved changes
 * are judged again.
 */
import type { Code } from "../../base/errors.ts"
import { hex } from "../../base/hash.ts"
import { causalOrder } from "../../document/history/graph.ts"
import type { Value } from "../../store/store.ts"
import type { Change } from "../../wire/chunk.ts"
import { encodeSaved, type Hash } from "../../wire/protocol.ts"
import { entryOf, type Held } from "../disk/change-record.ts"
import { readChanges } from "../disk/histories.ts"
import { keys } from "../disk/records.ts"
import type { Replica } from "../replica.ts"
import type { Transaction } from "../transaction.ts"

/**
 * Moves a change, and all changes that depend on it, from the entity to the rejected list. Removes the outbox records
 * of these changes. `code`: why the first change is set aside.
 */
export async function setAside(
  replica: Replica,
  tx: Transaction,
  entity: string,
  hash: Hash,
  code: Code,
): Promise<void> {
  const held = await replica.documents.saved.held(entity, tx)
  const at = replica.clock.now()
  for (const gone of descendants(held, hash)) {
    const owed = tx.owed(entity, gone)
    if (owed !== undefined) tx.removeOwed(owed)
    const there = held.get(gone)
    // A change that is marked as bad is not in `held`. It is copied to the rejected list, and its own record stays.
    const entry = there ? encodeSaved(entryOf(entity, there)) : await recordOf(replica, entity, gone)
    if (entry === undefined) continue
    tx.reject(entity, gone, { code: gone === hash ? code : "DEPS_UNKNOWN", at, entry: hex(entry as Uint8Array) })
    if (there) tx.drop(entity, gone)
  }
  await replica.documents.saved.takeDroppedOut(entity, tx)
  judgeRivals(tx, entity)
  replica.freshActor()
  tx.touch(entity)
  tx.arrive(entity)
}

/** Returns the record of a change; for a change in a page, makes one. Undefined when the disk lacks the change. */
async function recordOf({ store, id }: Replica, entity: string, hash: Hash): Promise<Value | undefined> {
  const paged = (await readChanges(store, id, [{ entity, hash }])).get(hash)
  return paged ? encodeSaved(entryOf(entity, paged)) : store.get(keys.change(id, entity, hash))
}

/**
 * Withdraws the verdict on changes that were bad because the entity had another change with their (actor, seq), or
 * another genesis. So they are judged again. Call when changes have left the entity, because the other change may be
 * one of them.
 */
function judgeRivals(tx: Transaction, entity: string): void {
  const rivals: Hash[] = []
  for (const [hash, { code }] of tx.badOf(entity)) {
    if (code === "COLLECTION_MISMATCH" || code === "SEQ_TAKEN") rivals.push(hash)
  }
  if (rivals.length === 0) return
  for (const hash of rivals) tx.markBad(entity, hash, undefined)
  const mark = tx.staleOf(entity) ?? { suspects: [] }
  tx.markStale(entity, { ...mark, suspects: [...mark.suspects, ...rivals], waiting: false })
}

/** Returns the hash of a change, and of all changes in `held` that depend on it. */
function descendants(held: ReadonlyMap<Hash, Held>, hash: Hash): Set<Hash> {
  const gone = new Set([hash])
  for (const change of causalOrder([...held.values()].map((h) => h.change))) {
    if (change.deps.some((dep) => gone.has(dep))) gone.add(change.hash)
  }
  return gone
}

/** Reads the changes of an entity that are not bad, by hash. */
export async function changesOf(replica: Replica, entity: string, tx: Transaction): Promise<Map<Hash, Change>> {
  const held = await replica.documents.saved.held(entity, tx)
  return new Map([...held].map(([hash, { change }]) => [hash, change]))
}
