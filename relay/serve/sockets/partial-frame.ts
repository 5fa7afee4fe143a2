/**
 * Counts the bytes received of a frame that is not complete yet. The WebSocket library buffers them and does not tell
 * how many there are. A piece is the bytes of one read of the socket, and the library keeps a whole piece even if it
 * needs only one byte of it. So each piece counts in full until the library can need none of its bytes: when all bytes
 * received belong to complete frames, or when a later piece has completed a frame.
 */

/** Bytes of the heap that each piece takes besides its content, measured with pieces of one byte on Node 20.20. */
const PIECE_COST = 195

export class PartialFrame {
  /** Bytes of the pieces that the library may still keep, and the number of these pieces. */
  #bytes = 0
  #pieces = 0
  /**
   * At least this many of `#bytes` belong to complete frames. More may do so, because each fragment of a frame has a
   * header, which is not counted here.
   */
  #used = 0
  /** Bytes of the newest piece. */
  #last = 0

  /** Call it for each received piece, before the library gets the piece. */
  came(bytes: number): void {
    this.#bytes += bytes
    this.#pieces++
    this.#last = bytes
  }

  /**
   * Call it when a frame with `payload` bytes is complete. From then on only the newest piece counts: the frame has ended
   * in it, so no other piece can hold bytes of the next frame.
   */
  whole(payload: number): void {
    const header = payload < 126 ? 6 : payload < 2 ** 16 ? 8 : 14
    const left = Math.min(this.#last, this.#bytes - this.#used - header - payload)
    this.#bytes = this.#last
    this.#pieces = 1
    this.#use(this.#last - left)
  }

  /** Call it for a ping or pong with `payload` bytes. It may come in the middle of another frame. */
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
