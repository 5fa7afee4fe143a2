/**
 * The limits of a log, and how much it does at a time. An app never sets them. Tests make them tiny, so that a short
 * history reaches every one of them. Sizes that a file's format fixes (a block of an index, a segment's header) are not
 * among them.
 */
import { type SegmentSizes, usualSegmentSizes } from "./segment/open-segment.ts"

export interface LogSizes extends SegmentSizes {
  /** Logs that stay open at most although nobody has borrowed them. */
  readonly logs: number
  /** Bytes of memory, about, that those logs may take together before the oldest of them are shut. */
  readonly idleBytes: number

  /** How long an answer of `Logs.check` counts, ms. */
  readonly healthMs: number

  /** Descriptors for reading that all logs together keep open between reads. */
  readonly openFiles: number
  /** Bytes of blocks of segments and indexes that all logs together keep in memory; 8 blocks at the least. */
  readonly blockBytes: number
  /** Bytes of one read where many records are read. */
  readonly bufferBytes: number
  /** Buffers of `bufferBytes` that are kept between reads. */
  readonly buffers: number
  /** Bytes of one read while a segment is scanned. */
  readonly scanBytes: number
  /** Bytes of the first read of one record's preamble; at least 60, its fixed part. */
  readonly preambleBytes: number
  /** Records that `OpenSegment.offsetsAfter` gives at a time. */
  readonly offsets: number

  /** Bytes of memory that a group of records begins with. */
  readonly groupBytes: number
  /** Bytes of a group's memory that are kept at most for the next group. */
  readonly spareGroupBytes: number
  /** Entries appended after a failed seal before it is tried again. */
  readonly sealAgain: number
  /** Index pointers, or other small things, that sealing encodes at a time: a few ms of work. */
  readonly sealSlice: number
  /** Entities that sealing looks up at a time. */
  readonly lookUpSlice: number

  /** Entities whose key and sealed state are remembered: a push asks for them several times before it appends. */
  readonly recentEntities: number
  /** Actors whose key is remembered: enough for those who write at the same time. */
  readonly recentActors: number
  /**
   * Hashes of one entity in a linked chain before they move into a map, because each of its changes walks the chain.
   */
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
