/**
 * The index file of a sealed segment: blocks of 4,096 bytes, each with its own checksum, in five parts. Numbers are
 * big-endian.
 *
 * Block: payload 4,092 | crc u32, whose first value is the block's number.
 * Header (block 0): "HEADWIDX" | version u16 | flags u16 (1: the segment begins a running hash of its own) | number u32
 *   | base u64 | running hash there, 8 | last position u64 | running hash there, 8 | size of the segment u64 | marker u32
 *   | salt u32 | entries u32 | lost u32 | broken by u32 | predecessor, 8 | identity, 8 | rows u32 | bloom blocks u32
 *   | segment before it u32.
 * Places: position after base u32, offset u32; 511 a block, ascending.
 * Rows: key 16 | value u32 | number u16 | kind u8 | zero u8; 170 a block, ascending by key.
 *   kind 0, an entity, by 16 of its sha256: the value is where its state begins in the last part. Of the others it is
 *   the offset of the record, and the number that of the change. Kind 1, a change, by 16 of its hash xor its entity's key.
 *   Kind 2, the last change of an actor in an entity, by the actor's key xor the entity's. Kind 3, an actor that is bound,
 *   by its key: 16 of the sha256 of marker, salt and actor.
 * Bloom filter over key and kind: each row sets 7 bits of one block.
 * States: heads u32 | length of the collection u32 | tombstone's position u64, 0 for none | collection, UTF-8
 *   | heads, 32 each.
 *
 * Identity is 8 bytes of sha256 over the header before it. An index claims what is true on top of its predecessor only,
 * so it counts only while that one has the identity that it names; `lost` says that records of this segment, or what
 * came before it, are lost, and `broken by` names the segment that has begun a new running hash because of that.
 */
import { hash } from "node:crypto"
import { crc32 } from "node:zlib"
import { BLOCK } from "../cache.ts"
import { fingerprint, type Origin, readU64, writeU64 } from "./format.ts"

export const PAYLOAD = BLOCK - 4
export const PLACE = 8
export const PLACES = Math.floor(PAYLOAD / PLACE)
export const ROW = 24
export const ROWS = Math.floor(PAYLOAD / ROW)
export const STATE = 16
const MAGIC = "HEADWIDX"
const VERSION = 1
const BLOOM_BITS = 8 * PAYLOAD
const BLOOM_PROBES = 7
const BITS_PER_ROW = 10

export const Kind = { entity: 0, change: 1, tail: 2, binding: 3 } as const
export type Kind = (typeof Kind)[keyof typeof Kind]

/** What a sealed segment is, without its content. */
export interface Summary {
  readonly origin: Origin
  /** The position of its last record, and the running hash there; those of its origin when it has none. */
  readonly last: number
  readonly running: Buffer
  /** Bytes of the segment's file. */
  readonly size: number
  readonly entries: number
  /** Records are missing in it or before it. */
  readonly lost: boolean
  /** The number of the segment that has begun a new running hash because of that; 0: nothing was lost. */
  readonly brokenBy: number
  /** The identity of the index before; zeros when there is none. */
  readonly predecessor: Buffer
  readonly rows: number
  readonly bloom: number
}

export const NOBODY = Buffer.alloc(8)
export const bloomBlocks = (rows: number): number => Math.ceil((rows * BITS_PER_ROW) / BLOOM_BITS)

/** The first block of each part. */
export function layout({ entries, rows, bloom }: Pick<Summary, "entries" | "rows" | "bloom">) {
  const firstRows = 1 + Math.ceil(entries / PLACES)
  const firstBloom = firstRows + Math.ceil(rows / ROWS)
  return { places: 1, rows: firstRows, bloom: firstBloom, states: firstBloom + bloom }
}

export function encodeSummary(summary: Summary): Buffer {
  const { origin } = summary
  const bytes = Buffer.alloc(PAYLOAD)
  bytes.write(MAGIC, "latin1")
  bytes.writeUInt16BE(VERSION, 8)
  bytes.writeUInt16BE(origin.fresh ? 1 : 0, 10)
  bytes.writeUInt32BE(origin.number, 12)
  writeU64(bytes, origin.base, 16)
  origin.start.copy(bytes, 24)
  writeU64(bytes, summary.last, 32)
  summary.running.copy(bytes, 40)
  writeU64(bytes, summary.size, 48)
  bytes.writeUInt32BE(origin.marks.marker, 56)
  bytes.writeUInt32BE(origin.marks.salt, 60)
  bytes.writeUInt32BE(summary.entries, 64)
  bytes.writeUInt32BE(summary.lost ? 1 : 0, 68)
  bytes.writeUInt32BE(summary.brokenBy, 72)
  summary.predecessor.copy(bytes, 76)
  bytes.write(hash("sha256", bytes.subarray(0, 84), "hex"), 84, 8, "hex")
  bytes.writeUInt32BE(summary.rows, 92)
  bytes.writeUInt32BE(summary.bloom, 96)
  bytes.writeUInt32BE(origin.after, 100)
  return bytes
}

/** Undefined for another format. Only after the block's checksum was found right. */
export function decodeSummary(bytes: Buffer): (Summary & { readonly identity: Buffer }) | undefined {
  if (bytes.toString("latin1", 0, 8) !== MAGIC || bytes.readUInt16BE(8) !== VERSION) return undefined
  return {
    origin: {
      number: bytes.readUInt32BE(12),
      after: bytes.readUInt32BE(100),
      base: readU64(bytes, 16),
      start: Buffer.from(bytes.subarray(24, 32)),
      fresh: (bytes.readUInt16BE(10) & 1) !== 0,
      marks: { marker: bytes.readUInt32BE(56), salt: bytes.readUInt32BE(60) },
    },
    last: readU64(bytes, 32),
    running: Buffer.from(bytes.subarray(40, 48)),
    size: readU64(bytes, 48),
    entries: bytes.readUInt32BE(64),
    lost: bytes.readUInt32BE(68) !== 0,
    brokenBy: bytes.readUInt32BE(72),
    predecessor: Buffer.from(bytes.subarray(76, 84)),
    identity: Buffer.from(bytes.subarray(84, 92)),
    rows: bytes.readUInt32BE(92),
    bloom: bytes.readUInt32BE(96),
  }
}

/** Puts the checksum behind the payload of the block that begins at `at`. */
export function closeBlock(bytes: Buffer, at: number): void {
  bytes.writeUInt32BE(crc32(bytes.subarray(at, at + PAYLOAD), at / BLOCK), at + PAYLOAD)
}

export const isBlockWhole = (block: Buffer, n: number): boolean =>
  block.length === BLOCK && block.readUInt32BE(PAYLOAD) === crc32(block.subarray(0, PAYLOAD), n)

/** Which block of a filter is a row's, and which of its bits: from one on, in steps. Fits filters of any size. */
export interface Probe {
  readonly where: number
  readonly from: number
  readonly step: number
}

/** `bytes` has the row's key at `at`. */
export function probeOf(bytes: Buffer, at: number, kind: Kind, salt: number): Probe {
  const bits = fingerprint(bytes, at, ~salt ^ (kind + 1))
  return { where: fingerprint(bytes, at, salt ^ (kind + 1)), from: bits, step: (bits >>> 16) | 1 }
}

/** Marks the row in its block, which begins at `at`. */
export function mark(bytes: Buffer, at: number, { from, step }: Probe): void {
  for (let i = 0; i < BLOOM_PROBES; i++) {
    const bit = (from + i * step) % BLOOM_BITS
    bytes[at + (bit >> 3)]! |= 1 << (bit & 7)
  }
}

export function isMarked(block: Buffer, { from, step }: Probe): boolean {
  for (let i = 0; i < BLOOM_PROBES; i++) {
    const bit = (from + i * step) % BLOOM_BITS
    if ((block[bit >> 3]! & (1 << (bit & 7))) === 0) return false
  }
  return true
}
