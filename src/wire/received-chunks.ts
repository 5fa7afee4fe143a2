import { type Change, readChange } from "./chunk.ts"
import type { Owner } from "./sequence.ts"

/** The constructor of this class returns its argument, so the subclass adds its private fields to that array. */
class Given {
  constructor(chunks: readonly Uint8Array[]) {
    // TypeScript needs the cast: it expects that a constructor returns an object of its own class.
    // biome-ignore lint/correctness/noConstructorReturn: the fields of the subclass are added to the returned object
    return chunks as unknown as Given
  }
}

/**
 * Attaches two things to the array of chunks of a decoded entry: the block from which the chunks were decoded, and the
 * changes that the decoder has already read. When an entry with this array is encoded, that block is written again. So
 * a relay stores and serves the bytes that it has received, encodes chunks only if it leaves some of them out, and
 * hashes each change once.
 *
 * Block and changes are private fields of the array, which other code neither sees nor copies. (A WeakMap from arrays
 * to blocks took 11 us for each entry, most of it in the garbage collector.)
 */
export class ReceivedChunks extends Given {
  readonly #owner: Owner
  readonly #block: Uint8Array
  readonly #changes: readonly (Change | undefined)[]

  private constructor(
    chunks: readonly Uint8Array[],
    owner: Owner,
    block: Uint8Array,
    changes: readonly (Change | undefined)[],
  ) {
    super(chunks)
    this.#owner = owner
    this.#block = block
    this.#changes = changes
  }

  /**
   * Attaches a block and the changes to an array of chunks. `changes`: the change in each chunk, as `readChange` reads
   * it; undefined for a chunk that was not read.
   */
  static note(
    chunks: readonly Uint8Array[],
    owner: Owner,
    block: Uint8Array,
    changes: readonly (Change | undefined)[],
  ): void {
    new ReceivedChunks(chunks, owner, block, changes)
  }

  /** Returns the block from which these chunks were decoded; undefined if there is none, or it has another owner. */
  static blockOf(chunks: readonly Uint8Array[], { entity, collection }: Owner): Uint8Array | undefined {
    if (!(#block in chunks)) return undefined
    const { entity: itsEntity, collection: itsCollection } = chunks.#owner
    return itsEntity === entity && itsCollection === collection ? chunks.#block : undefined
  }

  /** Returns the change in the chunk at `index`; undefined if the decoder has not read it. */
  static changeIn(chunks: readonly Uint8Array[], index: number): Change | undefined {
    return #changes in chunks ? chunks.#changes[index] : undefined
  }
}

/** Returns the change in one chunk of an entry. Reads it with `readChange`, unless the decoder has read it already. */
export const changeAt = (chunks: readonly Uint8Array[], index: number): Change =>
  ReceivedChunks.changeIn(chunks, index) ?? readChange(chunks[index] as Uint8Array)
