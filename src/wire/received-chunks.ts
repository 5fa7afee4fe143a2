import type { Owner } from "./sequence.ts"

/** Makes `ReceivedChunks` add its private fields to an array that is there, in place of a new object. */
class Given {
  constructor(chunks: Uint8Array[]) {
    // biome-ignore lint/correctness/noConstructorReturn: the fields of the subclass are added to the returned object
    return chunks as unknown as Given
  }
}

/**
 * Notes on the chunks of an entry that was read the block from which they were read. An entry with these chunks is
 * written with the same block. So a relay stores and serves the bytes that it has received, and encodes chunks only
 * where it leaves some out.
 *
 * The note is a private field of the array, which nobody else sees or copies. (A WeakMap from chunks to blocks took 11
 * us for each entry, most of it in the garbage collector.)
 */
export class ReceivedChunks extends Given {
  readonly #owner: Owner
  readonly #block: Uint8Array

  private constructor(chunks: Uint8Array[], owner: Owner, block: Uint8Array) {
    super(chunks)
    this.#owner = owner
    this.#block = block
  }

  /** Returns the same array, with the note. */
  static note(chunks: Uint8Array[], owner: Owner, block: Uint8Array): Uint8Array[] {
    new ReceivedChunks(chunks, owner, block)
    return chunks
  }

  /** Returns the block of these chunks; undefined when they were not read from one of this owner. */
  static blockOf(chunks: readonly Uint8Array[], { entity, collection }: Owner): Uint8Array | undefined {
    if (!(#block in chunks)) return undefined
    const { entity: itsEntity, collection: itsCollection } = chunks.#owner
    return itsEntity === entity && itsCollection === collection ? chunks.#block : undefined
  }
}
