/**
 * The records of its disk that a replica has in memory: rows, outbox, stale marks, verdicts and the state record, but
 * no changes. The replica reads them when it opens and updates them with each commit. It reads those records again that
 * another writer, or a commit that seemed to fail, has changed on the disk.
 */

import type { Clock } from "../../base/env.ts"
import type { Sizes } from "../../base/replica-sizes.ts"
import type { AnyDef } from "../../schema/schema.ts"
import type { Expect, Key, Store, Write } from "../../store/store.ts"
import type { Hash } from "../../wire/protocol.ts"
import type { Transaction } from "../transaction.ts"
import { writeJson } from "./checked-json.ts"
import { journalWrites, type LastCommit, lastCommit, type Touched, touchedSince } from "./commit-journal.ts"
import { Outbox } from "./outbox.ts"
import {
  type BadRecord,
  emptyState,
  keys,
  type NoteDamaged,
  type RejectedChange,
  type RejectedRecord,
  readCache,
  readState,
  type StaleRecord,
  type State,
} from "./records.ts"
import { type NewRows, type RowDelta, Rows } from "./rows.ts"

export type Defs = ReadonlyMap<string, AnyDef>

/**
 * The stale marks, by entity. A mark says that the entity's row must be made again, or that some of its changes wait
 * for changes that have not arrived.
 */
export class StaleMarks extends Map<string, StaleRecord> {
  /**
   * How many marked entities have a row that must be made again. The other marked entities only wait for changes that
   * have not arrived.
   */
  toShow = 0

  override set(entity: string, mark: StaleRecord): this {
    this.#count(entity, -1)
    super.set(entity, mark)
    this.#count(entity, 1)
    return this
  }

  override delete(entity: string): boolean {
    this.#count(entity, -1)
    return super.delete(entity)
  }

  #count(entity: string, by: 1 | -1): void {
    if (this.get(entity)?.waiting === false) this.toShow += by
  }
}

/** A change that is set aside. */
export interface SetAside {
  readonly entity: string
  readonly record: BadRecord | RejectedRecord
  /** True: the relay refused the change for good. False: the change is bad, so no replica applies it. */
  readonly refused: boolean
}
type ByHash<T> = Map<string, Map<Hash, T>>

export interface Surroundings {
  /** The version of this app's projection of each collection. */
  readonly projections: State["projections"]
  readonly clock: Clock
  readonly sizes: Sizes
}

/** The last commit on the disk, and everything that was touched by commits which `Known` does not include. */
export interface Moved {
  readonly commit: LastCommit
  readonly touched: Touched
}

/**
 * One commit: writes for the store, the values that the store must hold before them, and a function to call once they
 * are on the disk.
 */
export interface Commit {
  readonly writes: readonly Write[]
  readonly expect: readonly Expect[]
  done(): Changed
}

export class Known {
  outbox: Outbox
  readonly stale = new StaleMarks()
  readonly bad: ByHash<BadRecord> = new Map()
  readonly rejected: ByHash<RejectedRecord> = new Map()
  readonly rows: Rows
  state: State
  /** Keys of the records that `read` has found damaged, and that are not made again yet (`mend-records.ts`). */
  readonly damaged: Key[] = []
  /** The last commit whose effects are in this object. */
  #commit: LastCommit
  /** True while the disk has no readable state record. The next commit writes one. */
  #stateUnsaved: boolean
  /** The entity of the change that was set aside last in this session; empty when no change was set aside. */
  #latestAside = ""
  readonly #workspace: string
  readonly #defs: Defs
  readonly #around: Surroundings

  private constructor(
    workspace: string,
    defs: Defs,
    commit: LastCommit,
    saved: State | undefined,
    around: Surroundings,
  ) {
    this.#workspace = workspace
    this.#defs = defs
    this.#around = around
    this.#commit = commit
    this.state = saved ?? emptyState(around.projections)
    this.#stateUnsaved = saved === undefined
    this.outbox = new Outbox(workspace, around.sizes)
    const joined = {
      pending: (entity: string) => this.outbox.pending(entity),
      stale: (entity: string) => this.stale.get(entity)?.waiting === false,
      firstPrincipal: () => this.state.firstPrincipal,
      now: () => this.seconds() * 1000,
    }
    this.rows = new Rows(workspace, defs, joined, around.sizes)
  }

  /**
   * Reads rows, outbox, marks, verdicts and state from the disk, but no changes. Throws `STORE_FORMAT`, `STORE_FAILED`.
   */
  static async read(store: Store, workspace: string, defs: Defs, around: Surroundings): Promise<Known> {
    // The number of the last commit is read first. A commit of another writer during the following reads has a later
    // number, so its changes are read again.
    const commit = await lastCommit(store, workspace)
    const damaged: Key[] = []
    const note = (key: Key) => {
      // If the key has other characters than printable ASCII, the disk has damaged the key. A store refuses such a key,
      // so the record cannot be removed.
      if (key.every((part) => /^[ -~]+$/.test(part))) damaged.push(key)
    }
    if (commit.isDamaged) note(keys.commit(workspace))
    const known = new Known(workspace, defs, commit, await readState(store, workspace, note), around)
    known.outbox = await Outbox.read(store, workspace, around.sizes, note)
    const each = async <T>(prefix: Key, add: (entity: string, hash: Hash, record: T) => void) => {
      for (const [key, value] of await store.list(prefix)) {
        const record = readCache<T>(value, key, note)
        if (record !== undefined) add(key[2] ?? "", key[3] ?? "", record)
      }
    }
    await each<StaleRecord>(keys.allStale(workspace), (entity, _, mark) => known.stale.set(entity, mark))
    await each<BadRecord>(keys.allBad(workspace), (entity, hash, record) => setIn(known.bad, entity, hash, record))
    await each<RejectedChange>(keys.allRejected(workspace), (entity, hash, record) =>
      setIn(known.rejected, entity, hash, withoutChange(record)),
    )
    // Without the state record it is unknown which version of the projection made the rows, so all rows are made again.
    if (damaged.some(([, kind]) => kind === "state")) known.state = { ...known.state, projections: {}, heal: true }
    // The records of a damaged page of the outbox are lost. In a heal the relay asks for the changes that it lacks.
    if (damaged.some(([, kind]) => kind === "outpage")) known.state = { ...known.state, heal: true }
    await known.rows.load(store, note) // last, because a shown row needs outbox, marks and state (`joined`)
    known.damaged.push(...damaged)
    return known
  }

  /**
   * The present time in s since 1970, by the relay's clock as far as it is known. New changes carry this time, and no
   * row shows a later time.
   */
  seconds(): number {
    return Math.max(1, Math.floor((this.#around.clock.now() + this.state.clockAheadMs) / 1000))
  }

  // ── a commit of this replica ──────────────────────────────────────────────────────────────────────────────────────

  /** Makes the commit that saves a transaction and its new rows; undefined when there is nothing to write. */
  commitOf(tx: Transaction, rows: NewRows): Commit | undefined {
    const outbox = this.outbox.plan(tx.outbox)
    const rowPlan = this.rows.plan(rows)
    const writes = [...tx.writes, ...outbox.writes, ...rowPlan.writes]
    if (tx.stateChanged || (this.#stateUnsaved && writes.length > 0)) {
      const key = keys.state(this.#workspace)
      writes.push([key, writeJson(key, tx.state)])
    }
    if (writes.length === 0) return undefined
    const n = this.#commit.n + 1
    const owed = [...tx.outbox.values()].map(({ owed }) => owed.entity)
    writes.push(...journalWrites(this.#workspace, n, { writes, owed }, this.#around.sizes))
    return {
      writes,
      expect: [[keys.commit(this.#workspace), this.#commit.value]],
      done: () => {
        this.#commit = { n, value: String(n), isDamaged: false }
        this.#stateUnsaved = false
        tx.committed()
        outbox.done()
        rowPlan.done()
        return this.#follow(tx, rows)
      },
    }
  }

  #follow(tx: Transaction, rows: NewRows): Changed {
    this.state = tx.state
    const joined = new Set<string>()
    for (const { owed } of tx.outbox.values()) joined.add(owed.entity)
    for (const [entity, mark] of tx.stale) {
      joined.add(entity)
      if (mark === undefined) this.stale.delete(entity)
      else this.stale.set(entity, mark)
    }
    for (const [entity, records] of tx.bad) this.#setAside(this.bad, entity, records)
    for (const [entity, records] of tx.rejected) this.#setAside(this.rejected, entity, records)
    const written = [rows, tx.held, tx.bad, tx.rejected].flatMap((map) => [...map.keys()])
    const changed = noChange(new Set([...joined, ...written]))
    for (const [id, { collection, row }] of rows) {
      this.rows.show(id, collection, row, (name) => deltaOf(changed[tx.from(id)], name))
    }
    for (const id of joined) {
      const collection = rows.has(id) ? undefined : this.rows.collectionOf(id)
      if (collection !== undefined) this.rows.showAgain(collection, id, deltaOf(changed[tx.from(id)], collection))
    }
    return changed
  }

  #setAside<T>(map: ByHash<T>, entity: string, records: ReadonlyMap<Hash, T | undefined>): void {
    for (const [hash, record] of records) {
      setIn(map, entity, hash, record)
      if (record !== undefined) this.#latestAside = entity
    }
  }

  // ── what has moved on the disk ────────────────────────────────────────────────────────────────────────────────────

  /** Looks on the disk for commits that this object does not include; undefined when there are none. */
  async moved(store: Store): Promise<Moved | undefined> {
    const commit = await lastCommit(store, this.#workspace)
    if (commit.value === this.#commit.value) return undefined
    const touched = await touchedSince(store, this.#workspace, this.#commit.n, commit, this.#around.sizes)
    return { commit, touched }
  }

  /**
   * Reads again the records that `moved` has named. Resolves with the rows that have changed, or with undefined when a
   * record is damaged: then the caller must call `readEverything`. This object changes only after all records have been
   * read, all at once. For example, a rejected change must leave the outbox and enter the rejected list at the same
   * moment, because `whenStored` looks at both.
   */
  async readMoved(store: Store, { commit, touched }: Moved): Promise<Changed | undefined> {
    const w = this.#workspace
    let isDamaged = false
    const note = () => {
      isDamaged = true
    }
    const state = touched.state ? await readState(store, w, note) : undefined
    const outbox = touched.outboxPages ? await Outbox.read(store, w, this.#around.sizes, note) : undefined
    const apply: ((changed: Changed) => void)[] = []
    for (const entity of touched.entities) {
      if (outbox === undefined) apply.push(await this.outbox.readAgain(store, entity, note))
      const stale = await store.get(keys.stale(w, entity))
      const mark = stale === undefined ? undefined : readCache<StaleRecord>(stale, keys.stale(w, entity), note)
      apply.push(() => (mark === undefined ? this.stale.delete(entity) : this.stale.set(entity, mark)))
      apply.push(await replaceIn<BadRecord>(this.bad, entity, store, keys.badOf(w, entity), note))
      const rejected = keys.rejectedOf(w, entity)
      apply.push(
        await replaceIn<RejectedRecord, RejectedChange>(this.rejected, entity, store, rejected, note, withoutChange),
      )
    }
    for (const name of new Set([...touched.rows.keys(), ...touched.rowPages.keys()])) {
      const moved = { ids: touched.rows.get(name) ?? [], pages: touched.rowPages.get(name) ?? [] }
      const rows = await this.rows.readAgain(store, name, moved, note)
      apply.push((changed) => rows(deltaOf(changed.here, name)))
    }
    if (isDamaged) return undefined

    const changed = noChange(new Set(touched.entities))
    if (state !== undefined) this.state = state
    if (touched.state) this.#stateUnsaved = false
    if (outbox !== undefined) this.outbox = outbox
    for (const f of apply) f(changed)
    for (const entity of touched.entities) {
      const collection = this.rows.collectionOf(entity)
      if (collection !== undefined) this.rows.showAgain(collection, entity, deltaOf(changed.here, collection))
    }
    this.#commit = commit
    return changed
  }

  /** Reads everything again, when the journal does not reach back far enough or a record is damaged. */
  async readEverything(store: Store): Promise<{ readonly known: Known; readonly changed: Changed }> {
    const known = await Known.read(store, this.#workspace, this.#defs, this.#around)
    const changed = noChange("all")
    known.rows.continue(this.rows, (collection) => deltaOf(changed.here, collection))
    return { known, changed }
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Returns one of the changes that are set aside, which means refused by the relay for good, or bad; undefined when
   * there is none. Chooses a change of the entity of which a change was set aside last, if that entity still has one.
   */
  get setAside(): SetAside | undefined {
    const { rejected, bad } = this
    const latest = this.#latestAside
    const there = rejected.has(latest) || bad.has(latest) ? latest : undefined
    const entity = there ?? firstKey(rejected) ?? firstKey(bad)
    if (entity === undefined) return undefined
    const records = [...(rejected.get(entity) ?? bad.get(entity) ?? new Map()).values()]
    // `DEPS_UNKNOWN` says only that a change depends on another of these changes. So a change with another code, which
    // says the cause, is preferred.
    const record = records.findLast(({ code }) => code !== "DEPS_UNKNOWN") ?? records[0]
    return { entity, record, refused: rejected.has(entity) }
  }

  /**
   * Shows the times that rows have hidden because they were in the future, and that have passed now. Returns the rows
   * that have changed.
   */
  showDue(): Changed {
    const changed = noChange()
    this.rows.showDue((collection) => deltaOf(changed.relay, collection))
    return changed
  }
}

/** What one commit has changed. */
export interface Changed {
  /** By collection, the rows that only writes on this device have changed. */
  readonly here: Map<string, RowDelta>
  /** By collection, the other changed rows, also those that both have changed. */
  readonly relay: Map<string, RowDelta>
  /**
   * The entities of which a record was written: also entities whose row is as before, as after a mark in a text. "all"
   * when everything was read again.
   */
  readonly entities: ReadonlySet<string> | "all"
}

export const noChange = (entities: Changed["entities"] = new Set()): Changed => ({
  here: new Map(),
  relay: new Map(),
  entities,
})

function deltaOf(deltas: Map<string, RowDelta>, collection: string): RowDelta {
  let delta = deltas.get(collection)
  if (delta === undefined) deltas.set(collection, (delta = { added: [], changed: [], removed: [] }))
  return delta
}

const firstKey = <T>(map: ByHash<T>): string | undefined => map.keys().next().value

function setIn<T>(map: ByHash<T>, entity: string, hash: Hash, value: T | undefined): void {
  const inner = map.get(entity) ?? new Map<Hash, T>()
  if (value === undefined) inner.delete(hash)
  else inner.set(hash, value)
  if (inner.size === 0) map.delete(entity)
  else map.set(entity, inner)
}

/**
 * Reads the records of an entity from the disk. Returns a function that puts them into `map` in place of the old ones,
 * so that all maps change together once everything is read. `keep` makes what stays in memory from a record.
 */
async function replaceIn<T, OnDisk extends T = T>(
  map: ByHash<T>,
  entity: string,
  store: Store,
  prefix: Key,
  note: NoteDamaged,
  keep: (record: OnDisk) => T = (record) => record,
): Promise<() => void> {
  const records = await store.list(prefix)
  const read = records.map(([key, value]) => [key[3] ?? "", readCache<OnDisk>(value, key, note)] as const)
  return () => {
    map.delete(entity)
    for (const [hash, record] of read) setIn(map, entity, hash, record && keep(record))
  }
}

/** Returns the part of a rejected change's record that stays in memory. */
const withoutChange = ({ code, at }: RejectedChange): RejectedRecord => ({ code, at })
