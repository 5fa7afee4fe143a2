/**
 * Counts the memory of a frame that has come in part. The WebSocket library keeps its pieces, and does not say how
 * many.
 */

/** Bytes of memory that each piece takes beyond its own: 115 were measured for a piece of one byte. */
const PIECE_COST = 115

export class PartialFrame {
  #bytes = 0
  #pieces = 0
  /** Bytes of the last piece. */
  #last = 0

  /** A piece has come. Call it before the library sees it. */
  came(bytes: number): void {
    this.#bytes += bytes
    this.#pieces++
    this.#last = bytes
  }

  /** A frame with `payload` bytes is whole. The rest of the last piece belongs to the next one. */
  whole(payload: number): void {
    const header = payload < 126 ? 6 : payload < 2 ** 16 ? 8 : 14
    // A fragmented frame has more headers than one, so this is an estimate, corrected with each frame.
    this.#bytes = Math.min(this.#last, Math.max(0, this.#bytes - header - payload))
    this.#pieces = this.#bytes > 0 ? 1 : 0
  }

  /** A ping or pong with `payload` bytes has come, perhaps in the middle of another frame. */
  control(payload: number): void {
    this.#bytes = Math.max(0, this.#bytes - 6 - payload)
    this.#pieces = Math.max(0, this.#pieces - 1)
  }

  get memory(): number {
    return this.#bytes + PIECE_COST * this.#pieces
  }
}
