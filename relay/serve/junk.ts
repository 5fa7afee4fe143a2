/**
 * Meters what a connection pushes in vain: chunks that nobody can read, that are too large, or in entries of a kind that
 * the relay does not take. Hashing them for the refusal costs as much as if they were stored, but they fill no disk. An
 * honest replica pushes such a chunk once in a lifetime, after its disk has damaged one, and sets it aside when it is
 * refused. Whoever goes on is ended: after 16 pushes with some small ones, or after one push of 1 MiB of unreadable
 * ones. Of the others an eighth of their bytes counts, so that one entry of 4 MiB ends nobody.
 */

/** Bytes that a push with any of them counts beyond theirs, and that each of them counts beyond its own. */
const PUSH_COST = 64 * 1024
const CHUNK_COST = 32

export class Junk {
  readonly #limit: number
  #bytes = 0

  /** `limit`: see `ServeSizes.junkBytes`. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** A push had so many chunks of it, with so many bytes together. */
  pushed(chunks: number, bytes: number): void {
    if (chunks > 0) this.#bytes += PUSH_COST + chunks * CHUNK_COST + bytes
  }

  get tooMuch(): boolean {
    return this.#bytes >= this.#limit
  }
}
