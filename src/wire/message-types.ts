/**
 * The types of the wire: every message and entry as an object in memory, and the limits. `protocol.ts` encodes these
 * objects as bytes, and exports all of this file again. Import from `protocol.ts`.
 */

import type { Code } from "../base/errors.ts"
import { usualSizes } from "../base/replica-sizes.ts"

/**
 * The WebSocket subprotocol. A client offers it in the upgrade request, together with its token: `headwater.2,
 * bearer.<base64url of the token's UTF-8>`.
 */
export const SUBPROTOCOL = "headwater.2"

/** A change hash: 64 lower-case hex digits in memory, 32 bytes on the wire. */
export type Hash = string
/** An actor: 32 hex digits in memory, 16 bytes on the wire. */
export type Actor = string
export type Access = "read" | "write" | "admin"

/**
 * One of a set of words, to which newer versions may add words. An unknown word is read as it is, so that the rest of
 * the frame can be read. The code that needs the meaning of an unknown word throws `PROTOCOL_VERSION`, which stops only
 * that workspace.
 */
export type Word<Known extends string> = Known | (string & Record<never, never>)

/**
 * An opaque place in a log: its position (8 bytes, big-endian), then 8 bytes of a hash of the log up to that place. The
 * position grows along the log, not always by one. A replica may compare the positions of two cursors (`position`), but
 * must not interpret anything else of a cursor.
 */
export type Cursor = Uint8Array

/** Makes a cursor. `hash8`: 8 bytes of a hash of the log up to this position. */
export function cursorOf(position: number, hash8: Uint8Array): Cursor {
  const cursor = new Uint8Array(16)
  for (let i = 7, rest = position; rest > 0; i--, rest = Math.floor(rest / 256)) cursor[i] = rest % 256
  cursor.set(hash8, 8)
  return cursor
}

/** The position of a cursor. Of two places in one log, the further one has the larger position. */
export function position(cursor: Cursor): number {
  let position = 0
  for (let i = 0; i < 8; i++) position = position * 256 + cursor[i]!
  return position
}

export const limits = {
  /** bytes of one frame */
  message: 4 * 2 ** 20,
  /** bytes of one chunk */
  chunk: 2 ** 20,
  /** operations of one change: a few run-length encoded bytes may stand for any number of operations */
  ops: 2 ** 18,
  /** chunks of one frame, in all its entries: the receiver makes and hashes them in one go, which takes 20 ms */
  chunks: 1024,
  /** entries of one push */
  entries: 1024,
  /**
   * parts of one push: chunks, heads, blobs and authors of its entries. Even the shortest part takes some 250 bytes of
   * memory
   */
  parts: 8192,
  /** entities of one `have`, `want`; pairs of one `grants` */
  page: 1024,
  /** items of one `entries` */
  items: 2 ** 16,
  /** heads of one entity, deps of one change */
  heads: 1024,
  /** workspaces on one connection, including those that have left it */
  workspaces: 256,
  /** bytes of one `presence` */
  presence: 2 ** 14,
  /** most bytes of items that a replica lets the relay send before it has committed them */
  credit: usualSizes.credit,
} as const
export interface Limits {
  readonly message: number
  readonly chunk: number
  readonly ops: number
}

/** One entry of a log. `docs/protocol.md` has the meaning of each field on the wire. */
export interface Entry {
  readonly entity: string
  readonly collection: string
  readonly kind: Word<"change" | "snapshot" | "tombstone">
  /** Of changes: one chunk or more, in causal order. Of a snapshot: one chunk. Of a tombstone: none. */
  readonly chunks: readonly Uint8Array[]
  /**
   * The principal that pushed the entry, as the relay has noted it. Absent in a push of own changes. In a push with
   * `adopt`: the principal to which the pushing replica ascribes the changes.
   */
  readonly by?: string
  /** Present when the entry was pushed with `adopt`: then the replica that pushed it has named `by`, not the relay. */
  readonly adopted?: true
  /**
   * Reserved for clients that give their changes ids of their own: 16 bytes of sha256 of the canonical JSON [client id,
   * client change id]. No two entries of one principal may have the same.
   */
  readonly once?: Uint8Array
  /** The relay appends the entry only if the entity's heads are these. Otherwise it refuses the entry: HEADS_MOVED. */
  readonly if?: readonly Hash[]
  /** Reserved: encryption key id. */
  readonly key?: Uint8Array
  /** Reserved: attachments. */
  readonly blobs?: readonly Uint8Array[]
  /** In a snapshot: which principal pushed the changes of each actor, as far as the relay knows. */
  readonly authors?: readonly (readonly [Actor, string])[]
  /** In a snapshot: the entity's row as canonical JSON in UTF-8, and the version of the projection that made it. */
  readonly row?: Uint8Array
  readonly projection?: string
  /**
   * In a tombstone: a MAC of 32 bytes, made with a key that only the relay has. Without it, anybody could make a
   * tombstone, push it in a heal, and so purge an entity.
   */
  readonly mac?: Uint8Array
}

/** How many parts an entry has, as `limits.parts` counts them. */
export const partsOf = ({ chunks, if: heads = [], blobs = [], authors = [] }: Entry): number =>
  chunks.length + heads.length + blobs.length + authors.length

/**
 * One item of an `entries` message: an entry or a run. A run stands for entries that the receiver itself has pushed: in
 * the push with the id `own`, the entries with the indexes `from` up to, but not including, `to`.
 *
 * `at`: a cursor to which the receiver raises its reach. For a snapshot, it is the cursor of the newest change that the
 * snapshot covers. For a tombstone, it is the tombstone's own cursor. The relay may send a snapshot or a tombstone in
 * place of an earlier entry of the log, so `at` may be further along the log than the message's cursor.
 */
export type Item =
  | { readonly entry: Entry; readonly at?: Cursor }
  | { readonly own: string; readonly from: number; readonly to: number }
export type EntityHeads = readonly [entity: string, heads: readonly Hash[]]

// client -> relay ---------------------------------------------------------------------------------------------------
export interface Pull {
  readonly t: "pull"
  readonly w: string
  /**
   * `null`: send from the beginning. Absent: go on where the stream of this connection is, with `credit` more bytes.
   */
  readonly cursor?: Cursor | null
  /** The furthest place in the log that the replica has learned of. If absent or null: none beyond the cursor. */
  readonly reach?: Cursor | null
  /** Bytes of items that the relay may send now. */
  readonly credit: number
}
export interface Push {
  readonly t: "push"
  readonly w: string
  /** Names this push in answers on this connection: 1 to 32 printable ASCII characters. */
  readonly id: string
  readonly entries: readonly Entry[]
  readonly adopt?: true
}
export interface Have {
  readonly t: "have"
  readonly w: string
  /** The heads that the replica has of each entity. */
  readonly page: readonly EntityHeads[]
  /** Whether another page of the same `have` follows. */
  readonly more: boolean
  /**
   * Present in a `have` that is sent after a refusal with DEPS_UNKNOWN or SEQ_GAP. Such a `have` is about the entities
   * of `page` only. The relay answers it with `want` messages, and sends no entries.
   */
  readonly single?: true
}
export interface Purge {
  readonly t: "purge"
  readonly w: string
  readonly id: string
  readonly entity: string
}
export interface Auth {
  readonly t: "auth"
  readonly token: string
}
export interface AskGrants {
  readonly t: "grants"
}
export interface Snapshot {
  readonly t: "snapshot"
  readonly w: string
  readonly entity: string
  readonly heads: readonly Hash[]
  readonly bytes: Uint8Array
  readonly by: readonly (readonly [Actor, string])[]
  /** The row at those heads: canonical JSON in UTF-8. */
  readonly row: Uint8Array
  readonly projection: string
}
export interface Digest {
  readonly t: "digest"
  readonly w: string
  readonly entity: string
  readonly heads: readonly Hash[]
  /** sha256 of the snapshot that this replica makes at those heads */
  readonly sha256: Uint8Array
  /** sha256 of the entity's row at those heads */
  readonly row: Uint8Array
  readonly projection: string
}
export interface Quarantine {
  readonly t: "quarantine"
  readonly w: string
  readonly entity: string
  readonly hash: Hash
  readonly automerge: string
}
export interface Ping {
  readonly t: "ping"
}
// both ways ---------------------------------------------------------------------------------------------------------
export interface Presence {
  readonly t: "presence"
  readonly w: string
  readonly from?: string
  readonly data: Uint8Array | null
}
// relay -> client ---------------------------------------------------------------------------------------------------
export interface Entries {
  readonly t: "entries"
  readonly w: string
  readonly items: readonly Item[]
  /** A place in the log: the relay has sent everything up to it. Absent while the items of a heal are sent. */
  readonly cursor?: Cursor
  /** Present when nothing more follows now. */
  readonly level?: true
  // The fields from here on are in the first `entries` after a pull with a cursor, and in the first and the last
  // `entries` of a heal.
  /** About how many bytes of the log follow. */
  readonly left?: number
  readonly principal?: string
  readonly access?: Word<Access>
  readonly limits?: Limits
  /** ms since 1970, by the relay's clock. */
  readonly time?: number
}
export interface Ack {
  readonly t: "ack"
  readonly w: string
  /**
   * The id of a push or a purge. All its changes, except the rejected ones, are on the relay's disk. Its `reject`
   * messages come before this ack.
   */
  readonly id: string
  /** The furthest place of these changes in the log. */
  readonly at?: Cursor
}
export interface Reject {
  readonly t: "reject"
  readonly w: string
  /** The id of the push or the purge. */
  readonly id: string
  readonly entity: string
  /** The refused change; 64 zeros when a tombstone or a purge was refused. */
  readonly hash: Hash
  readonly code: Code
  /** With DUPLICATE: the change that took effect instead. */
  readonly first?: Hash
  /** With ENTITY_PURGED: the tombstone's place. */
  readonly at?: Cursor
  /** How many ms to wait before trying again. */
  readonly retryIn?: number
}
export interface Want {
  readonly t: "want"
  readonly w: string
  /** The heads that the relay has. It lacks every change that is not among them and their ancestors. */
  readonly page: readonly EntityHeads[]
  /** Present when another `want` follows as an answer to the same `have` message. */
  readonly more?: true
}
export interface Make {
  readonly t: "make"
  readonly w: string
  readonly entity: string
  readonly heads: readonly Hash[]
}
export interface Check {
  readonly t: "check"
  readonly w: string
  readonly entity: string
  readonly heads: readonly Hash[]
}
export interface Grants {
  readonly t: "grants"
  readonly principal: string
  readonly grants: readonly (readonly [string, Word<Access>])[]
}
export interface Notice {
  readonly t: "notice"
  /** Absent when the notice is about the whole connection. */
  readonly w?: string
  readonly code: Code
  readonly limits?: Limits
  readonly access?: Word<Access>
  /** How many ms to wait before trying again. */
  readonly retryIn?: number
}
export interface Pong {
  readonly t: "pong"
}

export type ClientMessage =
  | Pull
  | Push
  | Have
  | Purge
  | Auth
  | AskGrants
  | Snapshot
  | Digest
  | Quarantine
  | Presence
  | Ping
export type RelayMessage = Entries | Ack | Reject | Want | Make | Check | Grants | Notice | Presence | Pong
