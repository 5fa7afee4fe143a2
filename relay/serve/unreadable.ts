/**
 * Meters the unreadable chunks that a connection sends, by the relay's cost of hashing and unpacking them. An honest
 * replica pushes one once in a lifetime, after its disk has damaged a change, and sets it aside when it is refused. A
 * connection that goes on is ended: after 16 pushes with some small ones, or after one push of 1 MiB of them.
 */

/** Bytes that a push with unreadable chunks counts beyond theirs, and that each such chunk counts beyond its own. */
const PUSH_COST = 64 * 1024
const CHUNK_COST = 32

export class Unreadable {
  readonly #limit: number
  #bytes = 0

  /** `limit`: see `ServeSizes.unreadableBytes`. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** A push had `chunks` unreadable chunks, with `bytes` bytes together. */
  pushed(chunks: number, bytes: number): void {
    if (chunks > 0) this.#bytes += PUSH_COST + chunks * CHUNK_COST + bytes
  }

  get tooMuch(): boolean {
    return this.#bytes >= this.#limit
  }
}
