/**
 * A record of a segment file: a preamble, then the body, which is an entry as on the wire. Numbers are big-endian.
 *
 * Preamble: marker u32 | crc u32 of the preamble from here on | length u32 | length of the preamble u32
 *   | crc of the body u32 | changes u16 | kind u8 | zero u8 | position u64 | step u32 from the previous position
 *   | running hash, 8 | entity, 16 of its sha256 | changes | collection, principal: each UTF-8 and then its length u16.
 * Change: hash 32 | actor 16 | seq u32 | startOp u32 | maxOp u32 | flags u8 (1: binds its actor) | deps u16, 32 each.
 * A change whose one dep is the change before it has no deps of its own. Its u16 is 32,768 + the bytes from the change
 * before to this one.
 *
 * The preamble has all that look-ups need, with a checksum of its own, so look-ups read neither chunks nor CBOR. The
 * running hash is 8 bytes of sha256 over the running hash of the previous record and everything from `changes` on. The
 * checksums have the salt as their start value. Marker and salt are the log's secret (`header.ts`).
 */
import { hash as digest } from "node:crypto"
import { crc32 } from "node:zlib"
import type { Actor, Entry, Hash } from "../../../src/wire/protocol.ts"
import { type GrowingBytes, readU64, writeU64 } from "../bytes.ts"
import type { AppendedChange, Known } from "../contract.ts"
import type { Secret } from "./header.ts"
import type { Key } from "./keys.ts"

/** Bytes of a preamble before its changes. */
export const PREAMBLE_BYTES = 60
const ENTITY_AT = 44
/** Bytes of a change before its deps. */
const CHANGE_BYTES = 63
/** Added to the bytes between a change and the one before it, which is its only dep. */
const FOLLOWS = 0x8000
const BINDS = 1
/** Set only in memory: the change depends on a lost change. It is served but does not count as known. */
const ORPHAN = 2
/**
 * A greater length shows that a record is damaged, because any entry that fits into a message needs less, including its
 * preamble.
 */
const LONGEST_RECORD_BYTES = 16 * 2 ** 20
export const LONGEST_ENTRY_BYTES = LONGEST_RECORD_BYTES / 2
const kinds: readonly Entry["kind"][] = ["change", "snapshot", "tombstone"]

export const record = {
  length: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 8),
  preambleLength: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 12),
  changes: (bytes: Buffer, at: number) => bytes.readUInt16BE(at + 20),
  kind: (bytes: Buffer, at: number) => kinds[bytes[at + 22]!],
  position: (bytes: Buffer, at: number) => readU64(bytes, at + 24),
  /** The position of the record before this one. */
  previous: (bytes: Buffer, at: number) => readU64(bytes, at + 24) - bytes.readUInt32BE(at + 32),
  running: (bytes: Buffer, at: number) => bytes.subarray(at + 36, at + 44),
  entityAt: ENTITY_AT,
  entity: (bytes: Buffer, at: number): Key => bytes.subarray(at + ENTITY_AT, at + PREAMBLE_BYTES),
  isOf: (bytes: Buffer, at: number, entity: Key) =>
    bytes.compare(entity, 0, 16, at + ENTITY_AT, at + PREAMBLE_BYTES) === 0,
  bodyLength: (bytes: Buffer, at: number) => record.length(bytes, at) - record.preambleLength(bytes, at),
  body: (bytes: Buffer, at: number) =>
    bytes.subarray(at + record.preambleLength(bytes, at), at + record.length(bytes, at)),

  collection(bytes: Buffer, at: number): string {
    const end = principalAt(bytes, at) - 2
    return bytes.toString("utf8", end - bytes.readUInt16BE(end), end)
  },
  /** The principal to which this record binds actors. */
  principal: (bytes: Buffer, at: number) =>
    bytes.toString("utf8", principalAt(bytes, at), at + record.preambleLength(bytes, at) - 2),

  /**
   * Whether an undamaged preamble begins at `at`. `"short"`: there are too few `bytes` to tell; once at least
   * `PREAMBLE_BYTES` of the preamble are there, `preambleLength` says how many are needed. Read the other fields only
   * if this returns true.
   */
  check(bytes: Buffer, at: number, secret: Secret): boolean | "short" {
    if (bytes.length - at < PREAMBLE_BYTES) return "short"
    if (bytes.readUInt32BE(at) !== secret.marker) return false
    const length = record.preambleLength(bytes, at)
    if (length < PREAMBLE_BYTES || length > record.length(bytes, at)) return false
    if (record.length(bytes, at) > LONGEST_RECORD_BYTES) return false
    if (bytes.length - at < length) return "short"
    return bytes.readUInt32BE(at + 4) === crc32(bytes.subarray(at + 8, at + length), secret.salt)
  },

  /** Whether the body is undamaged. Call it only after `check`, and with the whole record in `bytes`. */
  isBodyWhole: (bytes: Buffer, at: number, { salt }: Secret) =>
    bytes.readUInt32BE(at + 16) === crc32(record.body(bytes, at), salt),
}

function principalAt(bytes: Buffer, at: number): number {
  const end = at + record.preambleLength(bytes, at) - 2
  return end - bytes.readUInt16BE(end)
}

/** Reads the changes in a preamble. Each change is given by its offset, at which its hash begins. */
export const change = {
  actorAt: (at: number) => at + 32,
  /** How many deps the change has. */
  depCount(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return deps >= FOLLOWS ? 1 : deps
  },
  /** The offset of the first dep. The deps follow each other without gaps. */
  firstDep(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return deps >= FOLLOWS ? at - (deps - FOLLOWS) : at + CHANGE_BYTES
  },
  first: (recordAt: number) => recordAt + PREAMBLE_BYTES,
  next(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return at + CHANGE_BYTES + (deps >= FOLLOWS ? 0 : 32 * deps)
  },
  hash: (bytes: Buffer, at: number): Hash => bytes.toString("hex", at, at + 32),
  actor: (bytes: Buffer, at: number): Actor => bytes.toString("hex", at + 32, at + 48),
  seq: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 48),
  maxOp: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 56),
  binds: (bytes: Buffer, at: number) => (bytes[at + 60]! & BINDS) !== 0,
  isOrphan: (bytes: Buffer, at: number) => (bytes[at + 60]! & ORPHAN) !== 0,
  setOrphan(bytes: Buffer, at: number): void {
    bytes[at + 60]! |= ORPHAN
  },

  deps(bytes: Buffer, at: number): Hash[] {
    const first = change.firstDep(bytes, at)
    return Array.from({ length: change.depCount(bytes, at) }, (_, i) =>
      bytes.toString("hex", first + 32 * i, first + 32 * (i + 1)),
    )
  },

  known: (bytes: Buffer, recordAt: number, at: number): Known => ({
    actor: change.actor(bytes, at),
    seq: change.seq(bytes, at),
    startOp: bytes.readUInt32BE(at + 52),
    maxOp: change.maxOp(bytes, at),
    deps: change.deps(bytes, at),
    position: record.position(bytes, recordAt),
  }),
}

/** The place of a record in its log. */
export interface Standing {
  readonly position: number
  /** The position of the previous record, and the running hash there. */
  readonly previous: number
  readonly previousRunning: Uint8Array
}

/**
 * Appends the record to `out`. Throws when a number is too large for its field; `out` may then have a part of the
 * record.
 */
export function writeRecord(
  out: GrowingBytes,
  secret: Secret,
  standing: Standing,
  entity: Key,
  entry: Entry,
  changes: readonly AppendedChange[],
  body: Uint8Array,
): void {
  let deps = 0
  let binds = false
  for (const [i, appended] of changes.entries()) {
    if (!follows(appended, changes[i - 1])) deps += appended.deps.length
    binds ||= appended.binds === true
  }
  const texts = [entry.collection, binds ? (entry.by ?? "") : ""]
  const textBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 2, 0)
  const preambleLength = PREAMBLE_BYTES + CHANGE_BYTES * changes.length + 32 * deps + textBytes
  const length = preambleLength + body.length
  const start = out.reserve(length)
  const { bytes } = out
  bytes.writeUInt32BE(secret.marker, start)
  bytes.writeUInt32BE(length, start + 8)
  bytes.writeUInt32BE(preambleLength, start + 12)
  bytes.writeUInt32BE(crc32(body, secret.salt), start + 16)
  bytes.writeUInt16BE(changes.length, start + 20)
  bytes[start + 22] = kinds.indexOf(entry.kind)
  bytes[start + 23] = 0
  writeU64(bytes, standing.position, start + 24)
  bytes.writeUInt32BE(standing.position - standing.previous, start + 32)
  bytes.set(standing.previousRunning, start + 36)
  bytes.set(entity, start + ENTITY_AT)

  let at = start + PREAMBLE_BYTES
  let before = at
  for (const [i, appended] of changes.entries()) {
    const end = writeChange(bytes, at, appended, follows(appended, changes[i - 1]) ? at - before : undefined)
    before = at
    at = end
  }
  for (const text of texts) {
    const written = bytes.write(text, at)
    at = bytes.writeUInt16BE(written, at + written)
  }
  bytes.set(body, at)
  bytes.write(digest("sha256", bytes.subarray(start + 20, start + length), "hex"), start + 36, 8, "hex")
  bytes.writeUInt32BE(crc32(bytes.subarray(start + 8, start + preambleLength), secret.salt), start + 4)
}

/** Whether the only dep of a change is the change before it. */
function follows({ deps }: AppendedChange, before: AppendedChange | undefined): boolean {
  if (before === undefined || deps.length !== 1 || deps[0] !== before.hash) return false
  // A distance of more bytes has no room in its u16.
  return CHANGE_BYTES + 32 * before.deps.length < FOLLOWS
}

/**
 * Returns the offset at which the change ends. `distance`: the bytes from the change before, if that is the only dep;
 * else undefined.
 */
function writeChange(bytes: Buffer, at: number, appended: AppendedChange, distance: number | undefined): number {
  bytes.write(appended.hash, at, 32, "hex")
  bytes.write(appended.actor, at + 32, 16, "hex")
  bytes.writeUInt32BE(appended.seq, at + 48)
  bytes.writeUInt32BE(appended.startOp, at + 52)
  bytes.writeUInt32BE(appended.maxOp, at + 56)
  bytes[at + 60] = appended.binds ? BINDS : 0
  bytes.writeUInt16BE(distance === undefined ? appended.deps.length : FOLLOWS + distance, at + 61)
  let end = at + CHANGE_BYTES
  if (distance !== undefined) return end
  for (const dep of appended.deps) end += bytes.write(dep, end, 32, "hex")
  return end
}
