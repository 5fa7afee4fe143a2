/**
 * The records that a replica keeps on its disk: their keys and their content. Every key begins with the workspace id,
 * so several workspaces may share one store. `checked-json.ts` has the encoding of JSON records. docs/architecture.md
 * ("On disk") explains the same keys.
 */
import { type Code, HeadwaterError } from "../../base/errors.ts"
import type { ProjectedRow } from "../../document/projection.ts"
import type { Key, Store, Value } from "../../store/store.ts"
import type { Access, Hash } from "../../wire/protocol.ts"
import { parseJson } from "./checked-json.ts"

/** The key of page `n` of a history has this number minus `n`, so a `list` gives the newest page first. */
const LAST_PAGE = 999_999

export const keys = {
  /** the state record: `State` */
  state: (w: string): Key => [w, "state"],
  /** the commit record: the number of the last commit in decimal digits; a commit expects the number that it knows */
  commit: (w: string): Key => [w, "commit"],
  /** a journal record: the entities and pages that one of the last commits touched (`commit-journal.ts`) */
  journal: (w: string, slot: number): Key => [w, "journal", String(slot).padStart(4, "0")],
  journals: (w: string): Key => [w, "journal"],
  /** a loose change, as an encoded entry: the change's chunk, and the facts that the relay's entry has of it */
  change: (w: string, entity: string, hash: Hash): Key => [w, "change", entity, hash],
  changes: (w: string): Key => [w, "change"],
  changesOf: (w: string, entity: string): Key => [w, "change", entity],
  /** a page of an entity's history: many changes in one value */
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

/** Format 3: histories are in pages, in which an earlier version would not find the changes. */
export const FORMAT = 3

/**
 * The version of the probe (`document/verdicts.ts`), which tells a bad change from a failure of the machine. The probe
 * applies a good change of the same size as the suspect, since version 2 to the suspect's document. Version 1 used
 * another document, so it did not notice a lack of memory that depends on the document's size, and judged whole notes
 * as bad.
 */
export const PROBE = 2

export interface State {
  readonly format: number
  /** hex; null before the first entries */
  readonly cursor: string | null
  /**
   * hex; the furthest place in the relay's log that this replica has learned of, never behind the cursor; null: none
   */
  readonly reach: string | null
  /**
   * Whether a heal is needed, because the relay did not know our cursor or the disk has damaged records. Until a new
   * cursor is committed, every connection begins with a `have`.
   */
  readonly heal: boolean
  /**
   * How often damage was noticed that a heal may mend. A heal mends only damage that was noticed before the heal began:
   * if this number has grown since, another heal follows.
   */
  readonly damages: number
  /** Whether this device has once had every entry of the relay's log. */
  readonly complete: boolean
  /** The principal that connected last; null before the first. */
  readonly principal: string | null
  /** What the relay allows this principal to do, as far as the relay has said it. */
  readonly access: Access | null
  /** The first principal that connected. It counts as the author of changes made before any principal had connected. */
  readonly firstPrincipal: string | null
  /** When the connection was last level, by this device's clock in ms since 1970; null if it never was. */
  readonly lastSyncedAt: number | null
  /** ms by which the relay's clock was ahead of ours when the relay last sent its time */
  readonly clockAheadMs: number
  /** When `clockAheadMs` was measured, by this device's clock in ms since 1970; 0 if the relay never sent its time. */
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
   * Counter of the change's first operation, plus 2^31 if the change is pushed last (`Transaction.pushLast`). Sorting
   * by this number gives a valid push order within an entity: the first operation of a change has a larger counter than
   * all operations of the changes that it depends on.
   */
  readonly startOp: number
  /** Length of the change's chunk. */
  readonly bytes: number
  /**
   * `own`: this device made the change. `again`: this session made the change under the present principal, but the
   * relay has lost it. `adopt`: the change is pushed under somebody else's actor, because this session did not make it,
   * or because another principal owns its actor.
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

/** The facts about an entity's outbox records that its row shows. */
export interface Pending {
  /** The fields that pending changes touch, sorted. */
  readonly fields: readonly string[]
  /** Whether the entity's creation is one of the pending changes. */
  readonly creation: boolean
}

export interface StaleRecord {
  /** Changes whose verdict is open. */
  readonly suspects: readonly Hash[]
  /**
   * True: the suspects wait for changes that have not arrived, and the row shows all other changes. False: the row must
   * be made again.
   */
  readonly waiting: boolean
  /**
   * Changes that the `have` of a heal did not cover, because a dep was missing or their records could not be read. The
   * relay could not ask for these changes, so they go into the outbox once this replica has all their deps.
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
   * Present when the disk has damaged the record of this change, which is in the outbox. The record is mended only if
   * the change arrives from the relay or is made again.
   */
  readonly damaged?: true
}

/** Why a change is on the rejected list. The record on the disk also has the change (`RejectedChange`). */
export interface RejectedRecord {
  readonly code: Code
  /** ms since 1970 */
  readonly at: number
}

export interface RejectedChange extends RejectedRecord {
  /** The change as an encoded entry, in hex. */
  readonly entry: string
}

/**
 * A row as the disk has it. It depends only on the entity's changes and on their authors. `shown-row.ts` adds all other
 * fields that an app sees (`$pending`, `$workspace`, defaults, ...) when the row is shown.
 */
export interface StoredRow extends ProjectedRow {
  readonly $createdBy?: string | null
  readonly $updatedBy?: string | null
  readonly $deletedBy?: string | null
}

/** Like `readJson`, but when the record is damaged, calls `note` with its key and returns undefined. */
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

/** A `note` for code that cannot go on without the record: throws `STORE_FORMAT`. */
export const refuseDamaged = (key: Key): never => {
  throw new HeadwaterError("STORE_FORMAT", `the store's record ${key.join("/")} is not readable`)
}

/** Reads a record that `writeJson` wrote. Throws `STORE_FORMAT` for any other value: the record is damaged. */
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

/** The shape of each kind of record, with the fields that its reader needs. The kind is the second part of the key. */
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
 * Reads the state record; undefined when it is missing or damaged. Throws `STORE_FORMAT` when another version of the
 * library wrote the store. Format 1 is recognized before the checksum is read, because its records have none: they
 * would seem to be damaged, and the unsent changes in that store would be lost.
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
