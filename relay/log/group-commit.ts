/** Group commit: records that wait at the same time are written and flushed together, one group after the other. */
import { cursorOf } from "../../src/wire/protocol.ts"
import { GrowingBytes } from "./bytes.ts"
import type { Folder } from "./folder.ts"
import type { OpenSegment } from "./segment/open-segment.ts"
import type { Segments } from "./segments.ts"
import { breathe } from "./slices.ts"

/** Records that are written together. */
interface Group {
  readonly segment: OpenSegment
  readonly out: GrowingBytes
  records: number
  /** The position of the group's last record; 0 while it has no record. */
  last: number
  /** Whether the group is being written. Further records then go into the next group. */
  writing: boolean
  /** Resolves when the group is flushed. Rejects when its flush has failed. */
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** The calls that a group commit makes to its log. */
export interface CommitListener {
  /** Called after each successful flush. `Segments.end` is then the new end. */
  flushed(): void
  /**
   * Called when a flush has failed: the log has none of the entries appended since the last successful flush. Returns
   * the error for the callers that wait for these entries. `entries`: the number of lost entries.
   */
  failed(cause: unknown, entries: number): Error
  /**
   * Called after each flush as long as there is a closing segment (`Segments.closing`) whose records are all on the
   * disk.
   */
  closed(segment: OpenSegment): void
}

export class GroupCommit {
  readonly #folder: Folder
  /** Returns the log's segments. A mend of the log replaces them, but never during a flush. */
  readonly #segments: () => Segments
  readonly #listener: CommitListener
  /** Groups that are not flushed yet, in the order of the log. */
  #groups: Group[] = []
  /** Memory of the last group, kept for the next group unless it is too large. */
  #spare: GrowingBytes | undefined
  #flushing: Promise<void> | undefined

  constructor(folder: Folder, segments: () => Segments, listener: CommitListener) {
    this.#folder = folder
    this.#segments = segments
    this.#listener = listener
  }

  /**
   * Calls `append` to put a record into the group that waits to be written to this segment. If `append` throws, no
   * record is added.
   */
  add(segment: OpenSegment, position: number, append: (out: GrowingBytes) => void): void {
    const group = this.#waitingFor(segment)
    append(group.out)
    group.records++
    group.last = position
    this.#flushing ??= this.#flush()
  }

  /**
   * Returns a promise that resolves when the entry with this position is flushed, and rejects when its flush has
   * failed. Returns undefined if that entry is not waiting for a flush.
   */
  flushOf(position: number): Promise<void> | undefined {
    return this.#groups.find(({ last }) => last >= position)?.done
  }

  /** Resolves when nothing waits to be written. */
  async idle(): Promise<void> {
    await this.#flushing
  }

  #waitingFor(segment: OpenSegment): Group {
    const last = this.#groups.at(-1)
    if (last?.segment === segment && !last.writing) return last
    let settle = {} as Pick<Group, "resolve" | "reject">
    const done = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject }
    })
    // Callers that wait for `done` get the error. Without this line, a failure for which nobody waits would end the
    // process.
    done.catch(() => {})
    const out = this.#spare ?? new GrowingBytes(this.#folder.sizes.groupBytes)
    this.#spare = undefined
    const group = { segment, out, records: 0, last: 0, writing: false, done, ...settle }
    this.#groups.push(group)
    return group
  }

  /**
   * Writes one group after the other, each at the end of a turn of the event loop, so that all records of that turn
   * share one flush. All records that are appended during a flush share the next flush.
   */
  async #flush(): Promise<void> {
    const segments = this.#segments()
    while (this.#groups.length > 0) {
      await breathe(this.#folder.clock)
      const group = this.#groups[0]!
      const { segment } = group
      try {
        // Cut off the bytes that a failed write has left at the end of the closing segment, before the next segment
        // gets a file. Later a scan would report such bytes as lost records, because only the last segment may have a
        // torn end.
        await segments.closing?.prepare()
        await segment.prepare()
        group.writing = true
        await segment.write(group.out.filled, group.records)
      } catch (error) {
        this.#lose(error)
        continue
      }
      this.#groups.shift()
      group.out.length = 0
      if (group.out.bytes.length <= this.#folder.sizes.spareGroupBytes) this.#spare = group.out
      segments.end = cursorOf(segment.last, segment.running)
      group.resolve()
      await group.done
      this.#listener.flushed()
      const { closing } = segments
      if (closing && this.#groups[0]?.segment !== closing) this.#listener.closed(closing)
    }
    this.#flushing = undefined
  }

  /** Handles a failed flush. All later groups continue the running hash of the failed one, so they are lost, too. */
  #lose(cause: unknown): void {
    const lost = this.#groups.splice(0)
    this.#segments().rollBack(lost[0]!.segment)
    const entries = lost.reduce((sum, { records }) => sum + records, 0)
    const error = this.#listener.failed(cause, entries)
    for (const { reject } of lost) reject(error)
  }
}
