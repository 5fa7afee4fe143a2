/** Group commit: records that wait together are written and flushed together, one group after the other. */
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
  /** The position of the last of them; 0: there is none yet. */
  last: number
  /** It is being written, so others belong into the next group. */
  writing: boolean
  /** Settles with its flush. */
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** What a group commit tells its log. */
export interface CommitListener {
  /** `Segments.end` has moved. */
  flushed(): void
  /**
   * A flush has failed, and nothing that was appended since the last one is in the log. Returns what its callers are
   * told.
   */
  failed(cause: unknown, entries: number): Error
  /** All of the closing segment is on the disk. Told after each flush, until the segment is sealed. */
  closed(segment: OpenSegment): void
}

export class GroupCommit {
  readonly #folder: Folder
  /** The log is mended only while nothing is written, so these are the same throughout a flush. */
  readonly #segments: () => Segments
  readonly #listener: CommitListener
  /** In the order of the log. */
  #groups: Group[] = []
  /** Memory of the group before, for the next one, unless it is too much to keep. */
  #spare: GrowingBytes | undefined
  #flushing: Promise<void> | undefined

  constructor(folder: Folder, segments: () => Segments, listener: CommitListener) {
    this.#folder = folder
    this.#segments = segments
    this.#listener = listener
  }

  /** Has `append` put a record into the group that waits for this segment. If it throws, nothing has happened. */
  add(segment: OpenSegment, position: number, append: (out: GrowingBytes) => void): void {
    const group = this.#waitingFor(segment)
    append(group.out)
    group.records++
    group.last = position
    this.#flushing ??= this.#flush()
  }

  /** Settles with the flush of the entry with this position; undefined: it does not wait for one. */
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
    // Those who wait for it are told of a failure. It may be that nobody waits.
    done.catch(() => {})
    const out = this.#spare ?? new GrowingBytes(this.#folder.sizes.groupBytes)
    this.#spare = undefined
    const group = { segment, out, records: 0, last: 0, writing: false, done, ...settle }
    this.#groups.push(group)
    return group
  }

  /**
   * At the end of a turn of the event loop, so that whatever has arrived in it goes along. What comes during a flush
   * goes together, too.
   */
  async #flush(): Promise<void> {
    const segments = this.#segments()
    while (this.#groups.length > 0) {
      await breathe(this.#folder.clock)
      const group = this.#groups[0]!
      const { segment } = group
      try {
        // A segment is finished before the next one begins: behind its end there is nothing that a scan could find.
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

  /** A flush has failed. All groups behind it rest on it, so all of them are lost. */
  #lose(cause: unknown): void {
    const lost = this.#groups.splice(0)
    this.#segments().rollBack(lost[0]!.segment)
    const entries = lost.reduce((sum, { records }) => sum + records, 0)
    const error = this.#listener.failed(cause, entries)
    for (const { reject } of lost) reject(error)
  }
}
