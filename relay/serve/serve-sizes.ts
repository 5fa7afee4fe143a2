import { limits } from "../../src/wire/protocol.ts"

/**
 * The limits of serving: how much the relay keeps in memory, sends or reads in one step, and how long it waits.
 * Operators never set them. Tests make them tiny so that a short test reaches them. Clients notice only `fragments`
 * (section 7 of docs/protocol.md) and the times.
 */
export interface ServeSizes {
  /** Bytes of recent entries that all workspaces of the relay keep in memory together. */
  readonly recentBytes: number
  /** Bytes of recent entries in one frame; a single entry may have more. */
  readonly frameBytes: number
  /** Bytes of entries that one read of the log takes for a connection; a single entry may have more. */
  readonly readBytes: number
  /**
   * Bytes that were given to a socket and that the network has not taken. Above this limit the relay neither sends to
   * the connection nor reads from it. While many sockets hold many bytes, the limit is lower: see `Sockets`.
   */
  readonly socketBytes: number
  /** Bytes of memory charged for a connection's unanswered frames. Above this limit the relay does not read from it. */
  readonly unansweredBytes: number
  /** Bytes of memory for all connections together. Above this limit, connections are cut off: see `MemoryBudget`. */
  readonly memoryBytes: number
  /**
   * Number of entities and heads (the replica's and the log's) of a `have` that are compared before other work has its
   * turn. At least 1.
   */
  readonly comparedHeads: number
  /** Number of rejects of a push that are sent before other work has its turn. At least 1. */
  readonly sentRejects: number
  /** Bytes of a push's changes that are judged before other work has its turn. */
  readonly judgedBytes: number
  /** Look-ups that the walk over the ancestors of one change may make. A change whose walk takes more is admitted. */
  readonly walkLookUps: number
  /** Look-ups that all walks of one push may make. Changes that would need more are admitted. */
  readonly pushLookUps: number
  /**
   * A connection that has pushed this many bytes of junk is ended. Each push with junk in it adds 64 KiB: see `Junk`.
   */
  readonly junkBytes: number
  /** ms after a failure of a log until a replica may pull or push again. */
  readonly retryMs: number
  /** The most fragments of one WebSocket message. */
  readonly fragments: number
  /** The most pieces of an incomplete frame that are buffered. A piece is the bytes of one read of the socket. */
  readonly pieces: number
  /** ms within which an HTTP request, the upgrade included, must arrive in full. */
  readonly requestMs: number
  /** ms within which a connection must send its first pull, push or have. */
  readonly firstMessageMs: number
  /** ms of silence after which a socket is closed: see `Silence`. Clients ping every 15 s. */
  readonly silentMs: number
  /** If this many bytes of an unfinished frame arrive within `silentMs`, the other side counts as present. */
  readonly silentBytes: number
  /** ms that one frame may take, in either direction, while no other frame comes. */
  readonly frameMs: number
  /** ms of silence after which the operating system probes whether the other side is still there. */
  readonly keepAliveMs: number
  /** ms within which received messages must be answered when the relay stops. */
  readonly answerMs: number
  /** ms within which the other side must answer a close frame. */
  readonly closeMs: number
}

export const usualServeSizes: ServeSizes = {
  recentBytes: 8 * 2 ** 20,
  frameBytes: 2 ** 20,
  // A frame with this many bytes of entries fits into the buffer of 64 KiB in which frames are encoded without a new
  // allocation. With reads of 1 MiB instead, the heap was 1.5 times as large.
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
  // Until a message is complete, a fragment of one byte keeps all bytes in memory that were read together with it, up
  // to 64 KiB. Chromium sends 4 MiB in more than 32 fragments and fewer than 64.
  fragments: 256,
  // Each piece takes some 195 bytes besides its content, so a frame that comes byte by byte takes 3 MiB at most. Over a
  // line with packets of 576 bytes, 4 MiB come in 8,000 pieces.
  pieces: 16_384,
  requestMs: 10_000,
  firstMessageMs: 30_000,
  silentMs: 90_000,
  silentBytes: 2 ** 16, // in `silentMs`: 0.7 kB/s, which any usable line carries
  frameMs: 900_000, // enough for 4 MiB at 4.7 kB/s
  keepAliveMs: 60_000,
  answerMs: 10_000,
  closeMs: 5_000,
}
