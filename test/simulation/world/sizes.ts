/** Sizes so small that a run of forty commands reaches all of them. */
import type { LogSizes } from "../../../relay/log/log-sizes.ts"
import type { ServeSizes } from "../../../relay/serve/serve-sizes.ts"
import type { Sizes } from "../../../src/base/replica-sizes.ts"

export const tinySizes: Sizes = {
  rowPage: 4,
  rowsAtOnce: 2,
  looseRows: 3,
  outboxPage: 4,
  outboxAtOnce: 3,
  looseOutbox: 4,
  looseHistory: 2,
  historyBlock: 2,
  historyPage: 300,
  foldedChanges: 3,
  foldedHistories: 2,
  foldedPages: 2,
  journal: 4,
  journalNames: 3,
  documentBytes: 1,
  group: 2,
  projectAtOnce: 1,
  readAtOnce: 2,
  readOperations: 3,
  readBytes: 2 ** 15,
  arrivals: 400,
  haveRecords: 3,
  haveBytes: 120,
  pushBytes: 300,
  pushes: 2,
  pushWindow: 400,
  firstCredit: 300,
  leastCredit: 150,
  credit: 600,
  encodeWrites: true,
  readRows: true,
}

/** Tiny sizes of the relay's serving. Its times are left out, because the simulated relay does not use them. */
export const tinyServeSizes: Partial<ServeSizes> = {
  recentBytes: 600,
  frameBytes: 300,
  readBytes: 300,
  socketBytes: 500,
  unansweredBytes: 3000,
  comparedHeads: 2,
  sentRejects: 1,
  judgedBytes: 1500,
  walkLookUps: 3,
  pushLookUps: 10,
}

/** Tiny sizes of the relay's log. Those of a segment are left out, because each run draws them. */
export const tinyLogSizes: Partial<LogSizes> = {
  logs: 1,
  idleBytes: 0,
  openFiles: 1,
  bufferBytes: 512,
  buffers: 1,
  scanBytes: 256,
  preambleBytes: 60,
  offsets: 2,
  groupBytes: 64,
  spareGroupBytes: 128,
  sealAgain: 2,
  sealSlice: 2,
  orphans: 2,
  lookUpSlice: 2,
  recentEntities: 2,
  recentStateBytes: 400,
  recentActors: 2,
  longChain: 2,
}
