/**
 * The index file of a sealed segment: blocks of 4,096 bytes, in a header and five parts. Numbers are big-endian.
 *
 * Block: payload 4,092 | crc u32 of the payload, with the block's number as its start value.
 * Header (block 0): "HEADWIDX" | version u16 | flags u16 (1: the segment is fresh; 2: not all
 *   orphans are listed) | number u32 | base u64
 *   | running hash at the base, 8 | last position u64 | running hash there, 8 | bytes of the segment u64
 *   | marker u32 | salt u32 | entries u32 | lost u32 | broken by u32 | fresh running hash, 8 | predecessor, 8
 *   | identity, 8 | pointers u32 | bloom blocks u32 | number of the segment before it u32 | orphans u32.
 * Offsets: of each record, its position minus the base u32, and its offset in the segment u32; 511 a block, ascending.
 * Pointers: first 8 bytes of a key | value u32 | number u16 | kind u8; 272 a block, ascending by key. Two keys may
 *   begin with the same 8 bytes, so a look-up also compares the state or change to which the pointer leads.
 *   Kind 0 is an entity, by its key: the value is the offset of its state in the last part.
 *   The other kinds are a change: the value is the offset of its record, the number its index in that record.
 *   Kind 1 is any change, by the first 16 bytes of its hash XOR its entity's key.
 *   Kind 2 is the last change of an actor in an entity, by the actor's key XOR the entity's.
 *   Kind 3 is the last change that binds an actor, by the actor's key.
 * Bloom filter: over key and kind of all pointers (`bloom.ts`).
 * Orphans (`orphans.ts`): key of the entity 16 | hash 32; 85 a block.
 * States: heads u32 | length of the collection u32 | tombstone's position u64, 0 for none | key of the entity, 16
 *   | collection, UTF-8 | heads, 32 each.
 *
 * `identity` is 8 bytes of sha256 over the header's fields before it. An index depends on the index of the segment
 * before it, so it is valid only while that index has the identity that `predecessor` names. `lost`: records of this
 * segment, or of an earlier one, are lost. `broken by`: the segment that has begun a fresh running hash because of the
 * loss. `fresh running hash`: the running hash with which that segment begins. Both are zeros when nothing is lost, and
 * in the indexes of that segment and of later ones until another loss.
 */
import { hash as digest } from "node:crypto"
import { crc32 } from "node:zlib"
import { readU64, writeU64 } from "../bytes.ts"
import { BLOCK_BYTES } from "../files/blocks.ts"
import type { SegmentHeader } from "./header.ts"
import { ORPHAN_BYTES } from "./orphans.ts"

export const PAYLOAD_BYTES = BLOCK_BYTES - 4
export const OFFSET_BYTES = 8
export const OFFSETS_PER_BLOCK = Math.floor(PAYLOAD_BYTES / OFFSET_BYTES)
/** Number of a key's first bytes that its pointer has. */
export const KEY_BYTES = 8
/** Offset of the kind in a pointer: after the key, the value and the number. */
export const POINTER_KIND_AT = KEY_BYTES + 6
export const POINTER_BYTES = POINTER_KIND_AT + 1
export const POINTERS_PER_BLOCK = Math.floor(PAYLOAD_BYTES / POINTER_BYTES)
export const ORPHANS_PER_BLOCK = Math.floor(PAYLOAD_BYTES / ORPHAN_BYTES)
/** Bytes of a state before its collection. */
export const STATE_BYTES = 32
const MAGIC = "HEADWIDX"
const VERSION = 4
const FRESH = 1
const ORPHANS_OVERFLOWED = 2

export const PointerKind = { entity: 0, change: 1, tail: 2, binding: 3 } as const
export type PointerKind = (typeof PointerKind)[keyof typeof PointerKind]

/** The segment with which a log goes on after a loss: its number, and the running hash with which it begins. */
export interface FreshStart {
  readonly number: number
  readonly running: Buffer
}

/** The facts about a whole segment, from the header of its index. */
export interface IndexHeader {
  readonly header: SegmentHeader
  /**
   * The position of the last record, and the running hash there. Without any record, these are the values of the base.
   */
  readonly last: number
  readonly running: Buffer
  /** Bytes of the segment's file. */
  readonly size: number
  readonly entries: number
  /** Whether records of this segment or of an earlier one are lost. */
  readonly lost: boolean
  /**
   * The segment that has begun a fresh running hash because of that loss. Undefined when nothing is lost, and for that
   * segment and later ones until another loss.
   */
  readonly freshStart: FreshStart | undefined
  /** The identity of the index of the segment before this one; zeros when there is none. */
  readonly predecessor: Buffer
  readonly pointers: number
  readonly bloom: number
  /** The number of orphans in the list, and whether there are more orphans than the list has. */
  readonly orphans: number
  readonly orphansOverflowed: boolean
}

/** The `predecessor` of a log's first index. */
export const NO_PREDECESSOR = Buffer.alloc(8)

/** Returns the number of each part's first block. */
export function layout({
  entries,
  pointers,
  bloom,
  orphans,
}: Pick<IndexHeader, "entries" | "pointers" | "bloom" | "orphans">) {
  const firstPointers = 1 + Math.ceil(entries / OFFSETS_PER_BLOCK)
  const firstBloom = firstPointers + Math.ceil(pointers / POINTERS_PER_BLOCK)
  const firstOrphans = firstBloom + bloom
  const firstStates = firstOrphans + Math.ceil(orphans / ORPHANS_PER_BLOCK)
  return { offsets: 1, pointers: firstPointers, bloom: firstBloom, orphans: firstOrphans, states: firstStates }
}

export function encodeIndexHeader(index: IndexHeader): Buffer {
  const { header } = index
  const bytes = Buffer.alloc(PAYLOAD_BYTES)
  bytes.write(MAGIC, "latin1")
  bytes.writeUInt16BE(VERSION, 8)
  bytes.writeUInt16BE((header.fresh ? FRESH : 0) | (index.orphansOverflowed ? ORPHANS_OVERFLOWED : 0), 10)
  bytes.writeUInt32BE(header.number, 12)
  writeU64(bytes, header.base, 16)
  header.baseRunning.copy(bytes, 24)
  writeU64(bytes, index.last, 32)
  index.running.copy(bytes, 40)
  writeU64(bytes, index.size, 48)
  bytes.writeUInt32BE(header.secret.marker, 56)
  bytes.writeUInt32BE(header.secret.salt, 60)
  bytes.writeUInt32BE(index.entries, 64)
  bytes.writeUInt32BE(index.lost ? 1 : 0, 68)
  bytes.writeUInt32BE(index.freshStart?.number ?? 0, 72)
  index.freshStart?.running.copy(bytes, 76)
  index.predecessor.copy(bytes, 84)
  bytes.write(digest("sha256", bytes.subarray(0, 92), "hex"), 92, 8, "hex")
  bytes.writeUInt32BE(index.pointers, 100)
  bytes.writeUInt32BE(index.bloom, 104)
  bytes.writeUInt32BE(header.previous, 108)
  bytes.writeUInt32BE(index.orphans, 112)
  return bytes
}

/** Returns undefined for another format or unknown flags. Call it only for a block whose checksum is right. */
export function decodeIndexHeader(bytes: Buffer): (IndexHeader & { readonly identity: Buffer }) | undefined {
  if (bytes.toString("latin1", 0, 8) !== MAGIC || bytes.readUInt16BE(8) !== VERSION) return undefined
  const flags = bytes.readUInt16BE(10)
  if ((flags & ~(FRESH | ORPHANS_OVERFLOWED)) !== 0) return undefined
  const brokenBy = bytes.readUInt32BE(72)
  return {
    header: {
      number: bytes.readUInt32BE(12),
      previous: bytes.readUInt32BE(108),
      base: readU64(bytes, 16),
      baseRunning: Buffer.from(bytes.subarray(24, 32)),
      fresh: (flags & FRESH) !== 0,
      secret: { marker: bytes.readUInt32BE(56), salt: bytes.readUInt32BE(60) },
    },
    last: readU64(bytes, 32),
    running: Buffer.from(bytes.subarray(40, 48)),
    size: readU64(bytes, 48),
    entries: bytes.readUInt32BE(64),
    lost: bytes.readUInt32BE(68) !== 0,
    freshStart: brokenBy > 0 ? { number: brokenBy, running: Buffer.from(bytes.subarray(76, 84)) } : undefined,
    predecessor: Buffer.from(bytes.subarray(84, 92)),
    identity: Buffer.from(bytes.subarray(92, 100)),
    pointers: bytes.readUInt32BE(100),
    bloom: bytes.readUInt32BE(104),
    orphans: bytes.readUInt32BE(112),
    orphansOverflowed: (flags & ORPHANS_OVERFLOWED) !== 0,
  }
}

/** Writes the checksum after the payload of the block that begins at `at`. */
export function closeBlock(bytes: Buffer, at: number): void {
  bytes.writeUInt32BE(crc32(bytes.subarray(at, at + PAYLOAD_BYTES), at / BLOCK_BYTES), at + PAYLOAD_BYTES)
}

/** Whether the bytes of an index's `n`-th block are undamaged. */
export const isBlockWhole = (block: Buffer, n: number): boolean =>
  block.length === BLOCK_BYTES && block.readUInt32BE(PAYLOAD_BYTES) === crc32(block.subarray(0, PAYLOAD_BYTES), n)
