/**
 * The header of a segment file: 128 bytes at byte 0, and a copy of them at byte 4,096. The two copies are in different
 * blocks of the disk, so one bad block destroys only one copy. Numbers are big-endian.
 *
 * "HEADWLOG" | version u16 | flags u16 (1: fresh) | number u32 | base u64 | running hash at the base, 8
 *   | marker u32 | salt u32 | number of the segment before it u32, 0 for none | workspace, length u8 and UTF-8
 *   | zeros | crc u32 of all bytes before it, at byte 124.
 */
import { crc32 } from "node:zlib"
import { HeadwaterError } from "../../../src/base/errors.ts"
import { readU64, writeU64 } from "../bytes.ts"

const COPY_BYTES = 128
const COPIES_AT = [0, 4096] as const
/** Bytes of a file before its first record. */
export const HEADER_BYTES = COPIES_AT[1] + COPY_BYTES
const MAGIC = "HEADWLOG"
const VERSION = 3
const FRESH = 1

/**
 * The secret of a log: the marker with which each of its records begins, and the salt, the start value of its
 * checksums. Clients do not know them. So a scan that searches for the next whole record cannot mistake bytes that a
 * client sent for a record.
 */
export interface Secret {
  readonly marker: number
  readonly salt: number
}

/** The header of a segment. */
export interface SegmentHeader {
  readonly number: number
  /** The number of the previous segment; 0: there is none. */
  readonly previous: number
  /** The position before the segment's first entry. */
  readonly base: number
  /** The running hash at the base, 8 bytes. */
  readonly baseRunning: Buffer
  /**
   * Whether the running hash begins anew, because there is no segment before this one or records before it are lost.
   */
  readonly fresh: boolean
  readonly secret: Secret
}

export function encodeHeader(workspace: string, header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES)
  bytes.write(MAGIC, "latin1")
  bytes.writeUInt16BE(VERSION, 8)
  bytes.writeUInt16BE(header.fresh ? FRESH : 0, 10)
  bytes.writeUInt32BE(header.number, 12)
  writeU64(bytes, header.base, 16)
  header.baseRunning.copy(bytes, 24)
  bytes.writeUInt32BE(header.secret.marker, 32)
  bytes.writeUInt32BE(header.secret.salt, 36)
  bytes.writeUInt32BE(header.previous, 40)
  bytes[44] = bytes.write(workspace, 45, 64)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, COPY_BYTES - 4)), COPY_BYTES - 4)
  bytes.copy(bytes, COPIES_AT[1], 0, COPY_BYTES)
  return bytes
}

/** Returns the copies of the header that are wrong in `found`: the offset of each, and the right bytes. */
export function differences(found: Buffer, right: Buffer): { readonly at: number; readonly copy: Buffer }[] {
  const copies = COPIES_AT.map((at) => ({ at, copy: right.subarray(at, at + COPY_BYTES) }))
  return copies.filter(({ at, copy }) => !copy.equals(found.subarray(at, at + COPY_BYTES)))
}

/**
 * Returns undefined when neither copy is intact. Throws for an unknown version or flag, because a later relay may use
 * it for records that must be read differently.
 */
export function decodeHeader(bytes: Buffer): SegmentHeader | undefined {
  for (const at of COPIES_AT) {
    const copy = bytes.subarray(at, at + COPY_BYTES)
    if (copy.length < COPY_BYTES) continue
    if (copy.readUInt32BE(COPY_BYTES - 4) !== crc32(copy.subarray(0, COPY_BYTES - 4))) continue
    if (copy.toString("latin1", 0, 8) !== MAGIC || copy.readUInt16BE(8) !== VERSION) {
      throw unknown(`format version ${copy.readUInt16BE(8)}`)
    }
    const flags = copy.readUInt16BE(10)
    if ((flags & ~FRESH) !== 0) throw unknown(`flags ${flags}`)
    return {
      number: copy.readUInt32BE(12),
      previous: copy.readUInt32BE(40),
      base: readU64(copy, 16),
      baseRunning: Buffer.from(copy.subarray(24, 32)),
      fresh: flags === FRESH,
      secret: { marker: copy.readUInt32BE(32), salt: copy.readUInt32BE(36) },
    }
  }
  return undefined
}

const unknown = (what: string) =>
  new HeadwaterError(
    "LOG_FAILED",
    `a segment has ${what}, which this relay does not know: use the version of the relay that wrote it`,
  )
