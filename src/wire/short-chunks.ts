/**
 * The short form of the chunks of one entity: one block of bytes for all chunks of an entry.
 *
 * `block = uleb 2 * bytes of all chunks + (1 if deflated) | if deflated, uleb bytes of the sequence | sequence | check`
 *
 * The sequence has an element for each chunk (`sequence.ts`). An element leaves out what the elements before it say
 * already, so the reader makes the chunks again and computes their checksums. `check` is the exclusive or of these
 * checksums, because a flipped bit would otherwise make another change, with a checksum that fits. A block can be read
 * by itself, because a relay stores and serves the bytes that it has received.
 */

import { HeadwaterError } from "../base/errors.ts"
import { deflate } from "./deflate.ts"
import { inflate } from "./inflate.ts"
import { HASHED_FROM } from "./layout.ts"
import { Bytes, chunkBad } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import { limits } from "./messages.ts"
import { type Owner, readSequence, writeSequence } from "./sequence.ts"

/**
 * Sequences of fewer bytes than this are not deflated: deflating takes some 60 us, and a single edit does not become
 * shorter. `ONE`: for a single chunk, `SEVERAL`: for more, since they repeat each other.
 */
const ONE = 400
const SEVERAL = 100

/**
 * How much is done for a shorter block. `named`: derived changes are named, and others carried as they are. `short`:
 * what the changes before say is left out. `deflated`: the sequence is deflated, too, where that saves bytes.
 */
export type Effort = "named" | "short" | "deflated"

/** Encodes the chunks of one entry. */
export function encodeChunks(owner: Owner, chunks: readonly Uint8Array[], effort: Effort = "deflated"): Uint8Array {
  const size = bytesOf(chunks)
  const sequence = writeSequence(owner, chunks, effort === "named")
  const worthIt = effort === "deflated" && sequence.length >= (chunks.length === 1 ? ONE : SEVERAL)
  const shorter = worthIt ? deflate(sequence) : sequence
  const out = new BytesWriter(sequence.length + 16)
  if (shorter.length + 4 < sequence.length) {
    out.uleb(2 * size + 1)
    out.uleb(sequence.length)
    out.bytes(shorter)
  } else {
    out.uleb(2 * size)
    out.bytes(sequence)
  }
  out.bytes(checkOf(chunks))
  return out.done().slice()
}

/**
 * Decodes a block into exactly the chunks that were encoded. `most`: how many bytes the chunks may have together.
 *
 * Read each chunk with `readChange`: it may have been carried as it is, and the last one is not checked here.
 *
 * Throws `CHUNK_BAD` for bytes that are not a block; `TOO_LARGE` for more than `most` bytes, for more than
 * `limits.chunks` chunks and for a change beyond the limits. Takes memory for the sequence and the chunks only, whose lengths the block gives and which are checked before.
 */
export function decodeChunks(owner: Owner, block: Uint8Array, most: number = limits.message): Uint8Array[] {
  const bytes = new Bytes(block, 0, block.length - CHECK)
  const { size, deflated } = headOf(bytes)
  if (size > most) throw new HeadwaterError("TOO_LARGE", `chunks of ${size} bytes, ${most} are allowed`)
  const chunks = readSequence(owner, deflated ? inflated(bytes, size) : bytes, size)
  if (bytesOf(chunks) !== size) throw chunkBad("the chunks are shorter than they say")
  const check = checkOf(chunks)
  if (check.some((byte, i) => byte !== block[bytes.end + i])) throw chunkBad("the check of the chunks does not match")
  return chunks
}

/** Returns the bytes of all chunks of a block together, as the block gives them. Throws `CHUNK_BAD`. */
export const chunkBytes = (block: Uint8Array): number => headOf(new Bytes(block, 0)).size

/** Bytes of the check. */
const CHECK = 4

function headOf(bytes: Bytes): { size: number; deflated: boolean } {
  const head = bytes.uleb()
  return { size: Math.floor(head / 2), deflated: head % 2 === 1 }
}

/** An element is at most this many bytes longer than its chunk. No chunk is shorter than 34 bytes. */
const LONGER = 5

function inflated(bytes: Bytes, size: number): Bytes {
  const length = bytes.uleb()
  if (length > size + (LONGER * size) / 34) throw chunkBad("the sequence is longer than its chunks")
  return new Bytes(inflate(bytes.bytes, bytes.at, bytes.end, length), 0)
}

function bytesOf(chunks: readonly Uint8Array[]): number {
  let bytes = 0
  for (const chunk of chunks) bytes += chunk.length
  return bytes
}

function checkOf(chunks: readonly Uint8Array[]): Uint8Array {
  const check = new Uint8Array(CHECK)
  for (const chunk of chunks) for (let i = 0; i < CHECK; i++) check[i]! ^= chunk[HASHED_FROM - CHECK + i]!
  return check
}
