/**
 * The sizes at which the library changes how it works. They say when records move into pages, how much one step does,
 * how much stays in memory, and how much is sent before the relay answers. Apps never set them. The simulation makes
 * them tiny, so that each of its runs goes beyond all of them. A run of forty commands would reach none of the usual
 * sizes.
 */
export interface Sizes {
  /** Rows in one page. */
  readonly rowPage: number
  /** A commit with this many new rows or more writes them as pages, without keeping them loose first. */
  readonly rowsAtOnce: number
  /**
   * Loose rows are folded into pages at this number if there are at most 4 pages. With more pages, the number is
   * multiplied by a quarter of the number of pages, but at most by 16.
   */
  readonly looseRows: number
  /** Outbox records in one page. */
  readonly outboxPage: number
  /** A commit with this many new outbox records or more writes them as pages, without keeping them loose first. */
  readonly outboxAtOnce: number
  /** Loose outbox records are folded into pages at this number, which grows with the pages as `looseRows` does. */
  readonly looseOutbox: number
  /** An entity whose history has pages already is folded again once this many of its changes may move into a page. */
  readonly looseHistory: number
  /** The most changes in one block of a page of a history. A damaged byte costs all changes of its block. */
  readonly historyBlock: number
  /** A page of a history takes in changes until it has this many bytes. */
  readonly historyPage: number
  /** After this many changes a step that folds histories ends. Bounds how long a write waits for that step. */
  readonly foldedChanges: number
  /**
   * The most entities whose histories one step folds. Few, because the journal record of the step's commit names all of
   * them. 0: no history is folded.
   */
  readonly foldedHistories: number
  /** The most pages of rows or of the outbox that one fold rewrites. */
  readonly foldedPages: number
  /** How many commits the journal keeps. A writer that has missed more commits reads everything again. */
  readonly journal: number
  /**
   * How many entities and pages one journal record names at most. After a commit that touched more, other writers read
   * everything again. A fold of rows touches fewer, and so does a full group of steps that touch one entity each.
   */
  readonly journalNames: number
  /** How many bytes of memory (estimated) live documents may take while no step uses them. */
  readonly documentBytes: number
  /**
   * The most steps in one group. Bounds how long a write waits for its turn, and how many documents are live at the
   * same time.
   */
  readonly group: number
  /** The most stale entities for which one step makes documents. Bounds how long a write waits for that step. */
  readonly projectAtOnce: number
  /**
   * The most stale entities that one step projects if none of them needs a document. Projecting an entity without a
   * document costs a twentieth of projecting it with one.
   */
  readonly readAtOnce: number
  /**
   * A step that projects stale entities ends after this number of operations, because 20 kB of changes may have
   * millions of operations. Bounds how long a write waits for that step. The usual size does not end a usual step
   * early: 128 notes (`readAtOnce`) of 8,000 characters have fewer operations.
   */
  readonly readOperations: number
  /**
   * After this much work, other work has its turn. When entries are received, their bytes are counted. When rows are
   * made, the bytes or the operations of their changes are counted, whichever are more.
   */
  readonly readBytes: number
  /** The most bytes of received chunks that stay in memory, so that the projection need not read them from the disk. */
  readonly arrivals: number
  /** How many change records are read from the store at once while a `have` is made. */
  readonly haveRecords: number
  /** A page of `have` is sent when it has this many bytes (estimated). */
  readonly haveBytes: number
  /**
   * The most bytes of chunks in one push; a longer chunk is pushed alone. If this were larger, the ack of a push would
   * come late. If it were much smaller, a large outbox would take too many pushes.
   */
  readonly pushBytes: number
  /** How many pushes may wait for their ack at the same time. */
  readonly pushes: number
  /** No further push is sent while the pushes that wait for their ack have this many bytes of chunks or more. */
  readonly pushWindow: number
  /** How many bytes of items the relay may send before this replica has committed them, on a new connection. */
  readonly firstCredit: number
  /** The least that this number of bytes becomes, on a slow line. */
  readonly leastCredit: number
  /** The most that this number of bytes becomes, on a fast line. */
  readonly credit: number
  /**
   * Whether creations, and edits of closed entities, are encoded without Automerge. The simulation makes them with
   * Automerge in half of its runs.
   */
  readonly encodeWrites: boolean
  /**
   * Whether rows of closed entities are read from their changes without Automerge. The simulation makes them with
   * Automerge in half of its runs.
   */
  readonly readRows: boolean
}

export const usualSizes: Sizes = {
  rowPage: 1000,
  rowsAtOnce: 256,
  looseRows: 256,
  outboxPage: 2048,
  outboxAtOnce: 256,
  looseOutbox: 1024,
  looseHistory: 16,
  historyBlock: 64,
  historyPage: 2 ** 13,
  foldedChanges: 256,
  foldedHistories: 16,
  foldedPages: 4,
  journal: 1000,
  journalNames: 600,
  documentBytes: 64 * 2 ** 20,
  group: 512,
  projectAtOnce: 32,
  readAtOnce: 128,
  readOperations: 2 ** 20,
  readBytes: 2 ** 15,
  arrivals: 4 * 2 ** 20,
  haveRecords: 1000,
  haveBytes: 2 ** 18,
  pushBytes: 2 ** 18,
  pushes: 8,
  pushWindow: 2 ** 20,
  firstCredit: 2 ** 17,
  leastCredit: 2 ** 16,
  credit: 4 * 2 ** 20,
  encodeWrites: true,
  readRows: true,
}
