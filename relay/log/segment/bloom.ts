/**
 * The Bloom filter of an index. If a segment does not have a key, the filter nearly always shows this without a read of
 * the index's pointers. Each pointer sets 7 bits of one block of the filter.
 */

import { fingerprint } from "./keys.ts"
import { PAYLOAD_BYTES, type PointerKind } from "./sealed-index-format.ts"

const BLOCK_BITS = 8 * PAYLOAD_BYTES
const BITS_SET = 7
/**
 * With 10 bits for each pointer, the filter fails to show the absence of a key in one look-up out of a hundred, because
 * other pointers have set all bits of the key.
 */
const BITS_PER_POINTER = 10

export const bloomBlocks = (pointers: number): number => Math.ceil((pointers * BITS_PER_POINTER) / BLOCK_BITS)

/** The numbers that give a pointer's bits in a filter of any size. */
export interface Probe {
  /** This number modulo the number of blocks gives the pointer's block. */
  readonly block: number
  /** The first bit, and the step from each bit to the next one, both modulo the bits of a block. */
  readonly bit: number
  readonly step: number
}

/** Returns the probe for the pointer whose key is in `bytes` at `at`. */
export function probeOf(bytes: Buffer, at: number, kind: PointerKind, salt: number): Probe {
  const bit = fingerprint(bytes, at, ~salt ^ (kind + 1))
  return { block: fingerprint(bytes, at, salt ^ (kind + 1)), bit, step: (bit >>> 16) | 1 }
}

/** Sets the pointer's bits in its block, which begins at `at`. */
export function addToBloom(bytes: Buffer, at: number, probe: Probe): void {
  for (let i = 0; i < BITS_SET; i++) {
    const bit = (probe.bit + i * probe.step) % BLOCK_BITS
    bytes[at + (bit >> 3)]! |= 1 << (bit & 7)
  }
}

/** False: this pointer was not added to the filter. True: it may have been added. */
export function mayBeIn(block: Buffer, probe: Probe): boolean {
  for (let i = 0; i < BITS_SET; i++) {
    const bit = (probe.bit + i * probe.step) % BLOCK_BITS
    if ((block[bit >> 3]! & (1 << (bit & 7))) === 0) return false
  }
  return true
}
