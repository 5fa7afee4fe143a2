import { limits } from "../../src/wire/protocol.ts"

/**
 * The limits of serving: how much it keeps in memory, sends or reads at once, and how long it waits. Operators never
 * set them. Tests make them tiny so that a short test reaches them. Clients notice only `fragments` (section 7 of
 * docs/protocol.md) and the times.
 */
export interface ServeSizes {
  /** Bytes of recent entries that all workspaces of the relay keep in memory together. */
  readonly recentBytes: number
  /** Bytes of recent entries in one frame; a single entry may have more. */
  readonly frameBytes: number
  /** Bytes of entries that one read of the log takes for a connection; a single entry may have more. */
  readonly readBytes: number
  /**
   * Bytes given to a socket and not yet taken by the network. Above it the connection gets no more, and is not read.
   * While many sockets hold much, it is less: see `Sockets`.
   */
  readonly socketBytes: number
  /** Bytes of memory charged for the unanswered frames of a connection. Above it the connection is not read. */
  readonly unansweredBytes: number
  /** Bytes of memory that all connections may take together. Above it, those that take the most are cut off. */
  readonly memoryBytes: number
  /** Entities and heads of a `have`, the replica's and the log's, that are compared at a time. At least 1. */
  readonly comparedHeads: number
  /** Rejects of a push that are sent at a time. At least 1. */
  readonly sentRejects: number
  /** Bytes of changes of a push that are judged at a time. */
  readonly judgedBytes: number
  /** Look-ups that the walk over the ancestors of one change may make. After that the change is let in. */
  readonly walkLookUps: number
  /** Look-ups that all walks of one push may make. After that its changes are let in. */
  readonly pushLookUps: number
  /**
   * Bytes of chunks that are pushed in vain, and 64 KiB for each push with any, after which the connection that has
   * sent them is ended.
   */
  readonly junkBytes: number
  /** ms after which a replica may ask again for a log that has failed. */
  readonly retryMs: number
  /** Fragments of one WebSocket message. */
  readonly fragments: number
  /** Pieces of a frame, as the network brings them, that wait for the rest of it. */
  readonly pieces: number
  /** ms for an HTTP request to arrive in full, the upgrade included. */
  readonly requestMs: number
  /** ms that a connection may be open before its first pull, push or have. */
  readonly firstMessageMs: number
  /** ms without a frame from the other side after which a socket is closed. Clients ping every 15 s. */
  readonly silentMs: number
  /** Bytes of an unfinished frame that count as much as a frame when they come in `silentMs`. */
  readonly silentBytes: number
  /** ms that one frame may take, in either direction, while nothing else comes. */
  readonly frameMs: number
  /** ms of silence after which the operating system asks whether the other side is still there. */
  readonly keepAliveMs: number
  /** ms for received messages to be answered when the relay stops. */
  readonly answerMs: number
  /** ms for the other side to answer a close frame. */
  readonly closeMs: number
}

export const usualServeSizes: ServeSizes = {
  recentBytes: 8 * 2 ** 20,
  frameBytes: 2 ** 20,
  // Such a frame fits into the 64 KiB in which frames are encoded without a new allocation, and little memory is alive
  // at a time. With reads of 1 MiB the heap was half as large again.
  readBytes: 60 * 1024,
  socketBytes: 2 ** 20,
  unansweredBytes: limits.message,
  memoryBytes: 256 * 2 ** 20,
  comparedHeads: 4096,
  sentRejects: 128,
  judgedBytes: 2 ** 17,
  walkLookUps: 1_000,
  pushLookUps: 20_000,
  junkBytes: 2 ** 20,
  retryMs: 10_000,
  // Until a message is whole, a fragment of one byte keeps all that was read together with it, up to 64 KiB. Chromium
  // sends 4 MiB in more than 32 fragments and fewer than 64.
  fragments: 256,
  // Each piece costs some 115 bytes beyond its own, so a frame that comes byte by byte costs 2 MiB at most. Over a line
  // with packets of 576 bytes, 4 MiB come in 8,000 pieces.
  pieces: 16_384,
  requestMs: 10_000,
  firstMessageMs: 30_000,
  silentMs: 90_000,
  silentBytes: 2 ** 16, // 0.7 kB/s: a frame of 650 kB in `frameMs`, and slower than that no line is
  frameMs: 900_000, // 4 MiB with 4.7 kB/s
  keepAliveMs: 60_000,
  answerMs: 10_000,
  closeMs: 5_000,
}
