/**
 * Tells whether one more item fits into a frame that is about to be sent: adds up the bytes and chunks that the items
 * have once their receiver has decoded them. `limits` has a maximum for both.
 */
import { decodedSize, limits } from "../../src/wire/protocol.ts"

export class DecodedFrame {
  #bytes = 0
  #chunks = 0

  /** Adds an encoded item. Returns whether the frame is still within the limits. A single item always fits. */
  fits(item: Uint8Array): boolean {
    const { bytes, chunks } = decodedSize(item)
    this.#bytes += bytes
    this.#chunks += chunks
    return this.#bytes <= limits.message && this.#chunks <= limits.chunks
  }
}
