/** Makes the rows of a transaction: each touched entity is projected once, at the end of its group. */
import { HeadwaterError } from "../base/errors.ts"
import type { Facts } from "../document/facts.ts"
import { type ProjectedRow, project } from "../document/projection.ts"
import { readRow } from "../document/reader/read-row.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Authorship } from "./authorship.ts"
import type { Held } from "./disk/change-record.ts"
import type { StoredRow } from "./disk/records.ts"
import type { Defs } from "./disk/records-in-memory.ts"
import type { NewRows } from "./disk/rows.ts"
import type { Live } from "./live-document.ts"
import { type Documents, markWaiting, noteVerdict } from "./live-documents.ts"
import type { Transaction } from "./transaction.ts"

/**
 * If an entity has more changes than this and a few more arrive, its changes are not read again to make its row. It
 * gets a document instead, because somebody is probably editing the entity: the cost of each further change then
 * depends on the change, not on the whole history.
 */
const READ_AGAIN = 64

/** The parts of a replica that are needed to make its rows. */
export interface Projecting {
  readonly documents: Documents
  readonly authorship: Authorship
  readonly defs: Defs
  /** Whether the row of a closed entity is read from its changes, if `readRow` can read them. */
  readonly readRows: boolean
}

/** Projects every touched entity. `collectionOf` returns the collection in which an entity has its present row. */
export async function projectTouched(
  projecting: Projecting,
  collectionOf: (entity: string) => string | undefined,
  tx: Transaction,
): Promise<NewRows> {
  const { documents, defs } = projecting
  const rows = new Map<string, { collection: string; row: StoredRow | undefined }>()
  for (const entity of tx.touched) {
    try {
      const held =
        documents.has(entity) || tx.readyRows.has(entity) ? undefined : await documents.saved.held(entity, tx)
      if (held !== undefined) readClosed(projecting, entity, held, tx)
      const ready = tx.readyRows.get(entity)
      if (ready !== undefined) {
        rows.set(entity, ready)
        continue
      }
      const live = await documents.live(entity, tx, held)
      const mark = tx.staleOf(entity)
      const collection = live?.entity.collection ?? collectionOf(entity)
      if (collection === undefined) continue
      // No document can be made from the entity's changes now, so its old row stays.
      if (live === undefined && !(await documents.saved.isGone(entity, tx))) continue
      rows.set(entity, { collection, row: live && rowOf(live, defs) })
      if (live !== undefined && (live.waiting.length > 0 || mark !== undefined)) markWaiting(tx, entity, live.waiting)
    } catch (error) {
      leaveOut(entity, tx, error)
    }
  }
  return rows
}

/**
 * Makes the row of a closed entity from its changes, without a document, and adds it to the transaction. Judges the
 * suspects, as `Documents.live` does. Returns false, with nothing done, when only Automerge can read these changes, or
 * when a document costs less. `held`: all changes of the entity that are not known to be bad.
 */
export function readClosed(
  { authorship, defs, readRows }: Projecting,
  entity: string,
  held: ReadonlyMap<Hash, Held>,
  tx: Transaction,
): boolean {
  if (!readRows) return false
  const mark = tx.staleOf(entity)
  const changes = [...held.values()].map(({ change }) => change)
  const added = mark?.suspects.length ?? 0
  if (changes.length > READ_AGAIN && added > 0 && 2 * added < changes.length) return false
  const read = readRow(entity, changes, new Set(mark?.suspects), (collection) => defs.get(collection))
  if (typeof read === "string") return false
  if (mark !== undefined) tx.arrive(entity)
  const waiting = noteVerdict(authorship, entity, read.verdict, held, tx)
  if (waiting.length > 0 || mark !== undefined) markWaiting(tx, entity, waiting)
  tx.touch(entity)
  tx.addRow(
    read.collection,
    storedRow(read.row, read.facts, (hash) => held.get(hash)?.by),
  )
  return true
}

/**
 * Leaves out an entity whose document cannot be made now (`DOCUMENT_FAILED`), so that the rest of the group is still
 * committed. Its old row stays, and its mark says that the row must be made again. Throws every other `error`, because
 * a failure of the disk, or of loading WebAssembly, is not a failure of this entity alone.
 */
export function leaveOut(entity: string, tx: Transaction, error: unknown): void {
  if (!(error instanceof HeadwaterError) || error.code !== "DOCUMENT_FAILED") throw error
  tx.untouch(entity)
  const mark = tx.staleOf(entity) ?? { suspects: [], waiting: true }
  if (mark.waiting) tx.markStale(entity, { ...mark, waiting: false })
}

function rowOf({ entity, by }: Live, defs: Defs): StoredRow {
  return storedRow(project(entity, defs.get(entity.collection)), entity.facts, by)
}

/**
 * Adds to a row the authors of the changes in which the entity was created, last updated and deleted. `by` returns the
 * author of a change (`Held.by`), if it is known.
 */
export function storedRow(row: ProjectedRow, facts: Facts, by: (hash: Hash) => string | undefined): StoredRow {
  const { createdIn, updatedIn, deletedIn } = facts
  const nameOf = (hash: Hash | undefined) => (hash && by(hash)) ?? null
  return {
    ...row,
    $createdBy: nameOf(createdIn),
    $updatedBy: nameOf(updatedIn),
    ...(deletedIn !== undefined && { $deletedBy: nameOf(deletedIn) }),
  }
}
