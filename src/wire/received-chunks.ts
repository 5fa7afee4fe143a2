import type { Owner } from "./sequence.ts"

/**
 * The chunks of an entry that was read, and the block from which they were read. An entry with these chunks is written
 * with the same block. So a relay stores and serves the bytes that it has received, and encodes chunks only where it
 * leaves some out. (A WeakMap from chunks to blocks took 11 us for each entry, most of it in the garbage collector.)
 */
export class ReceivedChunks extends Array<Uint8Array> {
  #owner: Owner | undefined
  #block: Uint8Array | undefined

  /** What is made of these chunks (`filter`, `slice`) is a plain array, without the block. */
  static override get [Symbol.species]() {
    return Array
  }

  static read(owner: Owner, block: Uint8Array, chunks: readonly Uint8Array[]): ReceivedChunks {
    const received = new ReceivedChunks()
    for (const chunk of chunks) received.push(chunk)
    received.#owner = owner
    received.#block = block
    return received
  }

  /** Returns the block of these chunks; undefined when they were not read from one of this owner. */
  static blockOf(chunks: readonly Uint8Array[], { entity, collection }: Owner): Uint8Array | undefined {
    if (!(#block in chunks)) return undefined
    const owner = chunks.#owner
    return owner?.entity === entity && owner.collection === collection ? chunks.#block : undefined
  }
}
