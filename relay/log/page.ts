/** Reads entries in the order of the log, some at a time. */
import { type Cursor, decodeEntry, type Entry } from "../../src/wire/protocol.ts"
import { type Cache, WINDOW } from "./cache.ts"
import type { Contents, Segment } from "./contents.ts"
import type { Page, PageEntry } from "./contract.ts"
import { Damage } from "./folder.ts"
import { keyName, record } from "./segment/format.ts"

export async function readPage(contents: Contents, cache: Cache, position: number, bytes: number): Promise<Page> {
  const page = new Growing(bytes)
  for (const segment of contents.segments) {
    for (let at = position; at < segment.last; at = page.last) {
      const { offsets, end } = await segment.after(at)
      if (offsets.length === 0) break
      for (let i = 0; i < offsets.length; ) {
        const from = offsets[i]!
        const to = fitting(offsets, i, end, Math.min(WINDOW, 1.5 * page.room + 1024))
        const records = offsets.slice(i, to).map((offset) => offset - from)
        const length = (offsets[to] ?? end) - from
        const taken = await cache.glance(segment.path, from, length, (window) => page.take(segment, window, records))
        if (taken < records.length) return page.done(contents)
        i = to
      }
    }
  }
  return page.done(contents)
}

/** How far to read from the `i`-th record on: at least that one, and no further than so many bytes. */
function fitting(offsets: readonly number[], i: number, end: number, bytes: number): number {
  let to = i + 1
  while (to < offsets.length && (offsets[to + 1] ?? end) - offsets[i]! <= bytes) to++
  return to
}

class Growing {
  /** Bytes of entries that it may still take. */
  room: number
  readonly #entries: PageEntry[] = []
  readonly #running = Buffer.alloc(8)

  constructor(room: number) {
    this.room = room
  }

  /** The position of the last entry. */
  get last(): number {
    return this.#entries.at(-1)!.position
  }

  done(contents: Contents): Page {
    const cursor: Cursor = this.#entries.length > 0 ? contents.behind(this.last, this.#running) : contents.end
    return { entries: this.#entries, cursor }
  }

  /** Takes the records that begin at these places, but only while there is room; returns how many. */
  take(segment: Segment, window: Buffer, records: readonly number[]): number {
    let count = 0
    let size = 0
    for (const at of records) {
      checkRecord(segment, window, at)
      const length = record.bodyLength(window, at)
      if (size + length > this.room && this.#entries.length + count > 0) break
      size += length
      count++
    }
    // The entries alone, as the window is used again.
    const bodies = new Uint8Array(size)
    let end = 0
    for (const at of records.slice(0, count)) {
      const body = bodies.subarray(end, end + record.bodyLength(window, at))
      body.set(record.body(window, at))
      end += body.length
      this.#entries.push(new LoggedEntry(record.position(window, at), keyName(record.entity(window, at)), body))
      record.running(window, at).copy(this.#running)
    }
    this.room -= size
    return count
  }
}

function checkRecord({ origin }: Segment, bytes: Buffer, at: number): void {
  const { marks, number } = origin
  if (record.check(bytes, at, marks) !== true || bytes.length - at < record.length(bytes, at)) {
    throw new Damage(number, "a record is damaged")
  }
  if (!record.whole(bytes, at, marks)) throw new Damage(number, "an entry is damaged")
}

/** An entry as it lies in the log. */
class LoggedEntry implements PageEntry {
  readonly position: number
  readonly key: string
  readonly bytes: Uint8Array
  #entry: Entry | undefined

  constructor(position: number, key: string, bytes: Uint8Array) {
    this.position = position
    this.key = key
    this.bytes = bytes
  }

  get entry(): Entry {
    this.#entry ??= decodeEntry(this.bytes)
    return this.#entry
  }
}
