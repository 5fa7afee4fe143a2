/** The functions of idle work that a replica calls (`idle-work.ts` has them). */
import type { Key } from "../store/store.ts"
import type { Transaction } from "./transaction.ts"

/** Work that a replica does while no step waits. The replica calls these functions when there may be such work. */
export interface IdleWork {
  /** Called when a commit is on the disk. */
  afterCommit(tx: Transaction): void
  /** Called after each group that was committed or had nothing to write. */
  afterGroup(): void
  /** Called when a commit has failed, or the disk could not be read. */
  afterFailure(): void
  /** Called when an entity was read without a document. */
  afterRead(entity: string): void
  /** Called with true when more entries of a pull will come, and with false when none will. */
  expectEntries(more: boolean): void
  /** Makes damaged records again, in the transaction of a step that does nothing else. */
  mend(tx: Transaction, records: readonly Key[]): Promise<void>
  /** Called when Automerge is loaded: only a loaded Automerge says which build it is. */
  automergeLoaded(): void
  /** Called when the replica closes. `quickly`: the idle work must end at once, and fold nothing. */
  close(quickly: boolean): Promise<void>
}

export const NO_WORK: IdleWork = {
  afterCommit() {},
  afterGroup() {},
  afterFailure() {},
  afterRead() {},
  expectEntries() {},
  async mend() {},
  automergeLoaded() {},
  async close() {},
}
