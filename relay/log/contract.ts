/**
 * The contract between the relay and its disk: one append-only log per workspace.
 *
 * Look-ups see an entry as soon as it is appended. Entries that wait at the same time are flushed together (group
 * commit). Only flushed entries are served, acknowledged, or compared with a replica's heads. A cursor is a position
 * and the running hash there, which covers all entries up to it. So a replica notices that a log was restored from an
 * older backup, truncated, damaged or replaced: the log does not hold a cursor that the replica has (`Log.holds`).
 * Every implementation must pass `conformance.ts`; the implementation on segment files is in `logs.ts`.
 *
 * An entry's position marks the place right after the entry. `append` returns it, `Known` and `PageEntry` have it,
 * `flushed` waits for it, and `since` reads on from it. Positions grow along the log, but not always by one: the
 * position of an entry whose flush has failed is never used again. Otherwise `flushed` could resolve for the lost entry
 * when another entry with its position is flushed.
 */
import type { Actor, Cursor, Entry, Hash } from "../../src/wire/protocol.ts"

/** The value itself if the log can answer from memory, else a promise of the value. */
export type Awaitable<T> = T | Promise<T>

/** The facts that a log has about one change. */
export interface Known {
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** startOp + ops - 1. For a change without operations this is startOp - 1. */
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /** The position of the change's entry: `flushed(position)` resolves when the change is durable. */
  readonly position: number
}

/** The last change of an actor inside an entity. */
export interface Tail {
  readonly hash: Hash
  readonly seq: number
  readonly maxOp: number
}

/** The state of an entity after all appended entries, flushed or not. */
export interface EntityState {
  readonly collection: string
  readonly heads: readonly Hash[]
  /** The position of the entity's tombstone. */
  readonly purged?: number
}

/** One Automerge change in an entry, decoded by the caller. Lists of changes have the order of `entry.chunks`. */
export interface AppendedChange {
  readonly hash: Hash
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /**
   * Set when the change binds its session actor to the entry's principal: other principals can then push changes of
   * this actor only as adopted ones. Absent for derived actors and adopted changes.
   */
  readonly binds?: true
}

export interface PageEntry {
  readonly position: number
  /** The key of the entry's entity (`Log.key`), which identifies the entity without decoding the entry. */
  readonly key: string
  /** The entry, decoded when this property is first read. */
  readonly entry: Entry
  /** The entry's encoding, `encodeEntry(entry)`. */
  readonly bytes: Uint8Array
}

/** Consecutive entries of the flushed log. */
export interface Page {
  readonly entries: readonly PageEntry[]
  /**
   * The cursor after the last entry. It comes with the entries, because `Log.end` may have moved on since the read.
   */
  readonly cursor: Cursor
}

/**
 * The log of one workspace. Promises reject with `CLOSED` after the log was closed, and with `LOG_FAILED` when the disk
 * has failed or the wanted entries are lost; a later call may then succeed. From the moment when damage is found until
 * the log has been mended, `append` throws, and look-ups and reads wait. Entries that are not flushed at that moment
 * may be lost.
 */
export interface Log {
  /** The cursor after the last flushed entry. */
  readonly end: Cursor
  /**
   * Whether the log serves changes of this entity that no look-up finds, because they depend on a lost change. A
   * replica whose heads of the entity equal the log's may lack these changes. Also true for every entity once there are
   * more such changes than the log can list.
   */
  hasOrphans(entity: string): boolean
  /** Returns the bytes of flushed entries after this position; an estimate is enough. */
  bytesAfter(position: number): number
  /** Position of the last appended entry, flushed or not. */
  readonly appended: number

  /**
   * This look-up and the three below it each describe the log at some moment between the call and the answer. A caller
   * that appends on the basis of several answers must keep other callers from appending meanwhile. After a failed flush
   * or damage, look-ups do not see the lost entries.
   */
  entity(entity: string): Awaitable<EntityState | undefined>
  known(entity: string, hash: Hash): Awaitable<Known | undefined>
  tail(entity: string, actor: Actor): Awaitable<Tail | undefined>
  /** Returns the principal to which a session actor is bound. */
  binding(actor: Actor): Awaitable<string | undefined>

  /**
   * Appends an entry and returns its position. The four look-ups above see the entry at once. `bytes` is
   * `encodeEntry(entry)`, for a caller that has it already. If it throws, nothing was appended:
   * - `CLOSED`: the log is closed;
   * - `LOG_FAILED`: the log is damaged and not mended yet;
   * - `TOO_LARGE`: the entry has more bytes than the log accepts, which is more than any message may have;
   * - a RangeError: no record can hold a number of 2^32 or more, or a maxOp below startOp - 1.
   */
  append(entry: Entry, changes: readonly AppendedChange[], bytes?: Uint8Array): number
  /**
   * Resolves with the cursor at `position` once everything up to `position` is on the disk. Rejects with `LOG_FAILED`
   * when the entry with this position is lost.
   */
  flushed(position: number): Promise<Cursor>
  /**
   * Whether the flushed log has this cursor: an entry with this position and this running hash, and no loss after it.
   * Every log holds position 0.
   */
  holds(cursor: Cursor): Awaitable<boolean>
  /** Returns the entity's key as in `PageEntry.key`: 16 bytes of a hash. */
  key(entity: string): string
  /**
   * Returns the entries after `position`: at least one if there is one, then as many as fit into `bytes`, where only
   * `PageEntry.bytes` count.
   */
  since(position: number, bytes: number): Promise<Page>
  /** Calls `f` after each flush. Returns a function that unsubscribes `f`. */
  onFlush(f: () => void): () => void
  /**
   * Calls `f` each time that flushed entries were found damaged and the log goes on without them. The log then holds
   * none of the cursors that it gave before, and `end` is a new one. The relay must then send `CURSOR_UNKNOWN` to the
   * connected replicas, so that they heal. Otherwise they would never give back the lost entries that they hold.
   * Returns a function that unsubscribes `f`.
   */
  onBreak(f: () => void): () => void
  /** Gives back the log that `Logs.open` lent. It stays open for its other borrowers. */
  close(): Promise<void>
}

export interface Logs {
  /**
   * Lends a workspace's log until `Log.close` was called as often as `open`. All borrowers get the same object. A
   * limited number of logs stay open although nobody has borrowed them. A new log writes nothing to the disk before its
   * first append.
   */
  open(workspace: string): Promise<Log>
  /**
   * Resolves if entries can be stored now. Rejects with `LOG_FAILED` if the folder cannot be written to. Does not
   * reject because of a single log that cannot be opened or flushed, since the other logs work.
   */
  check(): Promise<void>
  /** Flushes and closes all logs. */
  close(): Promise<void>
}
