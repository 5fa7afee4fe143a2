/**
 * The records that a replica keeps on its disk: their keys, and what is in them. (`checked-json.ts` has their
 * encoding.) Every key begins with the workspace id, so several workspaces share one store. docs/architecture.md ("On
 * disk") lists the same keys for people.
 */
import { type Code, HeadwaterError } from "../../base/errors.ts"
import type { ProjectedRow } from "../../document/projection.ts"
import type { Key, Store, Value } from "../../store/store.ts"
import type { Access, Hash } from "../../wire/protocol.ts"
import { parseJson } from "./checked-json.ts"

/** Pages of a history are numbered down from this number in their keys: so a `list` gives the newest one first. */
const LAST_PAGE = 999_999

export const keys = {
  /** the state record: `State` */
  state: (w: string): Key => [w, "state"],
  /** the commit record: the number of the last commit in decimal digits; a commit expects the number that it knows */
  commit: (w: string): Key => [w, "commit"],
  /** what one of the last commits touched (`commit-journal.ts`) */
  journal: (w: string, slot: number): Key => [w, "journal", String(slot).padStart(4, "0")],
  journals: (w: string): Key => [w, "journal"],
  /** a loose change, as an encoded entry with one chunk: the chunk and what the relay said of it */
  change: (w: string, entity: string, hash: Hash): Key => [w, "change", entity, hash],
  changes: (w: string): Key => [w, "change"],
  changesOf: (w: string, entity: string): Key => [w, "change", entity],
  /** many changes of an entity in one value. The newest page has the largest number and comes first. */
  history: (w: string, entity: string, page: number): Key => [
    w,
    "history",
    entity,
    String(LAST_PAGE - page).padStart(6, "0"),
  ],
  histories: (w: string): Key => [w, "history"],
  historyOf: (w: string, entity: string): Key => [w, "history", entity],
  /** a loose outbox record, newer than its page; `null`: the record in the page is gone */
  out: (w: string, entity: string, hash: Hash): Key => [w, "out", entity, hash],
  outbox: (w: string): Key => [w, "out"],
  outboxOf: (w: string, entity: string): Key => [w, "out", entity],
  /** many outbox records in one value */
  outPage: (w: string, page: number): Key => [w, "outpage", String(page).padStart(6, "0")],
  outPages: (w: string): Key => [w, "outpage"],
  /** a loose row, newer than its page; `null`: the entity is gone */
  row: (w: string, collection: string, id: string): Key => [w, "row", collection, id],
  rows: (w: string): Key => [w, "row"],
  rowsOf: (w: string, collection: string): Key => [w, "row", collection],
  /** about a thousand rows of a collection in one value */
  page: (w: string, collection: string, page: number): Key => [w, "page", collection, String(page).padStart(6, "0")],
  pages: (w: string): Key => [w, "page"],
  /** the mark of an entity whose row must be made again, or whose changes wait for other changes */
  stale: (w: string, entity: string): Key => [w, "stale", entity],
  allStale: (w: string): Key => [w, "stale"],
  /** the verdict on a change that no replica may apply: `BadRecord` */
  bad: (w: string, entity: string, hash: Hash): Key => [w, "bad", entity, hash],
  badOf: (w: string, entity: string): Key => [w, "bad", entity],
  allBad: (w: string): Key => [w, "bad"],
  /** a change that the relay refused for good, or one that depends on such a change */
  rejected: (w: string, entity: string, hash: Hash): Key => [w, "rejected", entity, hash],
  rejectedOf: (w: string, entity: string): Key => [w, "rejected", entity],
  allRejected: (w: string): Key => [w, "rejected"],
} as const

/** The number of a page of an entity's history. */
export const pageNumber = (key: Key): number => LAST_PAGE - Number(key[3])

/** 3: histories lie in pages. An earlier version would not find their changes. */
export const FORMAT = 3

/**
 * The version of the probe (`document/verdicts.ts`), which tells a bad change from a failure of the machine. The probe
 * applies a good change that is as large as the one in question; since version 2 it does so to the same document.
 * Version 1 did not notice a lack of memory that depends on the document's size, so that whole notes were set aside.
 */
export const PROBE = 2

export interface State {
  readonly format: number
  /** hex; null before the first entries */
  readonly cursor: string | null
  /** hex; the furthest place in the relay's log that this replica has learned of, never behind the cursor */
  readonly reach: string | null
  /**
   * Whether a heal is needed, because the relay did not know our cursor or the disk has damaged records. Until a new
   * cursor is committed, every connection begins with a `have`.
   */
  readonly heal: boolean
  /** How often damage was noticed that a heal may mend. A heal mends only what was noticed before it began. */
  readonly damages: number
  /** Whether this device has once had everything that the relay had. */
  readonly complete: boolean
  readonly principal: string | null
  readonly access: Access | null
  /** The first principal that connected. It counts as the author of changes made before any principal had connected. */
  readonly firstPrincipal: string | null
  readonly lastSyncedAt: number | null
  /** ms by which the relay's clock was ahead of ours when the relay last sent its time */
  readonly clockAheadMs: number
  /** When the relay sent that time, by this device's clock in ms since 1970; 0 if the relay never did. */
  readonly clockMeasuredAt: number
  /** By collection, the version of the projection that made the stored rows. Rows of another version are made again. */
  readonly projections: Readonly<Record<string, string>>
}

export const emptyState = (projections: State["projections"] = {}): State => ({
  format: FORMAT,
  cursor: null,
  reach: null,
  heal: false,
  damages: 0,
  complete: false,
  principal: null,
  access: null,
  firstPrincipal: null,
  lastSyncedAt: null,
  clockAheadMs: 0,
  clockMeasuredAt: 0,
  projections,
})

/** Notes that the disk has damaged or lost a record that the relay may be able to give back. */
export const withDamage = (state: State): State => ({ ...state, heal: true, damages: state.damages + 1 })

/** An outbox record: a change that the relay has not acknowledged yet. */
export interface OutRecord {
  /**
   * Counter of the change's first operation. Sorting by it gives a valid push order within an entity, because a change
   * has a larger counter than all operations of the changes that it depends on.
   */
  readonly startOp: number
  readonly bytes: number
  /**
   * `own`: this device made the change. `again`: this session made it under the present principal, but the relay has
   * lost it. `adopt`: it is pushed as somebody else's change, because this session did not make it or another principal
   * owns its actor.
   */
  readonly how: "own" | "again" | "adopt"
  /** The principal under which the record was made; null when none was known yet. */
  readonly principal: string | null
  /** The fields that the change touches. */
  readonly fields: readonly string[]
}

/** An outbox record with the entity and the hash of its change. */
export interface Owed extends OutRecord {
  readonly entity: string
  readonly hash: Hash
}

/** What a row shows of its entity's outbox records. */
export interface Pending {
  /** The fields that pending changes touch, sorted. */
  readonly fields: readonly string[]
  /** Whether the entity's creation is one of the pending changes. */
  readonly creation: boolean
}

export interface StaleRecord {
  /** Changes whose verdict is open. */
  readonly suspects: readonly Hash[]
  /** True: the suspects wait for changes that have not arrived, and the row shows everything else already. */
  readonly waiting: boolean
  /**
   * Changes that the `have` of a heal did not cover, because a dep was missing or their records could not be read. The
   * relay could not ask for them, so they go into the outbox once all their deps are there.
   */
  readonly unnamed?: readonly Hash[]
}

export interface BadRecord {
  readonly code: Code
  /**
   * The build of Automerge that gave the verdict; another build judges again. Empty: Automerge had no part in the
   * verdict, because the chunk is not a change or the disk has damaged it.
   */
  readonly automerge: string
  /**
   * The version of the probe (`PROBE`) that succeeded before and after Automerge gave this verdict, so the machine is
   * not to blame. A change with a verdict under an older probe is judged again. Absent when `automerge` is empty.
   */
  readonly probe?: number
  /**
   * The disk has damaged the record of a change in the outbox. The record can be repaired only if the bytes of the
   * change arrive from the relay, or the change is made again.
   */
  readonly damaged?: true
}

/** Why a change is on the rejected list. On the disk, the record also has the change itself: `RejectedChange`. */
export interface RejectedRecord {
  readonly code: Code
  /** ms since 1970 */
  readonly at: number
}

export interface RejectedChange extends RejectedRecord {
  /** The encoded entry with this one chunk, in hex. */
  readonly entry: string
}

/**
 * A row as the disk has it: a function of the entity's changes and of the principals that pushed them. Everything else
 * that an app sees on a row (`$pending`, `$workspace`, defaults, ...) is added when the row is shown.
 */
export interface StoredRow extends ProjectedRow {
  readonly $createdBy?: string | null
  readonly $updatedBy?: string | null
  readonly $deletedBy?: string | null
}

/**
 * Like `readJson`, for records that can be made again. When the record is damaged, calls `note` with its key and
 * returns undefined.
 */
export function readCache<T>(value: Value | undefined, key: Key, note: NoteDamaged): T | undefined {
  try {
    return readJson<T>(value, key)
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error
    note(key)
    return undefined
  }
}

export type NoteDamaged = (key: Key) => void

/** For `note`, when the code cannot go on without the record: throws `STORE_FORMAT`. */
export const refuseDamaged = (key: Key): never => {
  throw new HeadwaterError("STORE_FORMAT", `the store's record ${key.join("/")} is not readable`)
}

/** Reads what `writeJson` wrote. Throws `STORE_FORMAT` for anything else: the store is damaged, or foreign. */
export function readJson<T>(value: Value | undefined, key: Key): T {
  const record = parseJson(key, value)
  return shapes[key[1] ?? ""]?.(record) ? (record as T) : refuseDamaged(key)
}

type Shape = (record: unknown) => boolean

/** Accepts an object in which these keys have values of these types. */
const object =
  (keys: Readonly<Record<string, "string" | "number" | "array">>): Shape =>
  (record) =>
    typeOf(record) === "object" &&
    Object.entries(keys).every(([key, type]) => typeOf((record as Record<string, unknown>)[key]) === type)

const arrayOf =
  (shape: Shape): Shape =>
  (record) =>
    Array.isArray(record) && record.every(shape)

const orNull =
  (shape: Shape): Shape =>
  (record) =>
    record === null || shape(record)

const typeOf = (value: unknown) => (Array.isArray(value) ? "array" : value === null ? "null" : typeof value)

const row = object({ id: "string" })

/** By the second part of a record's key: the shape that the code which reads the record needs. */
const shapes: Readonly<Record<string, Shape>> = {
  state: object({ format: "number" }),
  out: orNull(object({ startOp: "number", bytes: "number", how: "string", fields: "array" })),
  outpage: object({ kinds: "array", lines: "string" }),
  row: orNull(row),
  page: arrayOf(row),
  stale: object({ suspects: "array" }),
  bad: object({ code: "string", automerge: "string" }),
  rejected: object({ code: "string", entry: "string" }),
}

/**
 * Reads the state record; undefined when there is none, or it is damaged. Throws `STORE_FORMAT` when another version
 * wrote it. (Records of format 1 had no checksum. If they were not recognized here, they would seem to be damaged, and
 * the unsent changes in that store would be lost.)
 */
export async function readState(store: Store, w: string, note: NoteDamaged): Promise<State | undefined> {
  const value = await store.get(keys.state(w))
  if (typeof value === "string" && /^\{.*"format":1[,}]/.test(value)) throw olderFormat(1)
  const state = value === undefined ? undefined : readCache<State>(value, keys.state(w), note)
  if (state === undefined) return undefined
  if (state.format < FORMAT) throw olderFormat(state.format)
  if (state.format > FORMAT) {
    throw new HeadwaterError(
      "STORE_FORMAT",
      `a newer version wrote this store (format ${state.format}, this version reads ${FORMAT}): update the app`,
    )
  }
  return { ...emptyState(), ...state }
}

const olderFormat = (format: number) =>
  new HeadwaterError(
    "STORE_FORMAT",
    `an earlier version wrote this store (format ${format}, this version reads ${FORMAT}): ` +
      "sync with that version, then delete the store",
  )
