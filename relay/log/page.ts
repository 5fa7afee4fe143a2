/** Reads entries in the order of the log, some at a time. */
import { decodeEntry, type Entry } from "../../src/protocol.ts"
import type { Page } from "../log.ts"
import type { Cache } from "./cache.ts"
import type { Contents, Segment } from "./contents.ts"
import { Damage } from "./folder.ts"
import { record } from "./format.ts"

/** Bytes that are read at once. */
const WINDOW = 2 ** 18

export async function readPage(contents: Contents, cache: Cache, position: number, bytes: number): Promise<Page> {
  const entries: PageEntry[] = []
  let running: Uint8Array | undefined
  const page = (): Page => {
    const last = entries.at(-1)
    return { entries, cursor: last && running ? contents.behind(last.position, running) : contents.end }
  }
  let room = bytes
  for (const segment of contents.segments) {
    for (let at = position; at < segment.last; at = entries.at(-1)!.position) {
      const { offsets, end } = await segment.after(at)
      if (offsets.length === 0) break
      for (let i = 0; i < offsets.length; ) {
        const to = reach(offsets, i, end, Math.min(WINDOW, 1.5 * room + 1024))
        const window = await cache.read(segment.path, offsets[i]!, (offsets[to] ?? end) - offsets[i]!)
        for (const from = offsets[i]!; i < to; i++) {
          const at = offsets[i]! - from
          checkRecord(segment, window, at)
          if (entries.length > 0 && record.bodyLength(window, at) > room) return page()
          entries.push(new PageEntry(record.position(window, at), record.body(window, at)))
          room -= record.bodyLength(window, at)
          running = record.running(window, at)
        }
      }
    }
  }
  return page()
}

/** How far to read from the `i`-th record on: at least that one, and no further than so many bytes. */
function reach(offsets: readonly number[], i: number, end: number, bytes: number): number {
  let to = i + 1
  while (to < offsets.length && (offsets[to + 1] ?? end) - offsets[i]! <= bytes) to++
  return to
}

function checkRecord({ origin }: Segment, bytes: Buffer, at: number): void {
  const { marks, number } = origin
  if (record.check(bytes, at, marks) !== true || bytes.length - at < record.length(bytes, at)) {
    throw new Damage(number, "a record is damaged")
  }
  if (!record.whole(bytes, at, marks)) throw new Damage(number, "an entry is damaged")
}

/** An entry as it lies in the log. */
class PageEntry {
  readonly position: number
  readonly bytes: Uint8Array
  #entry: Entry | undefined

  constructor(position: number, body: Buffer) {
    this.position = position
    this.bytes = new Uint8Array(body.buffer, body.byteOffset, body.length)
  }

  get entry(): Entry {
    this.#entry ??= decodeEntry(this.bytes)
    return this.#entry
  }
}
