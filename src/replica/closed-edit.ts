/**
 * Edits a closed entity, which is an entity without a live document: reads its changes and encodes the edit. So setting
 * a field needs no WebAssembly, and editing many entities in turn makes no documents.
 */
import { encodeEdit } from "../document/encoder/edit.ts"
import { project } from "../document/projection.ts"
import { accepted, readSound } from "../document/reader/read-row.ts"
import type { Reader } from "../document/reader/reader.ts"
import type { FieldWrite } from "../document/writing.ts"
import type { Fields } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"
import { storedRow } from "./projecting.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/**
 * The changes of a closed entity are read for each edit. An entity with more changes than this gets a document instead,
 * because reading so many changes takes longer than an edit in a document.
 */
const CHANGES_AT_MOST = 64
/**
 * After this many changes under the session actor, an entity gets a document. Making the document takes as much time as
 * about four edits in it save.
 */
const EDITS_AT_MOST = 5

/** An entity that has no live document and was read from its changes. */
export interface Closed {
  readonly reader: Reader
  readonly held: ReadonlyMap<Hash, Held>
  readonly deleted: boolean
  /** Returns all fields, including long ones. */
  whole(): Readonly<Fields>
}

/**
 * Reads a closed entity. `closed` is undefined when the entity has a live document or needs one. `held` has the
 * entity's changes if they were read.
 */
export async function openClosed(
  { authorship, documents, sizes }: Replica,
  tx: Transaction,
  def: AnyDef,
  id: string,
): Promise<{ readonly held?: ReadonlyMap<Hash, Held>; readonly closed?: Closed }> {
  // A stale entity needs a document, because the verdict on one of its changes may be open. `isSound` is called before
  // and after the changes are read, because reading a damaged change marks the entity as stale.
  const isSound = () => tx.staleOf(id) === undefined
  if (!sizes.encodeWrites || documents.has(id) || !tx.exists(id) || !isSound()) return {}
  const held = await documents.saved.held(id, tx)
  if (!isSound() || held.size > CHANGES_AT_MOST) return { held }
  const changes = Array.from(held.values(), ({ change }) => change)
  const reader = readSound(id, changes)
  if (reader?.collection !== def.name || reader.history.seqOf(authorship.actor) >= EDITS_AT_MOST) return { held }
  const fields = accepted(() => reader.whole(def))
  if (fields === undefined) return { held }
  return { held, closed: { reader, held, deleted: reader.facts.deletedIn !== undefined, whole: () => fields } }
}

/**
 * Encodes these writes, calls `save` with the new changes, and adds the row to the transaction. `save` adds the changes
 * to the transaction. Returns false, with nothing done, when only Automerge can do these writes. Throws `TOO_LARGE`.
 */
export function editClosed(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  { reader, held }: Closed,
  writes: readonly FieldWrite[],
  save: (changes: readonly Change[]) => readonly Held[],
): boolean {
  const { id, history } = reader
  const { authorship } = replica
  // If the disk has lost a change of this session, the next change under the same actor would get that change's seq.
  if (authorship.isLacking(id, history)) authorship.takeFreshActor()
  const changes = encodeEdit(reader, writes, authorship.actor, replica.seconds())
  if (changes === undefined) return false
  const saved = new Map(save(changes).map((made) => [made.change.hash, made]))
  // The row is made by reading the new changes, as every replica will read them. If the reader leaves one of them to
  // Automerge, the row is made from a document at the end of the group.
  const row = accepted(() => {
    for (const change of changes) {
      reader.read(change)
      history.add(change)
    }
    return project(reader, def)
  })
  if (row !== undefined && changes.length > 0) {
    tx.addRow(
      def.name,
      storedRow(row, reader.facts, (hash) => (saved.get(hash) ?? held.get(hash))?.by),
    )
  }
  return true
}
