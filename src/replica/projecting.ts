/** The rows that a transaction makes: each touched entity is projected once, at the end of its group. */
import { HeadwaterError } from "../base/errors.ts"
import { project } from "../document/projection.ts"
import type { Defs } from "./disk/known.ts"
import type { StoredRow } from "./disk/records.ts"
import type { NewRows } from "./disk/rows.ts"
import { type Documents, markWaiting } from "./documents.ts"
import type { Live } from "./live.ts"
import type { Transaction } from "./transaction.ts"

/** `collectionOf` says in which collection an entity is shown now. */
export async function projectTouched(
  documents: Documents,
  defs: Defs,
  collectionOf: (entity: string) => string | undefined,
  tx: Transaction,
): Promise<NewRows> {
  const rows = new Map<string, { collection: string; row: StoredRow | undefined }>()
  for (const entity of tx.touched) {
    try {
      const live = await documents.live(entity, tx)
      const mark = tx.staleOf(entity)
      const collection = live?.entity.collection ?? collectionOf(entity)
      if (collection === undefined) continue
      if (live === undefined && !(await documents.isGone(entity, tx))) continue // its row stays as it is
      rows.set(entity, { collection, row: live && storedRow(live, defs) })
      if (live !== undefined && (live.waiting.length > 0 || mark !== undefined)) markWaiting(tx, entity, live.waiting)
    } catch (error) {
      leaveOut(entity, tx, error)
    }
  }
  return rows
}

/**
 * An entity of which no document can be made now must not hold up the others, nor what else the group writes: its old row
 * and its mark stay, and it is tried again. Nothing is known of it when the disk fails or WebAssembly is not there.
 */
export function leaveOut(entity: string, tx: Transaction, error: unknown): void {
  if (!(error instanceof HeadwaterError) || error.code !== "DOCUMENT_FAILED") throw error
  tx.untouch(entity)
  if (tx.staleOf(entity) === undefined) tx.markStale(entity, { suspects: [], waiting: false })
}

function storedRow(live: Live, defs: Defs): StoredRow {
  const { createdIn, updatedIn, deletedIn } = live.entity.facts
  return {
    ...project(live.entity, defs.get(live.entity.collection)),
    $createdBy: live.by(createdIn),
    $updatedBy: live.by(updatedIn),
    ...(deletedIn !== undefined && { $deletedBy: live.by(deletedIn) }),
  }
}
