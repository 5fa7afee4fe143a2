/**
 * The sizes at which the library changes how it works: when records move into pages, how much is done in one step, how much
 * is kept in memory or under way. Apps never set them. The simulation makes them tiny, so that every one is reached in
 * every run; with the usual ones a run of forty commands reaches none.
 */
export interface Sizes {
  /** Rows in one page. */
  readonly rowPage: number
  /** New rows in one commit that make pages of their own at once. */
  readonly rowsAtOnce: number
  /** Rows in front of their pages before they are folded in. */
  readonly looseRows: number
  /** Outbox records in one page, new ones in one commit that make pages at once, and those in front of their pages. */
  readonly outboxPage: number
  readonly outboxAtOnce: number
  readonly looseOutbox: number
  /** Pages that one fold rewrites. */
  readonly foldedPages: number
  /** Commits that the journal keeps; a writer that is further behind reads everything again. */
  readonly journal: number
  /**
   * Entities and pages that one journal record names; a commit that touched more has everything read again. A full group and
   * a fold of rows stay below it.
   */
  readonly journalNames: number
  /** Live documents that are kept when no step uses them. */
  readonly liveDocuments: number
  /** Steps in one group: bounds how long a write waits for its turn, and how many documents are live at once. */
  readonly group: number
  /** Stale entities that one step projects: bounds how long a write waits behind them. */
  readonly projectAtOnce: number
  /** Bytes of chunks that arrivals keep in memory for the projection that follows. */
  readonly arrivals: number
  /** Change records that one read of a `have` takes. */
  readonly haveRecords: number
  /** Bytes of one `have`. */
  readonly haveBytes: number
  /** Bytes of chunks in one push: small enough that an ack comes soon, large enough that a backlog does not take for ever. */
  readonly pushBytes: number
  /** Pushes that wait for their ack, and the bytes of chunks in all of them together. */
  readonly pushes: number
  readonly pushWindow: number
  /** Bytes of items that the relay may send before this replica has committed them. */
  readonly credit: number
}

export const usualSizes: Sizes = {
  rowPage: 1000,
  rowsAtOnce: 256,
  looseRows: 256,
  outboxPage: 2048,
  outboxAtOnce: 256,
  looseOutbox: 1024,
  foldedPages: 4,
  journal: 1000,
  journalNames: 600,
  liveDocuments: 64,
  group: 512,
  projectAtOnce: 32,
  arrivals: 4 * 2 ** 20,
  haveRecords: 1000,
  haveBytes: 2 ** 18,
  pushBytes: 2 ** 18,
  pushes: 8,
  pushWindow: 2 ** 20,
  credit: 4 * 2 ** 20,
}
