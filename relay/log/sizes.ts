/**
 * The sizes at which a log changes how it works. An app never sets them. Tests make them tiny, so that a short history
 * reaches every one of them. What a file's format fixes (a block of an index, a segment's header) is not among them.
 */
import { type SegmentSizes, usualSegmentSizes } from "./segment/open-segment.ts"

export interface LogSizes extends SegmentSizes {
  /** Logs that nobody has borrowed and that stay open, however many are borrowed. */
  readonly logs: number
  /** Bytes of memory that logs which nobody has borrowed may take, about, before the first of them are shut. */
  readonly idleBytes: number

  /** ms for which the answer to whether entries can be stored counts. */
  readonly healthMs: number

  /** Descriptors for reading that all logs together keep open between reads. */
  readonly openFiles: number
  /** Bytes of blocks of segments and indexes that all logs together keep in memory; 8 blocks at the least. */
  readonly blockBytes: number
  /** Bytes that one read takes where many records are read, and how many buffers of that size are kept. */
  readonly bufferBytes: number
  readonly buffers: number
  /** Bytes that one read takes while a segment is scanned. */
  readonly scanBytes: number
  /** Bytes that are read to look into one record; at least 60, the fixed part of a record's preamble. */
  readonly preambleBytes: number
  /** Records of an open segment that one step of a page finds. */
  readonly offsets: number

  /** Bytes of memory with which a group of records begins, and the most that is kept for the group after it. */
  readonly groupBytes: number
  readonly spareGroupBytes: number
  /** Entries that are appended before a seal that failed is tried again. */
  readonly sealAgain: number
  /** Index pointers, or other small things, that sealing encodes before others have their turn: a few ms. */
  readonly sealSlice: number
  /** Entities that sealing looks up before others have their turn. */
  readonly lookUpSlice: number

  /**
   * Entities whose key and sealed state are remembered: a push asks for them several times, and appends a moment later.
   */
  readonly recentEntities: number
  /** Actors whose key is remembered: those who write at the same time. */
  readonly recentActors: number
  /** Hashes of one entity in a linked chain before they move into a map: each of its changes walks the chain. */
  readonly longChain: number
}

export const usualLogSizes: LogSizes = {
  ...usualSegmentSizes,
  logs: 64,
  idleBytes: 64 * 2 ** 20,
  healthMs: 5_000,
  openFiles: 128,
  blockBytes: 8 * 2 ** 20,
  bufferBytes: 2 ** 18,
  buffers: 4,
  scanBytes: 2 ** 16,
  preambleBytes: 512,
  offsets: 512,
  groupBytes: 2 ** 13,
  spareGroupBytes: 2 ** 16,
  sealAgain: 1000,
  sealSlice: 2048,
  lookUpSlice: 1024,
  recentEntities: 1024,
  recentActors: 256,
  longChain: 16,
}
