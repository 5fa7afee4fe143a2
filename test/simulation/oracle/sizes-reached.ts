/** How often a run has reached the library's sizes, as far as that is seen from outside: by what it writes and reads. */
import type { Key, Write } from "../../../src/store/store.ts"

export class SizesReached {
  readonly seen = {
    "row pages of one commit": 0,
    "rows folded into pages": 0,
    "outbox pages of one commit": 0,
    "outbox folded into pages": 0,
    "outbox pages dropped": 0,
    "documents hydrated again": 0,
  }

  /** A page is made by the commit of its records, or folded: then the loose records go that it takes in. */
  committed(writes: readonly Write[]): void {
    const { seen } = this
    const goes = (kind: string) => writes.some(([key, value]) => key[1] === kind && value === undefined)
    for (const [[, kind], value] of writes) {
      if (kind === "page" && value !== undefined)
        seen[goes("row") ? "rows folded into pages" : "row pages of one commit"]++
      else if (kind === "outpage" && value === undefined) seen["outbox pages dropped"]++
      else if (kind === "outpage") seen[goes("out") ? "outbox folded into pages" : "outbox pages of one commit"]++
    }
  }

  /** One life of a program reads what it holds of an entity: `before` has the entities of which it did so already. */
  listed([, kind, entity]: Key, before: Set<string>): void {
    if (kind !== "change" || entity === undefined) return
    if (before.has(entity)) this.seen["documents hydrated again"]++
    before.add(entity)
  }
}
