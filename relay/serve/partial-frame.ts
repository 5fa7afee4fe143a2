/**
 * Counts what has come of a frame that is not whole yet: the WebSocket library keeps it, and does not say how much. It
 * keeps a piece of which it needs one byte as a whole, so each piece counts in full until nothing of it can be left:
 * when all bytes that have come are those of whole frames, or a frame has become whole in a later piece.
 */

/** Bytes of memory that each piece takes beyond its own: 115 were measured for a piece of one byte. */
const PIECE_COST = 115

export class PartialFrame {
  /** Bytes of the pieces of which something may be left, and how many they are. */
  #bytes = 0
  #pieces = 0
  /** How many of these bytes belong to whole frames, at least: a frame in fragments has more headers than one. */
  #used = 0
  /** Bytes of the piece that came last. */
  #last = 0

  /** A piece has come. Call it before the library sees it. */
  came(bytes: number): void {
    this.#bytes += bytes
    this.#pieces++
    this.#last = bytes
  }

  /** A frame with so many bytes is whole. What is left then belongs to the next one, and is in the last piece. */
  whole(payload: number): void {
    const header = payload < 126 ? 6 : payload < 2 ** 16 ? 8 : 14
    const left = Math.min(this.#last, this.#bytes - this.#used - header - payload)
    this.#bytes = this.#last
    this.#pieces = 1
    this.#use(this.#last - left)
  }

  /** A ping or pong with `payload` bytes has come, perhaps in the middle of another frame. */
  control(payload: number): void {
    this.#use(this.#used + 6 + payload)
  }

  get memory(): number {
    return this.#bytes + PIECE_COST * this.#pieces
  }

  #use(used: number): void {
    this.#used = used
    if (this.#used >= this.#bytes) this.#bytes = this.#pieces = this.#used = 0
  }
}
