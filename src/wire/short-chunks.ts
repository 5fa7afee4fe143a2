/**
 * The short form: encodes all chunks of an entry as one block of bytes.
 *
 * `block = uleb 2 * bytes of all chunks + (1 if deflated) | uleb number of chunks
 *   | if deflated, uleb bytes of the sequence | sequence | check`
 *
 * `uleb` is an unsigned LEB128 number. The sequence has an element for each chunk (`sequence.ts`). An element leaves
 * out everything that follows from earlier elements, and the checksum. So the reader makes the chunks again, and
 * computes their checksums. `check` is the exclusive or of these checksums. Without it, a flipped bit would lead to
 * another change, with a checksum that fits. A block is read without any other block, so a relay can store and serve
 * the blocks that it has received.
 */

import { HeadwaterError } from "../base/errors.ts"
import { deflate } from "./deflate.ts"
import { inflate } from "./inflate.ts"
import { HASHED_FROM } from "./layout.ts"
import { Bytes, chunkBad } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import { limits } from "./message-types.ts"
import { type Made, measureSequence, type Owner, readSequence, writeAsItIs, writeSequence } from "./sequence.ts"

/**
 * A sequence of fewer bytes than this is not deflated, because deflating takes some 60 us, and a single edit does not
 * become shorter. `ONE`: for a sequence of a single chunk. `SEVERAL`: for more chunks, which repeat each other's bytes.
 */
const ONE = 400
const SEVERAL = 100

/**
 * How much work is done for a shorter block. `whole`: every chunk is written as it is, which takes hardly any time.
 * `short`: an element leaves out everything that follows from names and from earlier elements. `deflated`: the sequence
 * is deflated, too, if that saves bytes.
 */
export type Effort = "whole" | "short" | "deflated"

/** Encodes the chunks of one entry. */
export function encodeChunks(owner: Owner, chunks: readonly Uint8Array[], effort: Effort = "deflated"): Uint8Array {
  const elements = new BytesWriter(scratch)
  if (effort === "whole") for (const chunk of chunks) writeAsItIs(elements, chunk)
  else writeSequence(elements, owner, chunks)
  const sequence = elements.written()
  const worthIt = effort === "deflated" && sequence.length >= (chunks.length === 1 ? ONE : SEVERAL)
  const deflated = worthIt ? deflate(sequence) : undefined
  const shorter = deflated !== undefined && deflated.length + 4 < sequence.length ? deflated : undefined
  const out = new BytesWriter(new Uint8Array((shorter ?? sequence).length + BESIDES_SEQUENCE))
  out.uleb(2 * bytesOf(chunks) + (shorter ? 1 : 0))
  out.uleb(chunks.length)
  if (shorter) out.uleb(sequence.length)
  out.bytes(shorter ?? sequence)
  out.bytes(checkOf(chunks))
  return out.written()
}

/**
 * The buffer in which every sequence is written. One is enough, because a sequence is copied into its block before the
 * next one is written.
 */
const scratch = new Uint8Array(2 ** 14)
/** The most bytes of a block besides its sequence: three numbers and the check. */
const BESIDES_SEQUENCE = 3 * 5 + 4

/** The size of a block's chunks, as the head of the block names it. */
export interface BlockSize {
  /** Bytes of all chunks together. */
  readonly bytes: number
  readonly chunks: number
}

/** A block whose sequence was inflated and measured, and whose chunks are not made yet. */
export interface OpenBlock extends BlockSize {
  readonly sequence: Bytes
  readonly check: Uint8Array
}

/**
 * Opens a block: inflates its sequence, and checks that the chunks can have the size that the block names. All blocks
 * of a frame are opened before any chunk is made, so a frame that is too large costs only the inflating.
 *
 * Throws `CHUNK_BAD` for bytes that are not a block, and for a block with more bytes of chunks or another number of
 * chunks than it names; `TOO_LARGE` for more than `limits.message` bytes of chunks. Allocates only the sequence, which
 * is at most 15 % longer than the chunks.
 */
export function openBlock(block: Uint8Array): OpenBlock {
  const input = new Bytes(block, 0, block.length - CHECK)
  const { bytes, chunks, isDeflated } = headOf(input)
  if (bytes > limits.message) throw new HeadwaterError("TOO_LARGE", `an entry has chunks of ${bytes} bytes`)
  const sequence = isDeflated ? inflated(input, bytes) : input
  const least = measureSequence(new Bytes(sequence.bytes, sequence.at, sequence.end), chunks)
  if (least.bytes > bytes || least.chunks < chunks)
    throw chunkBad("the chunks do not have the size that the block says")
  return { bytes, chunks, sequence, check: block.subarray(input.end) }
}

/**
 * Makes exactly the chunks that were encoded. A chunk of the result may come without its change: the chunk was written
 * as it is, or it is not a change within the limits. The caller must read such a chunk with `readChange`.
 *
 * Throws `CHUNK_BAD` for a block that cannot be read; `TOO_LARGE` when an element follows a change beyond a limit. Call
 * it only once for an open block, because it reads `sequence` up to its end.
 */
export function makeChunks(owner: Owner, { bytes, sequence, check }: OpenBlock): Made[] {
  const made = readSequence(owner, sequence, bytes)
  const chunks = made.map(({ chunk }) => chunk)
  if (bytesOf(chunks) !== bytes) throw chunkBad("the chunks have fewer bytes than the block says")
  if (checkOf(chunks).some((byte, i) => byte !== check[i])) throw chunkBad("the check of the chunks does not match")
  return made
}

/** Reads the size of the chunks from the head of a block. Throws `CHUNK_BAD` when the block ends early. */
export function blockSize(block: Uint8Array): BlockSize {
  const { bytes, chunks } = headOf(new Bytes(block, 0))
  return { bytes, chunks }
}

/** Bytes of the check. */
const CHECK = 4

function headOf(input: Bytes): BlockSize & { readonly isDeflated: boolean } {
  const first = input.uleb()
  return { bytes: Math.floor(first / 2), isDeflated: first % 2 === 1, chunks: input.uleb() }
}

/** An element is at most this many bytes longer than its chunk. The shortest chunk has 34 bytes. */
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
