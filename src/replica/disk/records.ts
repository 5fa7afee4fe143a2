/**
 * What a replica keeps on its disk: the keys, and the JSON and bytes behind them. Every key begins with the workspace id,
 * so several workspaces share one store. docs/architecture.md ("On disk") lists the same keys for people.
 */
import { type Code, HeadwaterError } from "../../base/errors.ts"
import type { ProjectedRow } from "../../document/projection.ts"
import type { Key, Store, Value } from "../../store/store.ts"
import type { Access, Hash } from "../../wire/protocol.ts"

export const keys = {
  /** the replica's one small record: `State` */
  state: (w: string): Key => [w, "state"],
  /** how many commits there were, as decimal digits: every commit expects the number that it knows */
  commit: (w: string): Key => [w, "commit"],
  /** what one of the last commits touched (`commit-journal.ts`) */
  journal: (w: string, slot: number): Key => [w, "journal", String(slot).padStart(4, "0")],
  journals: (w: string): Key => [w, "journal"],
  /** a change, as an encoded entry with one chunk: the chunk and what the relay said of it */
  change: (w: string, entity: string, hash: Hash): Key => [w, "change", entity, hash],
  changes: (w: string): Key => [w, "change"],
  changesOf: (w: string, entity: string): Key => [w, "change", entity],
  /** an outbox record that is newer than its page; `null` where a page has one that is gone since */
  out: (w: string, entity: string, hash: Hash): Key => [w, "out", entity, hash],
  outbox: (w: string): Key => [w, "out"],
  outboxOf: (w: string, entity: string): Key => [w, "out", entity],
  /** many outbox records in one value */
  outPage: (w: string, page: number): Key => [w, "outpage", String(page).padStart(6, "0")],
  outPages: (w: string): Key => [w, "outpage"],
  /** a row that is newer than its page; `null` where the entity is gone */
  row: (w: string, collection: string, id: string): Key => [w, "row", collection, id],
  rows: (w: string): Key => [w, "row"],
  rowsOf: (w: string, collection: string): Key => [w, "row", collection],
  /** about a thousand rows of a collection in one value */
  page: (w: string, collection: string, page: number): Key => [w, "page", collection, String(page).padStart(6, "0")],
  pages: (w: string): Key => [w, "page"],
  /** changes are held that the row does not show yet */
  stale: (w: string, entity: string): Key => [w, "stale", entity],
  allStale: (w: string): Key => [w, "stale"],
  /** a chunk that no replica may apply */
  bad: (w: string, entity: string, hash: Hash): Key => [w, "bad", entity, hash],
  badOf: (w: string, entity: string): Key => [w, "bad", entity],
  allBad: (w: string): Key => [w, "bad"],
  /** a change that the relay refused for good, and what depends on it */
  rejected: (w: string, entity: string, hash: Hash): Key => [w, "rejected", entity, hash],
  rejectedOf: (w: string, entity: string): Key => [w, "rejected", entity],
  allRejected: (w: string): Key => [w, "rejected"],
} as const

export const FORMAT = 1

export interface State {
  readonly format: number
  /** hex; null before the first entries */
  readonly cursor: string | null
  /** hex; the furthest place in the relay's log that this replica has learned of, never behind the cursor */
  readonly reach: string | null
  /** The relay did not know our cursor: every connection begins with `have` until a new one is committed. */
  readonly heal: boolean
  /** This device has once held everything that the relay had. */
  readonly complete: boolean
  readonly principal: string | null
  readonly access: Access | null
  /** Who owns the records made before any principal was known: the first one that connected. */
  readonly firstPrincipal: string | null
  readonly lastSyncedAt: number | null
  /** ms by which the relay's clock was ahead of ours when it last said what time it is */
  readonly clockAheadMs: number
  /** The projection that made the stored rows of each collection; rows of another one are made again. */
  readonly projections: Readonly<Record<string, string>>
}

export const emptyState = (projections: State["projections"] = {}): State => ({
  format: FORMAT,
  cursor: null,
  reach: null,
  heal: false,
  complete: false,
  principal: null,
  access: null,
  firstPrincipal: null,
  lastSyncedAt: null,
  clockAheadMs: 0,
  projections,
})

/** One change that the relay is owed. */
export interface OutRecord {
  /** A valid push order within an entity: a change starts after the operations of everything it depends on. */
  readonly startOp: number
  readonly bytes: number
  /**
   * `own`: made on this device. `again`: the same, but the relay had it before and has lost it, so anybody may bring it.
   * `adopt`: somebody else's, given back to a relay that lost it.
   */
  readonly how: "own" | "again" | "adopt"
  /** Who was connected when it was made; null: nobody yet. */
  readonly principal: string | null
  /** The fields it touches. */
  readonly fields: readonly string[]
}

/** An outbox record with the change that it is about. */
export interface Owed extends OutRecord {
  readonly entity: string
  readonly hash: Hash
}

/** What a row shows of what is owed. */
export interface Pending {
  /** The fields that pending changes touch, sorted. */
  readonly fields: readonly string[]
  /** The entity's creation is among them. */
  readonly creation: boolean
}

export interface StaleRecord {
  /** Changes whose verdict is open. */
  readonly suspects: readonly Hash[]
  /** The row shows all that it can until a change arrives that the suspects depend on. */
  readonly waiting: boolean
  /** Suspects that the `have` of a heal did not name, because they wait: the relay is owed them once they are whole. */
  readonly unnamed?: readonly Hash[]
}

export interface BadRecord {
  readonly code: Code
  /** The build of Automerge that gave the verdict; another build judges again. Empty: the chunk is no change at all. */
  readonly automerge: string
  /** Automerge gave this verdict while it could make a document that is known to be good, so the machine is not to blame. */
  readonly probed?: true
  /** The disk has damaged the record of a change that the relay is owed: only its bytes, when they come, can mend it. */
  readonly damaged?: true
}

export interface RejectedRecord {
  readonly code: Code
  readonly at: number
  /** hex digits of the encoded entry with the one chunk */
  readonly entry: string
}

/**
 * A row as the disk has it: a function of the entity's changes and of the principals that pushed them. Everything else that
 * an app sees on a row (`$pending`, `$workspace`, defaults, ...) is joined when the row is shown.
 */
export interface StoredRow extends ProjectedRow {
  readonly $createdBy?: string | null
  readonly $updatedBy?: string | null
  readonly $deletedBy?: string | null
}

/** The same, for records that can be made again: undefined when one is damaged, of which `note` is told. */
export function readCache<T>(value: Value | undefined, key: Key, note: NoteDamaged): T | undefined {
  try {
    return readJson<T>(value, key)
  } catch {
    note(key)
    return undefined
  }
}

export type NoteDamaged = (key: Key) => void

/** Where a damaged record cannot be done without. */
export const refuseDamaged = (key: Key): never => {
  throw new HeadwaterError("STORE_FORMAT", `the store's record ${key.join("/")} is not readable`)
}

/** Parses JSON that this library wrote. `STORE_FORMAT` for anything else: the store is damaged, or somebody else's. */
export function readJson<T>(value: Value | undefined, key: Key): T {
  try {
    if (typeof value === "string") return JSON.parse(value) as T
  } catch {
    // falls through to the coded error
  }
  return refuseDamaged(key)
}

/** The small record of a workspace; undefined when nothing was ever saved. `STORE_FORMAT` when a newer version wrote it. */
export async function readState(store: Store, w: string, note: NoteDamaged): Promise<State | undefined> {
  const value = await store.get(keys.state(w))
  const state = value === undefined ? undefined : readCache<State>(value, keys.state(w), note)
  if (state === undefined) return undefined
  if (state.format > FORMAT) {
    throw new HeadwaterError(
      "STORE_FORMAT",
      `a newer version wrote this store (format ${state.format}, this version reads ${FORMAT}): update the app`,
    )
  }
  return { ...emptyState(), ...state }
}
