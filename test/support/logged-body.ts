/** Finds what a relay has logged in the bytes of its files. `relay/log/segment/record.ts` has the format. */
import { record } from "../../relay/log/segment/record.ts"
import { hashOf } from "../../src/wire/chunk.ts"
import { decodeEntry, type Hash } from "../../src/wire/protocol.ts"

const bufferOf = (file: Uint8Array) => Buffer.from(file.buffer, file.byteOffset, file.length)

/** Offsets of the marker in the two copies of a segment's header. */
const MARKERS_AT = [32, 4096 + 32]

/**
 * Where the record with the byte at `at` may begin. There is a candidate for each copy of the header, because the
 * marker in one copy may be damaged.
 */
function startsBefore(bytes: Buffer, at: number): number[] {
  const starts = MARKERS_AT.map((marker) => bytes.lastIndexOf(bytes.subarray(marker, marker + 4), at))
  return starts.filter((start) => start >= MARKERS_AT[1]!)
}

/** The offset of an entry in a segment file; -1 when it is not there. `hash`: that of the entry's first change. */
export function bodyAt(path: string, file: Uint8Array, hash: Hash): number {
  const bytes = bufferOf(file)
  const at = path.endsWith(".log") ? bytes.indexOf(hash, 0, "hex") : -1
  const [start] = at < 0 ? [] : startsBefore(bytes, at)
  return start === undefined ? -1 : start + record.factsLength(bytes, start)
}

/** Whether a segment file has a whole entry with this change. */
export function hasChange(path: string, file: Uint8Array, hash: Hash): boolean {
  if (!path.endsWith(".log")) return false
  const bytes = bufferOf(file)
  for (let at = bytes.indexOf(hash, 0, "hex"); at >= 0; at = bytes.indexOf(hash, at + 1, "hex")) {
    if (startsBefore(bytes, at).some((start) => hashesIn(bytes, start).has(hash))) return true
  }
  return false
}

/** A cache of the hashes of the changes in each body. */
const read = new Map<string, ReadonlySet<Hash>>()
const NONE: ReadonlySet<Hash> = new Set()

function hashesIn(bytes: Buffer, at: number): ReadonlySet<Hash> {
  const body = record.body(bytes, at)
  if (body.length !== record.bodyLength(bytes, at) || body.length === 0) return NONE
  const name = body.toString("latin1")
  let hashes = read.get(name)
  if (hashes === undefined) {
    hashes = readBody(body)
    if (read.size === 10_000) read.clear()
    read.set(name, hashes)
  }
  return hashes
}

function readBody(body: Buffer): ReadonlySet<Hash> {
  try {
    return new Set(decodeEntry(body).chunks.map(hashOf))
  } catch {
    return NONE
  }
}
