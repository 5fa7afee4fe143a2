/**
 * One connection's place in one workspace's log. It holds a place and never a queue: what follows is taken from the live
 * entries, or read from the log, when there is credit for it and the socket has let go of what it was given before.
 */
import { HeadwaterError } from "../../src/base/errors.ts"
import { type Cursor, type Entries, encode, encodeEntries, encodeItem, position } from "../../src/wire/protocol.ts"
import type { Page } from "../log/contract.ts"
import type { EntitySet } from "./heal-marks.ts"
import type { Live } from "./recent-entries.ts"
import type { Batch, Follower, Workspace } from "./served-workspace.ts"

/**
 * Bytes that are read from the log at once: with what goes around them they fit into the 64 KiB that a frame is encoded
 * in without asking for memory, and little of them is alive at a time. Of pages of 1 MiB the heap grew by half.
 */
const READ = 60 * 1024

/** The connection, as a stream sees it. */
export interface Outlet {
  readonly id: number
  send(frame: Uint8Array): void
  /** The socket still holds so much that nothing more should be given to it. `Stream.pump` when it does not any more. */
  full(): boolean
  /** What the first entries tell. */
  introduction(): Pick<Entries, "principal" | "access" | "limits" | "time">
  failed(error: unknown): void
}

interface Heal {
  /** Where its first page was compared: what comes after it the stream brings. */
  readonly until: Cursor
  readonly same: EntitySet
}

export class Stream implements Follower {
  readonly workspace: Workspace
  readonly #outlet: Outlet
  #credit = 0
  /** Absent: the replica has not said where it stands, or is saying so by have. */
  #place: number | undefined
  /** The next entries introduce the relay, and go out even with nothing in them. */
  #first = false
  #heal: Heal | undefined
  #reading = false
  /** Counts up when a read under way has become meaningless. */
  #turn = 0

  constructor(workspace: Workspace, outlet: Outlet) {
    this.workspace = workspace
    this.#outlet = outlet
  }

  grant(credit: number): void {
    this.#credit += credit
    this.pump()
  }

  /** Goes on at this place, or nowhere for now. Credit that was left from before is void. */
  begin(place: number | undefined, credit: number): void {
    this.stop()
    this.#place = place
    this.#credit = credit
    this.#first = true
    this.pump()
  }

  /** A page of have was compared at this place: where to note entities of which the replica holds what the relay holds. */
  gather(here: Cursor): EntitySet {
    if (!this.#heal || this.#place !== undefined) {
      this.stop()
      this.#heal = { until: here, same: this.workspace.numbers.newSet() }
    }
    return this.#heal.same
  }

  /** Sends all of the log up to where the first page was compared, but for the same entities; then goes on there. */
  heal(): void {
    if (!this.#heal) return // the log broke meanwhile, and the replica was told
    this.#place = 0
    this.#first = true
    this.#send([])
    this.pump()
  }

  /** Until it is told where to go on. The credit stands: a heal may use what a refused pull brought. */
  stop(): void {
    this.#heal?.same.release()
    this.#heal = undefined
    this.#place = undefined
    this.#reading = false
    this.#turn++
  }

  flushed(): void {
    this.pump()
  }

  broke(): void {
    if (this.#place === undefined && !this.#heal) return
    // Between two pages of a have: what still comes of it could not be told from the pages of the next one.
    if (this.#place === undefined) return this.#outlet.failed(new HeadwaterError("LOG_FAILED", "the log broke"))
    this.stop()
    this.#outlet.send(encode({ t: "notice", w: this.workspace.id, code: "CURSOR_UNKNOWN" }))
  }

  /** Sends what it may. Never throws: one connection's failure is nobody else's. */
  pump(): void {
    try {
      this.#pump()
    } catch (error) {
      this.#outlet.failed(error)
    }
  }

  #pump(): void {
    while (this.#place !== undefined && !this.#reading && !this.#outlet.full()) {
      if (this.#heal && this.#place >= position(this.#heal.until)) this.#endHeal(this.#heal)
      const { end } = this.workspace
      if (this.#place === end.place) {
        if (this.#first) this.#send([], end.cursor)
        return
      }
      const batch = this.#heal ? undefined : this.workspace.batch(this.#place)
      if (batch && batch.size <= this.#credit) {
        this.#sendBatch(batch)
        continue
      }
      // Before a read, which takes time: an ack must not come to somebody who has not been told who he is.
      if (this.#first) this.#send([])
      if (this.#credit <= 0) return
      this.#read(this.#place)
    }
  }

  #sendBatch(batch: Batch): void {
    if (this.#first || batch.sessions.has(this.#outlet.id)) return this.#send(this.#foldOwn(batch.live), batch.to)
    batch.frame ??= encodeEntries(
      { t: "entries", w: this.workspace.id, cursor: batch.to, level: true },
      batch.live.map((live) => live.bytes),
    )
    this.#place = batch.end
    this.#credit -= batch.size
    this.#outlet.send(batch.frame)
  }

  #read(place: number): void {
    const turn = this.#turn
    this.#reading = true
    this.workspace.log
      .since(place, Math.min(this.#credit, READ))
      .then((page) => {
        if (turn !== this.#turn) return
        this.#reading = false
        this.#take(page)
        this.#pump()
      })
      .catch((error) => {
        if (turn === this.#turn) this.#outlet.failed(error)
      })
  }

  #take({ entries, cursor }: Page): void {
    const heal = this.#heal
    if (!heal) {
      return this.#send(this.#foldOwn(entries.map((entry) => this.workspace.live(entry.position) ?? entry)), cursor)
    }
    const until = position(heal.until)
    const missing = entries.filter(({ key, position }) => position <= until && !heal.same.has(key))
    if (missing.length > 0) this.#send(missing.map(({ bytes }) => bytes))
    this.#place = position(cursor)
  }

  #endHeal(heal: Heal): void {
    this.stop()
    this.#place = position(heal.until)
    this.#first = true
    this.#send([], heal.until)
  }

  /** `to` is the place after the items; absent while those of a heal come. */
  #send(items: readonly Uint8Array[], to?: Cursor): void {
    const { log, id, end } = this.workspace
    const first = this.#first && { left: log.bytesAfter(this.#place ?? 0), ...this.#outlet.introduction() }
    const level = to !== undefined && position(to) === end.place
    this.#first = false
    if (to) this.#place = position(to)
    for (const item of items) this.#credit -= item.length
    this.#outlet.send(
      encodeEntries({ t: "entries", w: id, ...(to && { cursor: to }), ...(level && { level }), ...first }, items),
    )
  }

  /** This connection holds what it pushed itself: of that, it is told the fact and not the bytes. */
  #foldOwn(items: readonly (Live | { readonly bytes: Uint8Array })[]): Uint8Array[] {
    const folded: Uint8Array[] = []
    let run: { own: string; from: number; to: number } | undefined
    const endRun = () => {
      if (run) folded.push(encodeItem(run))
      run = undefined
    }
    for (const item of items) {
      if (!("session" in item) || item.session !== this.#outlet.id) {
        endRun()
        folded.push(item.bytes)
      } else if (run?.own === item.push && run.to === item.index) run.to++
      else {
        endRun()
        run = { own: item.push, from: item.index, to: item.index + 1 }
      }
    }
    endRun()
    return folded
  }
}
