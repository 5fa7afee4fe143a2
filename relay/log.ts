/**
 * The relay's seam to a disk: one append-only log per workspace.
 *
 * Entries are appended in memory order at once and flushed together (group commit); only flushed entries are ever
 * served, acknowledged or compared. A cursor names a place by position and running hash, so a log that was restored from
 * an older backup, truncated, damaged or replaced is noticed. Every implementation runs `relay/log.conformance.ts`.
 */
import type { Actor, Cursor, Entry, Hash } from "../src/protocol.ts"

type Awaitable<T> = T | Promise<T>

/** What admission remembers of one change. */
export interface Known {
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** startOp + ops - 1; startOp - 1 when it has no operations */
  readonly maxOp: number
  readonly deps: readonly Hash[]
  /** Its entry is at this position: `flushed(position)` says when it is durable. */
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

/** A page of the flushed log. The cursor belongs to exactly these entries; asking for it separately would race. */
export interface Page {
  readonly entries: readonly { readonly entry: Entry; readonly position: number; readonly bytes: Uint8Array }[]
  /** The place after the last of them. */
  readonly cursor: Cursor
}

export interface Log {
  /** The place after the last flushed entry. */
  readonly end: Cursor
  /** Bytes of flushed entries after this position (an estimate is enough). */
  bytesAfter(position: number): number
  /** Position after the last appended entry, flushed or not. */
  readonly appended: number

  entity(entity: string): Awaitable<EntityState | undefined>
  known(entity: string, hash: Hash): Awaitable<Known | undefined>
  tail(entity: string, actor: Actor): Awaitable<Tail | undefined>
  /** The principal that a session actor is bound to. */
  binding(actor: Actor): Awaitable<string | undefined>

  /** Appends at once and returns the position after it; visible to the four look-ups above immediately. */
  append(entry: Entry, changes: readonly AppendedChange[]): number
  /** Resolves with the place after `position` once everything before it is on the disk; LOG_FAILED when it never will be. */
  flushed(position: number): Promise<Cursor>
  /** Whether this log, as flushed, passes through that place. */
  holds(cursor: Cursor): Awaitable<boolean>
  /** Entries after `position`, at least one if there is one, then as many as fit into `bytes` of `bytes`-fields. */
  since(position: number, bytes: number): Promise<Page>
  /** Called after each flush with nothing but the fact. Returns the unsubscription. */
  onFlush(f: () => void): () => void
  close(): Promise<void>
}

export interface Logs {
  /** Opens on first use; the same object for the same workspace while it is open. */
  open(workspace: string): Promise<Log>
  close(): Promise<void>
}
