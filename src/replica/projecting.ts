/** The rows that a transaction makes: each touched entity is projected once, at the end of its group. */
import { HeadwaterError } from "../base/errors.ts"
import { project } from "../document/projection.ts"
import { type Documents, markWaiting } from "./documents.ts"
import type { Defs } from "./known.ts"
import type { Live } from "./live.ts"
import type { StoredRow } from "./records.ts"
import type { NewRows } from "./rows.ts"
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
      rows.set(entity, { collection, row: live && storedRow(live, defs) })
      if (live !== undefined && (live.waiting.length > 0 || mark !== undefined)) markWaiting(tx, entity, live.waiting)
    } catch (error) {
      leaveOut(entity, tx, error)
    }
  }
  return rows
}

/**
 * An entity that cannot be shown must not hold up the others, nor what else the group writes: its old row stays until
 * something of it changes. Nothing is known of it when the disk or WebAssembly is what fails.
 */
export function leaveOut(entity: string, tx: Transaction, error: unknown): void {
  if (!(error instanceof HeadwaterError) || error.code !== "CHUNK_BAD") throw error
  const mark = tx.staleOf(entity) ?? { suspects: [] }
  tx.untouch(entity)
  tx.markStale(entity, { ...mark, waiting: true })
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
