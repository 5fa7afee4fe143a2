/**
 * The relay's seam to a disk: one append-only log per workspace.
 *
 * Look-ups see an entry as soon as it is appended. Entries that wait together are flushed together (group commit). Only
 * flushed entries are served, acknowledged, or compared with what a replica holds. A cursor is a position and the
 * running hash there. So a log that was restored from an older backup, truncated, damaged or replaced is noticed: it
 * does not hold the cursors that it held before. Every implementation runs `conformance.ts`; the one on segment files
 * is in `logs.ts`.
 *
 * An entry has one position, that of the place behind it. `append` returns it, `Known` and `PageEntry` hold it,
 * `flushed` takes it, and `since` reads on from it. Positions grow along the log, but not always by one: the position
 * of an entry whose flush has failed is never used again, so that nobody takes the flush of another entry for its
 * flush.
 */
import type { Actor, Cursor, Entry, Hash } from "../../src/wire/protocol.ts"

/** The value itself when memory holds all that is needed for it, else a promise. */
export type Awaitable<T> = T | Promise<T>

/** What a log knows of one change. */
export interface Known {
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** startOp + ops - 1; so startOp - 1 when it has no operations. */
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /** The position of its entry: `flushed(position)` tells when the change is durable. */
  readonly position: number
}

/** The last change of an actor inside an entity. */
export interface Tail {
  readonly hash: Hash
  readonly seq: number
  readonly maxOp: number
}

/** An entity as of everything appended, flushed or not. */
export interface EntityState {
  readonly collection: string
  readonly heads: readonly Hash[]
  /** The position of its tombstone. */
  readonly purged?: number
}

/** A change of an entry, as the caller has read it. A list of them is in the order of `entry.chunks`. */
export interface AppendedChange {
  readonly hash: Hash
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /**
   * Set when the change binds its session actor to the entry's principal. Absent for derived actors and adopted
   * changes.
   */
  readonly binds?: true
}

export interface PageEntry {
  readonly position: number
  /** The key of its entity (`Log.key`), which tells the entity without decoding the entry. */
  readonly key: string
  /** Decoded when it is first asked for. */
  readonly entry: Entry
  /** `encodeEntry(entry)` */
  readonly bytes: Uint8Array
}

/** Consecutive entries of the flushed log. */
export interface Page {
  readonly entries: readonly PageEntry[]
  /** The cursor behind the last of them. It comes with the entries, because a later call could give a later cursor. */
  readonly cursor: Cursor
}

/**
 * Promises reject with `CLOSED`, or with `LOG_FAILED` when the disk has failed or the wanted entries are lost; a later
 * call may succeed. When damage is found, everything that is not flushed fails, and look-ups and reads wait until the
 * log has been mended.
 */
export interface Log {
  /** The cursor behind the last flushed entry. */
  readonly end: Cursor
  /**
   * Whether records were lost once. Changes that depend on a lost one are served but not known. So a replica whose
   * heads of an entity equal the log's may still lack entries that the log serves.
   */
  readonly harmed: boolean
  /** Bytes of flushed entries behind this position; an estimate is enough. */
  bytesAfter(position: number): number
  /** Position of the last appended entry, flushed or not. */
  readonly appended: number

  /**
   * The four look-ups answer as of some moment between the call and the answer. A caller that appends because of
   * several answers must keep others from appending meanwhile. After a failed flush or damage they know nothing of the
   * lost entries.
   */
  entity(entity: string): Awaitable<EntityState | undefined>
  known(entity: string, hash: Hash): Awaitable<Known | undefined>
  tail(entity: string, actor: Actor): Awaitable<Tail | undefined>
  /** The principal that a session actor is bound to. */
  binding(actor: Actor): Awaitable<string | undefined>

  /**
   * Appends an entry and returns its position. The four look-ups above see it at once. `bytes` is `encodeEntry(entry)`,
   * for a caller that has it already. Throws `CLOSED`; `LOG_FAILED` while the log is damaged; `TOO_LARGE` for an entry
   * with more bytes than the log takes, which is more than any message may have; a RangeError for a number of 2^32 or
   * more, which no record can hold. When it throws, nothing has happened.
   */
  append(entry: Entry, changes: readonly AppendedChange[], bytes?: Uint8Array): number
  /**
   * Resolves with the cursor at `position` once everything up to it is on the disk. Rejects with `LOG_FAILED` when it
   * never will be.
   */
  flushed(position: number): Promise<Cursor>
  /** Whether this log, as flushed, passes through that cursor. Every log holds position 0. */
  holds(cursor: Cursor): Awaitable<boolean>
  /** The entity's key in `PageEntry.key`: 16 bytes of a hash. */
  key(entity: string): string
  /**
   * The entries behind `position`: at least one if there is one, then as many as fit into `bytes`, which counts
   * `PageEntry.bytes`.
   */
  since(position: number, bytes: number): Promise<Page>
  /** Calls `f` after each flush. Returns the unsubscription. */
  onFlush(f: () => void): () => void
  /**
   * Calls `f` once flushed entries were found damaged and the log goes on without them. The log then holds none of the
   * cursors that it gave before, and `end` is a new one. A follower must begin again: its replica pulls, is told
   * `CURSOR_UNKNOWN` and heals. Otherwise the replica would never give back the lost entries that it still holds.
   * Returns the unsubscription.
   */
  onBreak(f: () => void): () => void
  /** Gives back the log that `Logs.open` lent. It stays open for its other borrowers. */
  close(): Promise<void>
}

export interface Logs {
  /**
   * Lends a workspace's log until it is closed as often as it was opened. All borrowers share one object. A limited
   * number of logs stay open that nobody has borrowed. Nothing is written before the first append.
   */
  open(workspace: string): Promise<Log>
  /**
   * Resolves when entries can be stored. `LOG_FAILED`: the folder takes no bytes. A log that cannot be opened or flushed
   * for a reason of its own does not count: all others work.
   */
  check(): Promise<void>
  /** Flushes and closes all logs. */
  close(): Promise<void>
}
