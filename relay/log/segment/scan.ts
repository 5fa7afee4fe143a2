/** Reads a segment from its first record to its end, past whatever is damaged. */
import { HEAD, HEADER, type Marks, record } from "./format.ts"

const WINDOW = 2 ** 16

export interface Span {
  readonly from: number
  readonly to: number
}

/**
 * Gives `visit` every whole record and returns what lies between them and is none. What an attacker may have put into
 * a damaged record is not taken for one: it would have to guess the marker and the salt.
 */
export async function scan(
  read: (at: number, length: number, into: Buffer) => Promise<Buffer>,
  size: number,
  marks: Marks,
  visit: (bytes: Buffer, at: number, offset: number) => void | Promise<void>,
): Promise<Span[]> {
  const marker = Buffer.alloc(4)
  marker.writeUInt32BE(marks.marker)
  const damage: Span[] = []
  let damagedFrom: number | undefined
  // One for all: what is read once and dropped would make the process grow.
  let memory = Buffer.allocUnsafeSlow(Math.min(WINDOW, size))
  let window: Buffer = memory.subarray(0, 0)
  let start = HEADER
  let at = 0

  /** Whether `length` bytes from `at` on are in the window, after having read them when the file has them. */
  const inWindow = async (length: number): Promise<boolean> => {
    if (window.length - at >= length) return true
    if (start + at + length > size) return false
    start += at
    at = 0
    const reading = Math.min(size - start, Math.max(WINDOW, length))
    if (memory.length < reading) memory = Buffer.allocUnsafeSlow(reading)
    window = await read(start, reading, memory)
    return window.length >= length
  }

  while (start + at < size) {
    const offset = start + at
    let whole = (await inWindow(HEAD)) && record.check(window, at, marks)
    if (whole === "short") whole = (await inWindow(record.headLength(window, at))) && record.check(window, at, marks)
    if (whole === true && (await inWindow(record.length(window, at)))) {
      const intact = record.whole(window, at, marks)
      if (intact && damagedFrom !== undefined) {
        damage.push({ from: damagedFrom, to: offset })
        damagedFrom = undefined
      }
      if (intact) {
        const visited = visit(window, at, offset)
        if (visited) await visited
      } else damagedFrom ??= offset
      at += record.length(window, at)
      continue
    }
    damagedFrom ??= offset
    const next = window.indexOf(marker, at + 1)
    // The marker may begin in the last three bytes.
    at = next >= 0 ? next : Math.max(at + 1, window.length - 3)
  }
  if (damagedFrom !== undefined) damage.push({ from: damagedFrom, to: size })
  return damage
}
