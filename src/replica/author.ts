/**
 * Local writes: create, update, delete and restore an entity. Each function runs inside a step, and one step may call
 * several of them. The commit of the step's group saves the changes and their outbox records, and shows the rows.
 */
import { HeadwaterError } from "../base/errors.ts"
import { encodeCreation } from "../document/encoder/creation.ts"
import { deletion, plannedEdit, RESTORATION } from "../document/encoder/edit.ts"
import { Entity } from "../document/entity.ts"
import { projectCreated } from "../document/projection.ts"
import { type FieldWrite, NO_CELLS, planned } from "../document/writing.ts"
import type { Edited } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { owedOf } from "./authorship.ts"
import { type Closed, editClosed, openClosed } from "./closed-edit.ts"
import type { Held } from "./disk/change-record.ts"
import { Live } from "./live-document.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Creates an entity. Throws `ENTITY_EXISTS`, `READ_ONLY`, and the codes of `Entity.write`. */
export async function create(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  id: string,
  content: Edited,
): Promise<void> {
  mustWrite(tx)
  if (tx.exists(id)) throw new HeadwaterError("ENTITY_EXISTS", `there is an entity ${id} already`, { entity: id })
  if (replica.sizes.encodeWrites && createEncoded(replica, tx, def, id, content)) return
  await replica.documents.load()
  const live = new Live(made(id, () => Entity.create(id, def.name, replica.actor)))
  tx.touchDocument(id)
  replica.documents.add(live)
  const { entity } = live
  mint(replica, tx, live, [entity.genesis], fieldsOf(content))
  mint(
    replica,
    tx,
    live,
    made(id, () => entity.write(def, content.changes, replica.seconds())),
    fieldsOf(content),
  )
  if (entity.facts.createdIn === undefined)
    mint(
      replica,
      tx,
      live,
      made(id, () => entity.sign(replica.seconds())),
      fieldsOf(content),
    )
}

/**
 * Creates an entity without a document: encodes its changes, and makes its row from the written fields. Returns false,
 * with nothing done, when only Automerge can write these fields.
 */
function createEncoded(replica: Replica, tx: Transaction, def: AnyDef, id: string, content: Edited): boolean {
  const writes = planned(def, content.changes, NO_CELLS)
  const time = replica.seconds()
  const changes = encodeCreation(id, def.name, replica.actor, writes, time)
  if (changes === undefined) return false
  save(tx, id, def.name, changes, fieldsOf(content))
  const { principal } = tx.state
  const by = { $createdBy: principal, $updatedBy: principal }
  tx.createRow(def.name, Object.assign(projectCreated(id, writes, time, def), by))
  return true
}

/**
 * Changes an entity. `edit` gets the fields as they are when the step runs. Throws `ENTITY_NOT_FOUND`,
 * `ENTITY_DELETED`, `DOCUMENT_FAILED`, `READ_ONLY`, and the codes of `Entity.write`.
 */
export async function update(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  id: string,
  edit: (before: Record<string, unknown>) => Edited,
): Promise<void> {
  mustWrite(tx)
  const { closed, held } = await openClosed(replica, tx, def, id)
  const before = closed ?? (await writable(replica, tx, def, id, held)).entity
  if (before.deleted) throw new HeadwaterError("ENTITY_DELETED", `${id} is deleted; restore it first`, { entity: id })
  const content = edit(made(id, () => before.whole(def)))
  const fields = fieldsOf(content)
  const writes = closed && plannedEdit(closed.reader, def, content.changes)
  if (closed && writes && write(replica, tx, def, closed, writes, fields)) return
  const live = await writable(replica, tx, def, id, held)
  tx.touchDocument(id)
  mint(
    replica,
    tx,
    live,
    made(id, () => live.entity.write(def, content.changes, replica.seconds())),
    fields,
  )
}

/** What is saved with the changes of an edit. */
interface EditFacts {
  readonly fields: readonly string[]
  /** The principal whose edit it is; null if none has connected yet. */
  readonly principal: string | null
}

/**
 * Saves changes that an open document has made, whose entity is `shown`. Skips those that are saved already: the commit before may have reached
 * the disk in spite of its error. Throws `ENTITY_NOT_FOUND`, `DOCUMENT_FAILED`, `READ_ONLY`, and `CHUNK_BAD` when a change
 * depends on one that this replica does not have any more.
 */
export async function saveMade(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  shown: Entity,
  changes: readonly Change[],
  facts: EditFacts,
): Promise<void> {
  const { id } = shown
  const live = await writable(replica, tx, def, id)
  const fresh = changes.filter(({ hash }) => !live.changes.has(hash))
  if (fresh.length === 0) return
  mustWrite(tx)
  tx.touchDocument(id)
  live.entity.adopt(fresh, shown, def)
  mint(replica, tx, live, fresh, facts.fields, facts.principal)
}

/** Deletes an entity; writes nothing when it is deleted already. Throws `ENTITY_NOT_FOUND`, `READ_ONLY`. */
export async function remove(replica: Replica, tx: Transaction, def: AnyDef, id: string): Promise<void> {
  mustWrite(tx)
  const { closed, held } = await openClosed(replica, tx, def, id)
  if (closed?.deleted) return
  if (closed && write(replica, tx, def, closed, [deletion(closed.reader.history.heads)])) return
  const live = await writable(replica, tx, def, id, held)
  tx.touchDocument(id)
  if (!live.entity.deleted)
    mint(
      replica,
      tx,
      live,
      made(id, () => live.entity.remove(replica.seconds())),
      [],
    )
}

/** Brings a deleted entity back. Throws `ENTITY_NOT_FOUND`, `READ_ONLY`. */
export async function restore(replica: Replica, tx: Transaction, def: AnyDef, id: string): Promise<void> {
  mustWrite(tx)
  const { closed, held } = await openClosed(replica, tx, def, id)
  if (closed && !closed.deleted) return
  if (closed && write(replica, tx, def, closed, [RESTORATION])) return
  const live = await writable(replica, tx, def, id, held)
  tx.touchDocument(id)
  if (live.entity.deleted)
    mint(
      replica,
      tx,
      live,
      made(id, () => live.entity.restore(replica.seconds())),
      [],
    )
}

/**
 * Calls `make`, a part of an edit. Throws `DOCUMENT_FAILED` when Automerge fails in it: that is a fault of the machine,
 * such as a lack of memory, so the app may try the edit again.
 */
function made<T>(entity: string, make: () => T): T {
  try {
    return make()
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause
    throw new HeadwaterError("DOCUMENT_FAILED", "the edit could not be made; nothing of it is saved", { entity, cause })
  }
}

export function mustWrite({ state }: Pick<Transaction, "state">): void {
  if (state.access === "read") throw new HeadwaterError("READ_ONLY", "this principal may only read this workspace")
}

/**
 * Returns the live document of an entity for an edit. Throws `ENTITY_NOT_FOUND`. Throws `DOCUMENT_FAILED` when the
 * entity has a row, but no document can be made because the disk has damaged its changes. `held`: the entity's changes,
 * if the caller has read them.
 */
export async function writable(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  id: string,
  held?: ReadonlyMap<Hash, Held>,
): Promise<Live> {
  const live = tx.exists(id) ? await replica.documents.live(id, tx, held) : undefined
  if (
    live === undefined &&
    replica.rows.get(def.name, id) !== undefined &&
    !(await replica.documents.saved.isGone(id, tx))
  ) {
    const message = "the disk has damaged this entity, and the relay is asked for it; try again later"
    throw new HeadwaterError("DOCUMENT_FAILED", message, { entity: id })
  }
  if (live === undefined || live.entity.collection !== def.name) {
    throw new HeadwaterError("ENTITY_NOT_FOUND", `no ${def.name} ${id}`, { entity: id })
  }
  replica.documents.edited(id)
  return live
}

/**
 * Writes to a closed entity through `editClosed`, and adds the change to the transaction and to the outbox. Returns
 * false, with nothing done, when only Automerge can do these writes.
 */
function write(
  replica: Replica,
  tx: Transaction,
  def: AnyDef,
  closed: Closed,
  writes: readonly FieldWrite[],
  fields: readonly string[] = [],
): boolean {
  const { id } = closed.reader
  const saveAll = (changes: readonly Change[]) => save(tx, id, def.name, changes, fields)
  return made(id, () => editClosed(replica, tx, def, closed, writes, saveAll))
}

/** Adds changes that a live document has made to the transaction and to the outbox. */
function mint(
  replica: Replica,
  tx: Transaction,
  live: Live,
  changes: readonly Change[],
  fields: readonly string[],
  principal = tx.state.principal,
): void {
  const { id: entity, collection } = live.entity
  const wasDamaged = changes.some(({ hash }) => tx.badOf(entity).get(hash)?.damaged)
  for (const held of save(tx, entity, collection, changes, fields, principal)) live.add(held)
  if (wasDamaged) admitWaiting(replica, tx, live)
}

/** Adds changes that were made on this device to the transaction and to the outbox. */
function save(
  tx: Transaction,
  entity: string,
  collection: string,
  changes: readonly Change[],
  fields: readonly string[],
  principal = tx.state.principal,
): Held[] {
  return changes.map((change) => {
    const held = { change, collection, by: principal ?? undefined }
    tx.mint(entity, held, principal)
    tx.owe({ ...owedOf(entity, change), how: "own", principal, fields })
    return held
  })
}

/**
 * Call when the disk had damaged the record of a change, and an edit has now made the same change again. Changes that
 * waited for this change can be applied now. This function marks them as suspects and drops the document. At the end of
 * the group, when the row is made, the document is hydrated with these changes.
 */
function admitWaiting(replica: Replica, tx: Transaction, { entity: { id }, waiting }: Live): void {
  const mark = tx.staleOf(id)
  const suspects = new Set([...(mark?.suspects ?? []), ...waiting.map(({ change }) => change.hash)])
  tx.markStale(id, { ...mark, suspects: [...suspects], waiting: false })
  replica.documents.drop(id)
}

/** The fields that an edit touches, sorted. */
export function fieldsOf({ changes: { set, remove, text, splices } }: Edited): readonly string[] {
  return [...new Set([...set.keys(), ...remove, ...text.keys(), ...splices.map(({ key }) => key)])].sort()
}
