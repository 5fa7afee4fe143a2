/**
 * Computes the cursors of a log, and tells which cursors it holds. A cursor is a place between two entries, with the
 * running hash there.
 *
 * After a loss of records, the log goes on in a fresh segment: one that begins a new running hash. The segment with the
 * loss, and the segments between it and the fresh one, still have the running hashes of the undamaged log. In their
 * cursors, this hash is XORed with the first running hash of the fresh segment. Without the XOR, these cursors would
 * also be cursors of the undamaged log. A replica might then hold one of them without having got the lost entries. If
 * an operator put back an undamaged copy of the log, the copy would hold the cursor, and so would not send that replica
 * the lost entries.
 */
import { type Cursor, cursorOf, position as positionOf } from "../../src/wire/protocol.ts"
import type { Awaitable } from "./contract.ts"
import type { Segment, Segments } from "./segments.ts"

/** Returns the cursor after the entry with this position. Undefined when the log has lost that entry. */
export function cursorAt(segments: Segments, position: number): Awaitable<Cursor | undefined> {
  if (position === positionOf(segments.end)) return segments.end
  for (const segment of segments.newestFirst()) {
    const { base, baseRunning } = segment.header
    if (position === base) return cursorIn(segment, position, baseRunning)
    if (position < base || position > segment.last) continue
    const running = segment.runningAt(position)
    if (running instanceof Promise) return running.then((read) => read && cursorIn(segment, position, read))
    return running && cursorIn(segment, position, running)
  }
  return undefined
}

/** Whether the flushed log passes through this cursor, and has lost nothing between the cursor and the log's end. */
export async function holdsCursor(segments: Segments, cursor: Cursor): Promise<boolean> {
  const position = positionOf(cursor)
  if (position > positionOf(segments.end)) return false
  for (const { header } of segments.newestFirst()) {
    if (position >= header.base) break
    if (header.fresh) return false
  }
  const ours = await cursorAt(segments, position)
  return ours !== undefined && Buffer.compare(ours, cursor) === 0
}

/**
 * Returns the cursor after the entry at `position`, where the running hash is `running`. The cursor after a segment's
 * last entry has the running hash at the base of the next segment, which may begin a fresh one.
 */
export function cursorBehind(segments: Segments, position: number, running: Uint8Array): Cursor {
  if (position === positionOf(segments.end)) return segments.end
  let within: Segment | undefined
  let next: Segment | undefined
  for (const segment of segments.newestFirst()) {
    // Skip a segment that begins after the flushed end. Otherwise it would become `next` if the segment before it looks
    // empty, which may only mean that nothing in that segment is flushed yet.
    if (segment.header.base > positionOf(segments.end)) continue
    if (segment.last === position && next) return cursorIn(next, next.header.base, next.header.baseRunning)
    within = segment
    if (segment.header.base < position) break
    // Skip empty segments: after damage the next segment may begin a fresh running hash. The base of an empty segment
    // before it is then not a valid cursor.
    if (!next || segment.last > segment.header.base) next = segment
  }
  return within ? cursorIn(within, position, running) : cursorOf(position, running)
}

/** Returns the cursor of a place in this segment, where the running hash is `running`. */
function cursorIn({ freshStart }: Segment, position: number, running: Uint8Array): Cursor {
  return cursorOf(position, freshStart ? running.map((byte, i) => byte ^ freshStart.running[i]!) : running)
}
