/**
 * Meters the junk that a connection pushes: chunks that are unreadable, too large, or in entries of a kind that the
 * relay does not accept. To refuse such a chunk, the relay must hash it, which costs as much time as storing it. An
 * honest replica pushes such a chunk once in a lifetime, after its disk has damaged the chunk, and sets the chunk aside
 * when it is refused. A connection that pushes more is ended: after 16 pushes with a few small junk chunks each, or
 * after one push with 1 MiB of unreadable chunks. Chunks that might be readable count with an eighth of their bytes, so
 * that one entry of 4 MiB does not end the connection.
 */

/** Bytes added to the meter for each push with junk in it, and for each junk chunk, besides the bytes of the chunks. */
const PUSH_COST = 64 * 1024
const CHUNK_COST = 32

export class Junk {
  readonly #limit: number
  #bytes = 0

  /** `limit`: see `ServeSizes.junkBytes`. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Adds one push: the number of its junk chunks, and the bytes to count for them. */
  pushed(chunks: number, bytes: number): void {
    if (chunks > 0) this.#bytes += PUSH_COST + chunks * CHUNK_COST + bytes
  }

  get tooMuch(): boolean {
    return this.#bytes >= this.#limit
  }
}
