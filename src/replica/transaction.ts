/**
 * A transaction has everything that one group of steps is about to commit: the writes for the disk, and the same
 * records as they will be in memory once the writes are on the disk.
 *
 * Steps read through the transaction: they see the records in memory (`Known`), with the changes that their group has
 * made so far. Nothing outside the replica sees these changes before the commit. Each step has a savepoint: when the
 * step throws, everything that it did here is undone, and the other steps of its group are committed as if it had never
 * run.
 */

import type { Value, Write } from "../store/store.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { encodeSaved } from "../wire/protocol.ts"
import { entryOf, type Held } from "./disk/change-record.ts"
import { writeJson } from "./disk/checked-json.ts"
import type { OutboxChanges } from "./disk/outbox.ts"
import type { Plan } from "./disk/paged-records.ts"
import {
  type BadRecord,
  keys,
  type Owed,
  type RejectedChange,
  type RejectedRecord,
  type StaleRecord,
  type State,
  type StoredRow,
} from "./disk/records.ts"

type ByHash<T> = ReadonlyMap<string, ReadonlyMap<Hash, T>>

/**
 * `pushLast` adds this number to the `startOp` of an outbox record, so that the change is pushed after all other
 * changes of its entity. The number is larger than the counter of any operation, as `readChange` checks.
 */
const BEHIND_ALL = 2 ** 31

/** The records in memory (`Known`). A transaction reads from them everything that its group has not changed. */
export interface Below {
  readonly state: State
  readonly stale: ReadonlyMap<string, StaleRecord>
  readonly bad: ByHash<BadRecord>
  readonly rejected: ByHash<RejectedRecord>
  readonly outbox: { get(entity: string, hash: Hash): Owed | undefined }
  readonly rows: { collectionOf(entity: string): string | undefined }
}

export class Transaction {
  readonly workspace: string
  readonly writes: Write[] = []
  /** Entities whose row is made again at the end of the group. */
  readonly touched = new Set<string>()
  /** Changes that this group adds, by entity. */
  readonly held = new Map<string, Map<Hash, Held>>()
  /**
   * The rows that this group has made without a document, by entity. When the group changes the entity once more, the
   * row is removed from here.
   */
  readonly readyRows = new Map<string, { readonly collection: string; readonly row: StoredRow }>()
  /** Hashes of the changes that this group removes, by entity. */
  readonly dropped = new Map<string, Set<Hash>>()
  /**
   * Entities of which this replica had no change before this group. They came from the relay, or were created here
   * without a document.
   */
  readonly newEntities = new Set<string>()
  /**
   * By hash, the changes that this group has made on this device. `principal`: the principal that had connected last
   * when the change was made. It is noted here, because another principal may connect in the middle of the group.
   */
  readonly minted = new Map<
    Hash,
    { readonly entity: string; readonly change: Change; readonly principal: string | null }
  >()
  /** New stale marks, by entity; undefined for a mark that is removed. */
  readonly stale = new Map<string, StaleRecord | undefined>()
  /** New bad verdicts, by entity and hash; undefined for a verdict that is withdrawn. */
  readonly bad = new Map<string, Map<Hash, BadRecord | undefined>>()
  readonly rejected = new Map<string, Map<Hash, RejectedRecord | undefined>>()
  /**
   * Outbox records that this group adds or removes, by hash. If a group does both to a record, only the last action
   * counts.
   */
  readonly outbox: OutboxChanges = new Map()
  readonly #below: Below
  #state: State
  /** Entities of which this group has made changes on this device. */
  readonly #written = new Set<string>()
  /** Entities that this group has changed because of entries, refusals or verdicts. */
  readonly #arrived = new Set<string>()
  /** Functions to call when the commit is on the disk, before the replica calls its listeners. */
  readonly #committed: (() => void)[] = []
  /**
   * Entities whose live document contains changes that this group has not committed yet. If the step that made these
   * changes, or the group, fails, the documents are dropped.
   */
  readonly #documents: string[] = []
  /** Functions that undo each change to the maps, the sets and the state above, oldest first. */
  readonly #undo: (() => void)[] = []

  constructor(workspace: string, below: Below) {
    this.workspace = workspace
    this.#below = below
    this.#state = below.state
  }

  // ── savepoints ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sets a savepoint. Returns a function that undoes everything since the savepoint, and that returns the entities
   * whose live document the caller must drop.
   */
  savepoint(): () => readonly string[] {
    const undo = this.#undo.length
    const writes = this.writes.length
    const documents = this.#documents.length
    const committed = this.#committed.length
    return () => {
      while (this.#undo.length > undo) this.#undo.pop()?.()
      this.writes.length = writes
      this.#committed.length = committed
      return this.#documents.splice(documents)
    }
  }

  /** Call before the live document of an entity begins to differ from what is saved. */
  touchDocument(entity: string): void {
    this.#documents.push(entity)
  }

  get documents(): readonly string[] {
    return this.#documents
  }

  /** Adds writes, and a function that is called once the writes are on the disk. */
  add({ writes, done }: Plan): void {
    for (const write of writes) this.writes.push(write)
    this.#committed.push(done)
  }

  committed(): void {
    for (const done of this.#committed) done()
  }

  // ── what a step reads ─────────────────────────────────────────────────────────────────────────────────────────────

  get state(): State {
    return this.#state
  }

  set state(state: State) {
    const before = this.#state
    this.#undo.push(() => {
      this.#state = before
    })
    this.#state = state
  }

  get stateChanged(): boolean {
    return this.#state !== this.#below.state
  }

  staleOf(entity: string): StaleRecord | undefined {
    return this.stale.has(entity) ? this.stale.get(entity) : this.#below.stale.get(entity)
  }

  /** The verdicts on the bad changes of an entity, by hash. */
  badOf(entity: string): ReadonlyMap<Hash, BadRecord> {
    return layered(this.#below.bad.get(entity), this.bad.get(entity))
  }

  /** The changes of an entity that are on the rejected list, by hash. */
  rejectedOf(entity: string): ReadonlyMap<Hash, RejectedRecord> {
    return layered(this.#below.rejected.get(entity), this.rejected.get(entity))
  }

  isRejected(entity: string, hash: Hash): boolean {
    const here = this.rejected.get(entity)
    return here?.has(hash) ? here.get(hash) !== undefined : this.#below.rejected.get(entity)?.has(hash) === true
  }

  /** The outbox record of a change; undefined when there is none. */
  owed(entity: string, hash: Hash): Owed | undefined {
    const here = this.outbox.get(hash)
    if (here !== undefined) return here.removed ? undefined : here.owed
    return this.#below.outbox.get(entity, hash)
  }

  /** Returns the records that the outbox will have after this commit. `before`: the records that the outbox has now. */
  allOwed(before: Iterable<Owed>): Owed[] {
    const all = new Map<Hash, Owed>()
    for (const owed of before) all.set(owed.hash, owed)
    for (const [hash, { owed, removed }] of this.outbox) {
      if (removed) all.delete(hash)
      else all.set(hash, owed)
    }
    return [...all.values()]
  }

  /** Whether this replica has a row, a mark or a bad change of the entity, or this group has added a change of it. */
  exists(entity: string): boolean {
    const { rows, stale, bad } = this.#below
    return rows.collectionOf(entity) !== undefined || this.held.has(entity) || stale.has(entity) || bad.has(entity)
  }

  /**
   * Returns the origin of a row's change, for subscribers. `here`: this group has changed the entity only by changes
   * made on this device.
   */
  from(entity: string): "here" | "relay" {
    return this.#written.has(entity) && !this.#arrived.has(entity) ? "here" : "relay"
  }

  // ── what a step does ──────────────────────────────────────────────────────────────────────────────────────────────

  put(key: Write[0], value: Value | undefined): void {
    this.writes.push([key, value])
  }

  /** Writes a record as JSON, or removes the record under `key` if `record` is undefined. */
  #putJson(key: Write[0], record: object | undefined): void {
    this.put(key, record && writeJson(key, record))
  }

  /**
   * Saves a change with this commit. If the change is marked as bad because the disk has damaged its record, withdraws
   * that mark.
   */
  hold(entity: string, held: Held): void {
    const { change } = held
    this.#forgetRow(entity)
    if (this.badOf(entity).get(change.hash)?.damaged) this.markBad(entity, change.hash, undefined)
    this.put(keys.change(this.workspace, entity, change.hash), encodeSaved(entryOf(entity, held)))
    this.#set(
      this.#inner(this.held, entity, () => new Map()),
      change.hash,
      held,
    )
    const dropped = this.dropped.get(entity)
    if (dropped?.has(change.hash)) this.#remove(dropped, change.hash)
  }

  /**
   * Adds a change that was made on this device in this session. A derived change has the same hash each time it is
   * made, so it may be on the rejected list already. Then it is removed from the list. The caller puts it into the
   * outbox (`owe`).
   */
  mint(entity: string, held: Held, principal = this.state.principal): void {
    this.hold(entity, held)
    if (this.isRejected(entity, held.change.hash)) this.reject(entity, held.change.hash, undefined)
    this.#set(this.minted, held.change.hash, { entity, change: held.change, principal })
    this.#add(this.touched, entity)
    this.#add(this.#written, entity)
  }

  /** Call after adding all changes of a new entity. `row`: the same row as its document would give. */
  createRow(collection: string, row: StoredRow): void {
    this.addRow(collection, row)
    this.#add(this.newEntities, row.id)
  }

  /** Call after adding everything else about a touched entity. `row`: the same row as its document would give. */
  addRow(collection: string, row: StoredRow): void {
    this.#set(this.readyRows, row.id, { collection, row })
  }

  #forgetRow(entity: string): void {
    if (this.readyRows.has(entity)) this.#delete(this.readyRows, entity)
  }

  /** Removes the loose record of a change with this commit. `takeDroppedOut` removes the change from pages. */
  drop(entity: string, hash: Hash): void {
    this.#forgetRow(entity)
    this.put(keys.change(this.workspace, entity, hash), undefined)
    const held = this.held.get(entity)
    if (held?.has(hash)) this.#delete(held, hash)
    this.#add(
      this.#inner(this.dropped, entity, () => new Set()),
      hash,
    )
  }

  /** Notes that the row of an entity must be made again at the end of the group. */
  touch(entity: string): void {
    this.#forgetRow(entity)
    this.#add(this.touched, entity)
  }

  untouch(entity: string): void {
    if (this.touched.has(entity)) this.#remove(this.touched, entity)
  }

  /** Call when an entry, a refusal or a verdict changes the entity in this group. */
  arrive(entity: string): void {
    this.#add(this.#arrived, entity)
  }

  /** Adds a change that came from the relay. */
  receive(entity: string, held: Held): void {
    if (!this.exists(entity)) this.#add(this.newEntities, entity)
    this.hold(entity, held)
  }

  owe(owed: Owed): void {
    this.#set(this.outbox, owed.hash, { owed, removed: false })
  }

  /**
   * Moves an outbox record behind all others of its entity (`last`), or back to its place. Call with `last` for a
   * change that perhaps can never be pushed, because its record is damaged or it waits for missing changes. Other
   * changes of the entity, perhaps of another principal, must not wait behind it. A creation stays first, because
   * everything depends on it.
   */
  pushLast(entity: string, hash: Hash, last: boolean): void {
    const owed = this.owed(entity, hash)
    if (owed === undefined || owed.startOp === 1) return
    const startOp = (owed.startOp % BEHIND_ALL) + (last ? BEHIND_ALL : 0)
    if (startOp !== owed.startOp) this.owe({ ...owed, startOp })
  }

  /** Removes an outbox record, because the relay has stored the change or because the change was set aside. */
  removeOwed(owed: Owed): void {
    this.#set(this.outbox, owed.hash, { owed, removed: true })
  }

  markStale(entity: string, record: StaleRecord | undefined): void {
    this.#forgetRow(entity)
    this.#putJson(keys.stale(this.workspace, entity), record)
    this.#set(this.stale, entity, record)
  }

  /** Marks a change as bad, or withdraws the mark if `record` is undefined. */
  markBad(entity: string, hash: Hash, record: BadRecord | undefined): void {
    this.#forgetRow(entity)
    this.#putJson(keys.bad(this.workspace, entity, hash), record)
    this.#set(
      this.#inner(this.bad, entity, () => new Map()),
      hash,
      record,
    )
  }

  /**
   * Puts a change on the rejected list, or removes it from the list if `record` is undefined. Only the disk gets the
   * bytes of the change; the list in memory does not have them.
   */
  reject(entity: string, hash: Hash, record: RejectedChange | undefined): void {
    this.#putJson(keys.rejected(this.workspace, entity, hash), record)
    this.#set(
      this.#inner(this.rejected, entity, () => new Map()),
      hash,
      record && { code: record.code, at: record.at },
    )
  }

  // ── changes that can be undone ────────────────────────────────────────────────────────────────────────────────────

  #set<K, V>(map: Map<K, V>, key: K, value: V): void {
    const before = map.get(key)
    const had = before !== undefined || map.has(key)
    this.#undo.push(() => (had ? map.set(key, before as V) : map.delete(key)))
    map.set(key, value)
  }

  #delete<K, V>(map: Map<K, V>, key: K): void {
    const before = map.get(key) as V
    this.#undo.push(() => map.set(key, before))
    map.delete(key)
  }

  #add<T>(set: Set<T>, value: T): void {
    if (set.has(value)) return
    this.#undo.push(() => set.delete(value))
    set.add(value)
  }

  #remove<T>(set: Set<T>, value: T): void {
    this.#undo.push(() => set.add(value))
    set.delete(value)
  }

  /** The inner map or set of an entity, made when there is none. */
  #inner<T>(map: Map<string, T>, entity: string, make: () => T): T {
    let inner = map.get(entity)
    if (inner === undefined) this.#set(map, entity, (inner = make()))
    return inner
  }
}

const NONE: ReadonlyMap<Hash, never> = new Map<Hash, never>()

/** Combines two layers: a value in `above` replaces the value in `below`, and an undefined value removes it. */
function layered<T>(
  below: ReadonlyMap<Hash, T> | undefined,
  above: ReadonlyMap<Hash, T | undefined> | undefined,
): ReadonlyMap<Hash, T> {
  if (above === undefined) return below ?? NONE
  const both = new Map(below)
  for (const [hash, value] of above) {
    if (value === undefined) both.delete(hash)
    else both.set(hash, value)
  }
  return both
}
