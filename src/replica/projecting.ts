/** Makes the rows of a transaction: each touched entity is projected once, at the end of its group. */
import { HeadwaterError } from "../base/errors.ts"
import { project } from "../document/projection.ts"
import type { Defs } from "./disk/known.ts"
import type { StoredRow } from "./disk/records.ts"
import type { NewRows } from "./disk/rows.ts"
import type { Live } from "./live-document.ts"
import { type Documents, markWaiting } from "./live-documents.ts"
import type { Transaction } from "./transaction.ts"

/** Projects every touched entity. `collectionOf` returns the collection in which an entity is shown now. */
export async function projectTouched(
  documents: Documents,
  defs: Defs,
  collectionOf: (entity: string) => string | undefined,
  tx: Transaction,
): Promise<NewRows> {
  const rows = new Map<string, { collection: string; row: StoredRow | undefined }>()
  for (const entity of tx.touched) {
    const created = tx.createdRows.get(entity)
    if (created !== undefined) {
      rows.set(entity, created)
      continue
    }
    try {
      const live = await documents.live(entity, tx)
      const mark = tx.staleOf(entity)
      const collection = live?.entity.collection ?? collectionOf(entity)
      if (collection === undefined) continue
      // the changes of the entity make no document now, and its row stays
      if (live === undefined && !(await documents.isGone(entity, tx))) continue
      rows.set(entity, { collection, row: live && storedRow(live, defs) })
      if (live !== undefined && (live.waiting.length > 0 || mark !== undefined)) markWaiting(tx, entity, live.waiting)
    } catch (error) {
      leaveOut(entity, tx, error)
    }
  }
  return rows
}

/**
 * Leaves out an entity whose document cannot be made now (`DOCUMENT_FAILED`), so that the rest of the group is still
 * committed. Its old row stays, and its mark says that the row must be made again. Throws every other error: when the
 * disk fails or WebAssembly is missing, nothing is known of the entity.
 */
export function leaveOut(entity: string, tx: Transaction, error: unknown): void {
  if (!(error instanceof HeadwaterError) || error.code !== "DOCUMENT_FAILED") throw error
  tx.untouch(entity)
  const mark = tx.staleOf(entity) ?? { suspects: [], waiting: true }
  if (mark.waiting) tx.markStale(entity, { ...mark, waiting: false })
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
