/**
 * The sizes of a log: its limits, and how many steps of long work run before other work has its turn. No option of the
 * relay sets them. Tests make them tiny, so that a short history reaches every limit. Sizes that a file's format fixes
 * (a block of an index, a segment's header) are not here.
 */
export interface LogSizes {
  // A segment is full, and is then sealed, when it reaches any of the next four sizes.
  /** Bytes of the segment's file; must be more than a header has. */
  readonly segmentBytes: number
  readonly segmentEntries: number
  /** Changes in the segment. Bounds the memory of its index, which takes up to 15 MiB with the usual size. */
  readonly segmentChanges: number
  /**
   * Bytes of memory that the entities' states before the segment take. Bounds the memory of the index, and the bytes of
   * the index on the disk, for entities with many heads: a state with 1,024 heads takes 90 kB.
   */
  readonly segmentStateBytes: number

  /** The most logs that stay open although nobody has borrowed them. */
  readonly logs: number
  /**
   * Approximate bytes of memory that idle logs may take together. Above this limit, the logs that are idle longest are
   * shut.
   */
  readonly idleBytes: number

  /** ms for which `Logs.check` reuses the result of its last trial write. */
  readonly healthMs: number

  /** Number of descriptors for reading that all logs together keep open between reads. */
  readonly openFiles: number
  /** Bytes of blocks of segments and indexes that all logs together keep in memory. At least 8 blocks are kept. */
  readonly blockBytes: number
  /** Bytes of one read that reads many records. */
  readonly bufferBytes: number
  /** Number of buffers of `bufferBytes` that are kept between reads. */
  readonly buffers: number
  /** Bytes of one read while a segment is scanned. */
  readonly scanBytes: number
  /** Bytes of the first read of one record's facts. At least 44, because these bytes say how long the facts are. */
  readonly preambleBytes: number
  /** The most records for which `OpenSegment.offsetsAfter` returns offsets in one call. */
  readonly offsets: number

  /** Bytes of memory that a new group of records takes before it grows. */
  readonly groupBytes: number
  /** A group's memory is kept for the next group if it has at most this many bytes. */
  readonly spareGroupBytes: number
  /** Number of entries that are appended after a failed seal before sealing is tried again. */
  readonly sealAgain: number
  /** Number of index pointers, or other small things, that sealing encodes in one slice: a few ms of work. */
  readonly sealSlice: number
  /** The most changes that the list of orphans in the index of a sealed segment may have. */
  readonly orphans: number
  /** Number of entities that sealing looks up in one slice. */
  readonly lookUpSlice: number

  /**
   * Number of entities of a log whose key is cached, and whose state at the end of the sealed segments is cached. A
   * push asks for both several times before it appends.
   */
  readonly recentEntities: number
  /** Approximate bytes of memory that the cached states of one log may take. */
  readonly recentStateBytes: number
  /** Number of actors whose key is cached. It is enough for the actors that write at the same time. */
  readonly recentActors: number
  /**
   * The most hashes in a linked chain of one entity (`EntityHeads`). A longer chain moves into a map, because each
   * change of the entity walks the chain.
   */
  readonly longChain: number
}

export const usualLogSizes: LogSizes = {
  segmentBytes: 16 * 2 ** 20,
  segmentEntries: 20_000,
  segmentChanges: 2 ** 16,
  segmentStateBytes: 8 * 2 ** 20,
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
  orphans: 1024,
  lookUpSlice: 1024,
  recentEntities: 1024,
  recentStateBytes: 2 ** 20,
  recentActors: 256,
  longChain: 16,
}
