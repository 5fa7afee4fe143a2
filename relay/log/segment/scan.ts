/** Reads a segment from its first record to its end, and skips damaged bytes. */
import { HEADER_BYTES, type Secret } from "./header.ts"
import { FIXED_BYTES, record } from "./record.ts"

/** Bytes of a file from one offset up to another. */
export interface Span {
  readonly from: number
  readonly to: number
}

/**
 * Calls `visit` with every whole record: the bytes that were read, the record's offset `at` in them, and its `offset`
 * in the file. Returns the spans between whole records, which are damaged. The body of a damaged record may contain
 * bytes that an attacker made to look like a record. The scan does not take them for one, because a record needs the
 * marker and the salt, which are secret. `atOnce`: the bytes of one read; a longer record takes a larger read.
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
  // Use the same memory for all reads, because new memory for each read would make the process grow.
  let memory = Buffer.allocUnsafeSlow(Math.min(atOnce, size))
  /** The bytes of the last read, their offset in the file, and the offset in them at which the scan goes on. */
  let loaded: Buffer = memory.subarray(0, 0)
  let start = HEADER_BYTES
  let at = 0

  /** Loads `length` bytes from `at` on. False: the file ends earlier. */
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
    let whole = (await load(FIXED_BYTES)) && record.check(loaded, at, secret)
    if (whole === "short") {
      whole = (await load(record.headLength(loaded, at))) && record.check(loaded, at, secret)
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
    // The next marker may begin in the last three loaded bytes.
    at = next >= 0 ? next : Math.max(at + 1, loaded.length - 3)
  }
  if (damagedFrom !== undefined) damage.push({ from: damagedFrom, to: size })
  return damage
}
