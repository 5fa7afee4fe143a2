/**
 * Sends one workspace's log to one connection. A stream holds a position and never a queue. While there is credit and
 * the socket is not full, it takes the next entries from the recent ones, or else reads them from the log.
 */
import { HeadwaterError } from "../../src/base/errors.ts"
import {
  type Cursor,
  type Entries,
  encode,
  encodeEntries,
  encodeItem,
  position as positionOf,
} from "../../src/wire/protocol.ts"
import type { Page } from "../log/contract.ts"
import { DecodedFrame } from "./decoded-frame.ts"
import { HealMarks } from "./heal-marks.ts"
import type { RecentEntry } from "./recent-entries.ts"
import type { Follower, ServedWorkspace, SharedFrame } from "./served-workspace.ts"

/** The connection, as its streams see it. */
export interface Outlet {
  readonly id: number
  sendFrame(frame: Uint8Array): void
  /**
   * Whether the socket holds so many bytes that it should get no more. Once it is no longer full, call `Stream.pump`.
   */
  full(): boolean
  /** The most bytes that one read of the log should take. */
  readBytes(): number
  /** Returns the fields that the first `entries` message carries besides `left`. */
  introduction(): Pick<Entries, "principal" | "access" | "limits" | "time">
  /**
   * Called when the stream cannot go on. `pagesFollow`: it failed between two pages of a `have`, and the remaining
   * pages may still come.
   */
  failed(stream: Stream, error: unknown, pagesFollow?: boolean): void
}

interface Heal {
  /** The cursor at which the first page of `have` was compared. After this cursor the stream sends everything. */
  readonly until: Cursor
  readonly marks: HealMarks
}

/**
 * Bytes of the first page that a stream reads. Each page may have twice as many bytes as the page before it. A client
 * that has just started takes 0.1 s to decode 60 kB, because its engine has not compiled the code yet. Meanwhile its
 * web page does not react to the user.
 */
const FIRST_PAGE_BYTES = 4 * 1024
/**
 * The most bytes of a page that is read from the log. A client decodes a frame in one turn, and a phone's browser needs
 * some 20 ms for this many bytes. Larger pages save the relay nothing that can be measured.
 */
const PAGE_BYTES = 32 * 1024

/**
 * A connection gets a frame of its own, without the bytes that it pushed itself, if these bytes are at least a quarter
 * (1 / `OWN_FRAME`) of the shared frame: four connections at most. If every connection that has pushed got its own
 * frame, the time and memory of one flush would grow with the square of their number.
 */
const OWN_FRAME = 4

export class Stream implements Follower {
  readonly workspace: ServedWorkspace
  readonly #outlet: Outlet
  /** Bytes of items that may still be sent. Below 0 when the last item was larger than the credit left for it. */
  #credit = 0
  /**
   * Everything up to this position was sent. Undefined until a pull names a cursor, or a heal has compared its pages.
   */
  #position: number | undefined
  /** Whether the next `entries` message has the introduction. It is then sent even with no items. */
  #introduces = false
  /** Set from the first page of `have` until everything that the replica lacks was sent. */
  #heal: Heal | undefined
  /** Whether a read of the log is under way. */
  #reading = false
  /** The most bytes of the next page. */
  #pageBytes = FIRST_PAGE_BYTES
  /** Counts the calls of `stop`. A page is dropped if `stop` was called after the read of the page began. */
  #stops = 0

  /**
   * Resolves when the newest `have` was answered. The next `have` waits for this, so that the pages of a heal are
   * compared in their order.
   */
  lastHave = Promise.resolve()

  constructor(workspace: ServedWorkspace, outlet: Outlet) {
    this.workspace = workspace
    this.#outlet = outlet
  }

  /** Adds credit, in bytes. */
  grant(credit: number): void {
    this.#credit += credit
    this.pump()
  }

  /**
   * Begins to send the entries after `position`. If `position` is undefined, nothing is sent until a heal has compared
   * its pages. `credit` replaces the old credit that is left.
   */
  begin(position: number | undefined, credit: number): void {
    this.stop()
    this.#position = position
    this.#credit = credit
    this.#introduces = true
    this.pump()
  }

  /**
   * Call it for each page of `have`, with the cursor at which the page is compared. Returns the marks for the entities
   * that the heal leaves out.
   */
  marks(comparedAt: Cursor): HealMarks {
    if (!this.#heal || this.#position !== undefined) {
      this.stop()
      this.#heal = { until: comparedAt, marks: new HealMarks(this.workspace.entityNumbers) }
    }
    return this.#heal.marks
  }

  /**
   * Call it when all pages are compared. Sends the log up to the cursor of the first page, without the marked entities,
   * and then everything after that cursor.
   */
  heal(): void {
    if (!this.#heal) return // the heal has ended, because the log failed or lost entries
    this.#position = 0
    this.#introduces = true
    this.#send([])
    this.pump()
  }

  /**
   * Sends nothing until the next `begin` or `heal`. The credit stays, because a heal may use the credit of a refused
   * pull.
   */
  stop(): void {
    this.#heal?.marks.release()
    this.#heal = undefined
    this.#position = undefined
    this.#reading = false
    this.#stops++
  }

  /** Call it when the log has failed. Sends nothing until the replica begins again, with new credit. */
  fail(): void {
    this.stop()
    this.#credit = 0
  }

  flushed(): void {
    this.pump()
  }

  broke(): void {
    if (this.#position === undefined && !this.#heal) return
    // Between two pages of a `have`, let the heal fail, which delays the notice until the last page has come. After an
    // immediate notice, the relay could not tell the remaining pages from those of the replica's next heal.
    if (this.#position === undefined) {
      const what = `the log of workspace ${this.workspace.id} lost entries between two pages of a have`
      return this.#outlet.failed(this, new HeadwaterError("LOG_FAILED", `${what}; its client begins a new heal`), true)
    }
    this.stop()
    this.#outlet.sendFrame(encode({ t: "notice", w: this.workspace.id, code: "CURSOR_UNKNOWN" }))
  }

  /**
   * Sends as much as credit and socket allow. Never throws, because a failure of one connection must not disturb the
   * others.
   */
  pump(): void {
    try {
      this.#pump()
    } catch (error) {
      this.#outlet.failed(this, error)
    }
  }

  #pump(): void {
    while (this.#position !== undefined && !this.#reading && !this.#outlet.full()) {
      if (this.#heal && this.#position >= positionOf(this.#heal.until)) this.#endHeal(this.#heal)
      const { end } = this.workspace
      if (this.#position === end.position) {
        this.#pageBytes = Number.POSITIVE_INFINITY // by now the client's engine has compiled the code
        if (this.#introduces) this.#send([], end.cursor)
        return
      }
      const shared = this.#heal ? undefined : this.workspace.sharedFrame(this.#position)
      if (shared && shared.bytes <= Math.min(this.#credit, this.#pageBytes)) {
        this.#sendShared(shared)
        continue
      }
      // Send the introduction now, because a read takes time and no ack may come before the introduction.
      if (this.#introduces) this.#send([])
      if (this.#credit <= 0) return
      this.#read(this.#position)
    }
  }

  #sendShared(shared: SharedFrame): void {
    const { cursor, position, entries, pushed, bytes } = shared
    const own = pushed.get(this.#outlet.id) ?? 0
    if (this.#introduces || own * OWN_FRAME >= bytes) return this.#send(this.#withRuns(entries), cursor)
    shared.encoded ??= encodeEntries(
      { t: "entries", w: this.workspace.id, cursor, level: true },
      entries.map((entry) => entry.bytes),
    )
    this.#position = position
    this.#credit -= bytes
    this.#outlet.sendFrame(shared.encoded)
  }

  #read(position: number, bytes = Math.min(this.#credit, this.#outlet.readBytes(), this.#pageBytes, PAGE_BYTES)): void {
    const stops = this.#stops
    this.#reading = true
    this.workspace.log
      .since(position, bytes)
      .then((page) => {
        if (stops !== this.#stops) return
        this.#reading = false
        // If the page does not fit into one frame, read a smaller one: only a page has the cursor after its last entry.
        const fitting = bytesThatFit(page.entries)
        if (fitting !== undefined) return this.#read(position, fitting)
        this.#pageBytes *= 2
        this.#sendPage(page)
        this.#pump()
      })
      .catch((error) => {
        if (stops === this.#stops) this.#outlet.failed(this, error)
      })
  }

  #sendPage({ entries, cursor }: Page): void {
    const heal = this.#heal
    if (!heal) {
      return this.#send(this.#withRuns(entries.map((entry) => this.workspace.recent(entry.position) ?? entry)), cursor)
    }
    const until = positionOf(heal.until)
    const missing = entries.filter(({ key, position }) => position <= until && !heal.marks.has(key))
    if (missing.length > 0) this.#send(missing.map(({ bytes }) => bytes))
    this.#position = positionOf(cursor)
  }

  #endHeal(heal: Heal): void {
    this.stop()
    this.#position = positionOf(heal.until)
    this.#introduces = true
    this.#send([], heal.until)
  }

  /**
   * `cursor`: with these items, everything at or before this cursor has been sent. Absent while the items of a heal are
   * sent.
   */
  #send(items: readonly Uint8Array[], cursor?: Cursor): void {
    const { log, id, end } = this.workspace
    const first = this.#introduces && { left: log.bytesAfter(this.#position ?? 0), ...this.#outlet.introduction() }
    const level = cursor !== undefined && positionOf(cursor) === end.position
    this.#introduces = false
    if (cursor) this.#position = positionOf(cursor)
    for (const item of items) this.#credit -= item.length
    this.#outlet.sendFrame(
      encodeEntries({ t: "entries", w: id, ...(cursor && { cursor }), ...(level && { level }), ...first }, items),
    )
  }

  /**
   * Encodes entries. Entries that this connection pushed itself become runs, which refer to the push and leave out the
   * bytes, because the replica holds them.
   */
  #withRuns(entries: readonly (RecentEntry | { readonly bytes: Uint8Array })[]): Uint8Array[] {
    const items: Uint8Array[] = []
    let run: { own: string; from: number; to: number } | undefined
    const endRun = () => {
      if (run) items.push(encodeItem(run))
      run = undefined
    }
    for (const entry of entries) {
      if (!("connection" in entry) || entry.connection !== this.#outlet.id) {
        endRun()
        items.push(entry.bytes)
      } else if (run?.own === entry.push && run.to === entry.index) run.to++
      else {
        endRun()
        run = { own: entry.push, from: entry.index, to: entry.index + 1 }
      }
    }
    endRun()
    return items
  }
}

/** Returns the bytes of the page's first entries that fit into one frame. Undefined when all entries fit. */
function bytesThatFit(entries: Page["entries"]): number | undefined {
  const frame = new DecodedFrame()
  let bytes = 0
  for (const entry of entries) {
    if (!frame.fits(entry.bytes) && bytes > 0) return bytes
    bytes += entry.bytes.length
  }
  return undefined
}
