/** The segments of an open log, in their order. */
import { type Cursor, cursorOf } from "../../src/wire/protocol.ts"
import type { Folder } from "./folder.ts"
import type { SealedSegments } from "./sealed-segments.ts"
import type { Key } from "./segment/keys.ts"
import { OpenSegment } from "./segment/open-segment.ts"
import type { SealedSegment } from "./segment/sealed-segment.ts"

export type Segment = SealedSegment | OpenSegment

export class Segments {
  readonly sealed: SealedSegments
  /**
   * The full segment that is not sealed yet, if there is one. It comes after the sealed segments and before the active
   * one.
   */
  closing: OpenSegment | undefined
  /** The segment to which entries are appended. */
  active: OpenSegment
  /** The cursor after the last flushed entry. */
  end: Cursor

  constructor(sealed: SealedSegments, active: OpenSegment) {
    this.sealed = sealed
    this.active = active
    this.end = cursorOf(active.last, active.running)
  }

  get oldestFirst(): Segment[] {
    return [...this.sealed.oldestFirst, ...(this.closing ? [this.closing] : []), this.active]
  }

  *newestFirst(): Generator<Segment> {
    yield* this.inMemory
    for (let i = this.sealed.oldestFirst.length - 1; i >= 0; i--) yield this.sealed.oldestFirst[i]!
  }

  /** The segments whose index is in memory, newest first. */
  get inMemory(): OpenSegment[] {
    return this.closing ? [this.active, this.closing] : [this.active]
  }

  /** Position of the last appended entry, flushed or not. */
  get appended(): number {
    return this.active.appended
  }

  /** Whether the segments have changes of this entity that depend on a lost change and do not count as known. */
  hasOrphans(entity: Key): boolean {
    const indexes = this.inMemory.map(({ index }) => index)
    const lists = indexes.map(({ orphans }) => orphans)
    if (this.sealed.newest) lists.push(this.sealed.newest.orphans)
    return lists.some((orphans) => {
      if (!orphans.mayHave(entity)) return false
      return orphans.overflowed || [...orphans.of(entity)].some((hash) => !indexes.some((i) => i.known(entity, hash)))
    })
  }

  /** Begins the next segment. Nothing more is appended to the segment that was active. */
  rotate(folder: Folder): void {
    const { header, appended, appendedRunning } = this.active
    this.closing = this.active
    const next = {
      number: header.number + 1,
      previous: header.number,
      base: appended,
      baseRunning: Buffer.from(appendedRunning),
      fresh: false,
      secret: header.secret,
    }
    this.active = new OpenSegment(folder, next, this.sealed.actors)
  }

  /** Drops the entries that are not flushed. `first`: the segment that has the first of them. */
  rollBack(first: OpenSegment): void {
    if (first === this.closing) {
      this.active = this.closing
      this.closing = undefined
    }
    this.active.rollBack()
  }

  /** Replaces the closing segment by its sealed form. */
  addSealed(segment: SealedSegment): void {
    this.sealed.oldestFirst.push(segment)
    this.closing = undefined
  }
}
