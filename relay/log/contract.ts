/**
 * The relay's seam to a disk: one append-only log per workspace.
 *
 * Entries are appended in memory order at once and flushed together (group commit); only flushed entries are ever
 * served, acknowledged or compared. A cursor names a place by position and running hash, so a log that was restored from
 * an older backup, truncated, damaged or replaced is noticed. Every implementation runs `log.conformance.ts`; the one on
 * segment files is `openLogs` of `log-files.ts`.
 *
 * An entry's position is that of the place right behind it: what `append` returns, `Known.position` and
 * `Page.entries[].position` say the same number, `flushed` takes it and `since` goes on after it. Positions grow along
 * the log, but not always by one: one that was given to an entry which then failed to be flushed is not used again, so
 * that nobody mistakes another entry's flush for its own.
 */
import type { Actor, Cursor, Entry, Hash } from "../../src/wire/protocol.ts"

/** At once where all that it takes is in memory. */
export type Awaitable<T> = T | Promise<T>

/** What admission remembers of one change. */
export interface Known {
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** startOp + ops - 1; startOp - 1 when it has no operations */
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /** Its entry's: `flushed(position)` says when it is durable. */
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
  /** The tombstone's position. */
  readonly purged?: number
}

/** A change inside an entry as the caller has parsed it, in the order of `entry.chunks`. */
export interface AppendedChange {
  readonly hash: Hash
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /** Binds this session actor to the principal of the entry (absent for derived actors and adopted changes). */
  readonly binds?: true
}

export interface PageEntry {
  readonly position: number
  /** Its entity's, `Log.key(entry.entity)`: tells without decoding whether it is one of those that are looked for. */
  readonly key: string
  /** Decoded when it is first asked for. */
  readonly entry: Entry
  /** Its encoding, `encodeEntry(entry)`. */
  readonly bytes: Uint8Array
}

/** A page of the flushed log. The cursor belongs to exactly these entries; asking for it separately would race. */
export interface Page {
  readonly entries: readonly PageEntry[]
  /** The place after the last of them. */
  readonly cursor: Cursor
}

/**
 * Rejections are `LOG_FAILED` (the disk failed, or what was asked for is lost; later calls may succeed) or `CLOSED`.
 * When damage is found, all that is not flushed fails, and look-ups and reads wait until the log has been mended.
 */
export interface Log {
  /** The place after the last flushed entry. */
  readonly end: Cursor
  /**
   * Records were lost once. What rests on them is served and not known, so equal heads do not mean that a replica holds
   * everything that is served of an entity.
   */
  readonly harmed: boolean
  /** Bytes of flushed entries after this position (an estimate is enough). */
  bytesAfter(position: number): number
  /** Position of the last appended entry, flushed or not. */
  readonly appended: number

  /**
   * The four look-ups answer as of some moment between the call and the answer: whoever appends on the strength of
   * several lets nobody else append meanwhile. After a failed flush or damage they know nothing of what was lost.
   */
  entity(entity: string): Awaitable<EntityState | undefined>
  known(entity: string, hash: Hash): Awaitable<Known | undefined>
  tail(entity: string, actor: Actor): Awaitable<Tail | undefined>
  /** The principal that a session actor is bound to. */
  binding(actor: Actor): Awaitable<string | undefined>

  /**
   * Appends at once and returns the entry's position; visible to the four look-ups above immediately. `bytes` spares
   * the encoding where the caller has it: `encodeEntry(entry)`. Throws what the promises here reject with; `TOO_LARGE`
   * for an entry of more bytes than the log takes (more than any message may have), and a RangeError for a number that
   * no record can hold (2^32). Then nothing has happened.
   */
  append(entry: Entry, changes: readonly AppendedChange[], bytes?: Uint8Array): number
  /** Resolves with the place after `position` once everything before it is on the disk; LOG_FAILED when it never will be. */
  flushed(position: number): Promise<Cursor>
  /** Whether this log, as flushed, passes through that place. Position 0 is in every log. */
  holds(cursor: Cursor): Awaitable<boolean>
  /** By what `since` names the entities of entries; shorter than most ids. */
  key(entity: string): string
  /** Entries after `position`, at least one if there is one, then as many as fit into `bytes` of `bytes`-fields. */
  since(position: number, bytes: number): Promise<Page>
  /** Called after each flush with nothing but the fact. Returns the unsubscription. */
  onFlush(f: () => void): () => void
  /**
   * Called after flushed entries were found damaged and the log has gone on without them: no cursor given out before
   * is held any more, and `end` is another one. Whoever follows the log must begin again (pull, be told CURSOR_UNKNOWN,
   * heal), or what its replica still holds of the lost entries is never given back. Returns the unsubscription.
   */
  onBreak(f: () => void): () => void
  /** Gives back what `Logs.open` lent; the log goes on for others. */
  close(): Promise<void>
}

export interface Logs {
  /**
   * Lends a log until it is closed as often as it was opened; the same object for the same workspace. Only so many that
   * nobody has borrowed stay open. Nothing is written before the first append.
   */
  open(workspace: string): Promise<Log>
  /** Flushes and closes them all. */
  close(): Promise<void>
}
