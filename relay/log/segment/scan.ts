/** Reads a segment from its first record to its end, past damaged bytes. */
import { HEADER_BYTES, type Secret } from "./header.ts"
import { PREAMBLE_BYTES, record } from "./record.ts"

/** Bytes of a file from one offset up to another. */
export interface Span {
  readonly from: number
  readonly to: number
}

/**
 * Gives `visit` every whole record, and returns the spans between them, which are damaged. An attacker cannot put
 * records into an entry that are found when the entry is damaged: he would have to guess the marker and the salt.
 * `atOnce`: bytes of one read, more for a longer record.
 */
export async function scan(
  read: (at: number, length: number, into: Buffer) => Promise<Buffer>,
  size: number,
  secret: Secret,
  atOnce: number,
  visit: (bytes: Buffer, at: number, offset: number) => void | Promise<void>,
): Promise<Span[]> {
  const marker = Buffer.alloc(4)
  marker.writeUInt32BE(secret.marker)
  const damage: Span[] = []
  let damagedFrom: number | undefined
  // The same memory for all reads: new memory for each would make the process grow.
  let memory = Buffer.allocUnsafeSlow(Math.min(atOnce, size))
  /** The bytes that were read last, where they begin in the file, and how far in them the scan is. */
  let loaded: Buffer = memory.subarray(0, 0)
  let start = HEADER_BYTES
  let at = 0

  /** Loads `length` bytes from `at` on. False: the file ends before. */
  const load = async (length: number): Promise<boolean> => {
    if (loaded.length - at >= length) return true
    if (start + at + length > size) return false
    start += at
    at = 0
    const reading = Math.min(size - start, Math.max(atOnce, length))
    if (memory.length < reading) memory = Buffer.allocUnsafeSlow(reading)
    loaded = await read(start, reading, memory)
    return loaded.length >= length
  }

  while (start + at < size) {
    const offset = start + at
    let whole = (await load(PREAMBLE_BYTES)) && record.check(loaded, at, secret)
    if (whole === "short") {
      whole = (await load(record.preambleLength(loaded, at))) && record.check(loaded, at, secret)
    }
    if (whole === true && (await load(record.length(loaded, at)))) {
      const intact = record.isBodyWhole(loaded, at, secret)
      if (intact && damagedFrom !== undefined) {
        damage.push({ from: damagedFrom, to: offset })
        damagedFrom = undefined
      }
      if (intact) {
        const visited = visit(loaded, at, offset)
        if (visited) await visited
      } else damagedFrom ??= offset
      at += record.length(loaded, at)
      continue
    }
    damagedFrom ??= offset
    const next = loaded.indexOf(marker, at + 1)
    // The marker may begin in the last three bytes.
    at = next >= 0 ? next : Math.max(at + 1, loaded.length - 3)
  }
  if (damagedFrom !== undefined) damage.push({ from: damagedFrom, to: size })
  return damage
}
