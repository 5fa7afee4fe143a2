/** Reads a page of the flushed log: entries in order, with verified checksums, and the cursor after the last one. */
import { decodeEntry, type Entry } from "../../src/wire/protocol.ts"
import type { Page, PageEntry } from "./contract.ts"
import { cursorBehind } from "./cursors.ts"
import { Damage } from "./damage.ts"
import type { Buffers } from "./files/buffers.ts"
import { keyName } from "./segment/keys.ts"
import { record } from "./segment/record.ts"
import type { Segment, Segments } from "./segments.ts"

export async function readPage(segments: Segments, buffers: Buffers, position: number, bytes: number): Promise<Page> {
  const page = new GrowingPage(bytes)
  for (const segment of segments.oldestFirst) {
    for (let from = position; from < segment.last; from = page.last) {
      const { offsets, end } = await segment.offsetsAfter(from)
      if (offsets.length === 0) break
      for (let i = 0; i < offsets.length; ) {
        const start = offsets[i]!
        // Read a bit more than fits into the page, because only the bodies of records count against the page's limit,
        // and the facts of some records are large.
        const to = upTo(offsets, i, end, Math.min(buffers.bytes, 1.5 * page.room + 1024))
        const records = offsets.slice(i, to).map((offset) => offset - start)
        const length = (offsets[to] ?? end) - start
        const taken = await buffers.read(segment.path, start, length, (read) => page.take(segment, read, records))
        if (taken < records.length) return page.finish(segments)
        i = to
      }
    }
  }
  return page.finish(segments)
}

/**
 * Returns the index after the last record of one read that begins with the `i`-th record. The read takes at least that
 * record, then as many as fit into `bytes`.
 */
function upTo(offsets: readonly number[], i: number, end: number, bytes: number): number {
  let to = i + 1
  while (to < offsets.length && (offsets[to + 1] ?? end) - offsets[i]! <= bytes) to++
  return to
}

class GrowingPage {
  /** Bytes of entries that the page may still take. */
  room: number
  readonly #entries: PageEntry[] = []
  /** The running hash after the last entry. */
  readonly #running = Buffer.alloc(8)

  constructor(room: number) {
    this.room = room
  }

  /** The position of the last entry. */
  get last(): number {
    return this.#entries.at(-1)!.position
  }

  finish(segments: Segments): Page {
    const cursor = this.#entries.length > 0 ? cursorBehind(segments, this.last, this.#running) : segments.end
    return { entries: this.#entries, cursor }
  }

  /** Adds the records that begin at these offsets in `bytes`, until one does not fit. Returns how many were added. */
  take(segment: Segment, bytes: Buffer, records: readonly number[]): number {
    let count = 0
    let size = 0
    for (const at of records) {
      checkRecord(segment, bytes, at)
      const length = record.bodyLength(bytes, at)
      if (size + length > this.room && this.#entries.length + count > 0) break
      size += length
      count++
    }
    // Copy the bodies, without the facts, because the next read overwrites `bytes`.
    const bodies = new Uint8Array(size)
    let end = 0
    for (const at of records.slice(0, count)) {
      const body = bodies.subarray(end, end + record.bodyLength(bytes, at))
      body.set(record.body(bytes, at))
      end += body.length
      this.#entries.push(new LoggedEntry(record.position(bytes, at), keyName(record.entity(bytes, at)), body))
      record.running(bytes, at).copy(this.#running)
    }
    this.room -= size
    return count
  }
}

function checkRecord({ header }: Segment, bytes: Buffer, at: number): void {
  const { secret, number } = header
  if (record.check(bytes, at, secret) !== true || bytes.length - at < record.length(bytes, at)) {
    throw new Damage(number, "a record is damaged")
  }
  if (!record.isBodyWhole(bytes, at, secret)) throw new Damage(number, "an entry is damaged")
}

/** An entry of the log, decoded when `entry` is first read. */
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
