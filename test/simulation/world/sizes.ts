/** Sizes so tiny that forty commands reach every one of them. */
import type { Sizes } from "../../../src/base/sizes.ts"

export const tinySizes: Sizes = {
  rowPage: 4,
  rowsAtOnce: 2,
  looseRows: 3,
  outboxPage: 4,
  outboxAtOnce: 3,
  looseOutbox: 4,
  foldedPages: 2,
  journal: 4,
  journalNames: 3,
  liveDocuments: 1,
  group: 2,
  projectAtOnce: 1,
  arrivals: 400,
  haveRecords: 3,
  haveBytes: 120,
  pushBytes: 300,
  pushes: 2,
  pushWindow: 400,
  credit: 600,
}
