/**
 * Counts how often a run has reached a size at which the library works differently, as far as the keys that it reads
 * and writes show that.
 */
import { keys } from "../../../src/replica/disk/records.ts"
import type { Key, Write } from "../../../src/store/store.ts"

export class SizesReached {
  readonly seen = {
    "row pages of one commit": 0,
    "rows folded into pages": 0,
    "outbox pages of one commit": 0,
    "outbox folded into pages": 0,
    "outbox pages dropped": 0,
    "histories folded": 0,
    "histories with several pages": 0,
    "documents hydrated again": 0,
  }

  /**
   * A commit writes a page for its own records, or folds loose records into it. It has folded if it also removes loose
   * records.
   */
  committed(writes: readonly Write[]): void {
    const { seen } = this
    const goes = (kind: string) => writes.some(([key, value]) => key[1] === kind && value === undefined)
    for (const [[, kind, , page], value] of writes) {
      if (kind === "history" && value !== undefined) seen["histories folded"]++
      if (kind === "history" && page !== keys.history("", "", 0)[3]) seen["histories with several pages"]++
      if (kind === "page" && value !== undefined)
        seen[goes("row") ? "rows folded into pages" : "row pages of one commit"]++
      else if (kind === "outpage" && value === undefined) seen["outbox pages dropped"]++
      else if (kind === "outpage") seen[goes("out") ? "outbox folded into pages" : "outbox pages of one commit"]++
    }
  }

  /**
   * Call it when a program lists records. `before`: the entities whose changes the program has listed since it was
   * started.
   */
  listed([, kind, entity]: Key, before: Set<string>): void {
    if (kind !== "change" || entity === undefined) return
    if (before.has(entity)) this.seen["documents hydrated again"]++
    before.add(entity)
  }
}
