/** A saved change with the facts about it, and the record on the disk that has both. */
import { HeadwaterError } from "../../base/errors.ts"
import type { Value } from "../../store/store.ts"
import type { Change } from "../../wire/chunk.ts"
import { decodeEntry, type Entry, type Hash } from "../../wire/protocol.ts"
import { changeAt } from "../../wire/received-chunks.ts"

export interface Held {
  readonly change: Change
  readonly collection: string
  /**
   * The author of the change. For a change of the relay: the principal that the entry names. For a change made here:
   * the principal that had connected last, or undefined when none had connected yet.
   */
  readonly by?: string | undefined
  /** `adopted` of the relay's entry: `by` is the principal that the pusher has named. */
  readonly adopted?: true | undefined
  /** `once` of the relay's entry. */
  readonly once?: Uint8Array | undefined
}

/** Makes the entry that is saved as the record of a change. Its only chunk is the chunk of the change. */
export function entryOf(entity: string, { change, collection, by, adopted, once }: Held): Entry {
  return {
    entity,
    collection,
    kind: "change",
    chunks: [change.chunk],
    ...(by !== undefined && { by }),
    ...(adopted && { adopted }),
    ...(once && { once }),
  }
}

/**
 * Reads the record of a change; undefined when the record is missing or damaged. Throws any other failure, such as a
 * lack of memory, because it does not show that the record is damaged.
 */
export function heldOf(value: Value | undefined, hash: Hash): Held | undefined {
  if (value === undefined || typeof value === "string") return undefined
  try {
    const { chunks, collection, by, adopted, once } = decodeEntry(value)
    const change = chunks.length > 0 ? changeAt(chunks, 0) : undefined
    return change?.hash === hash ? { change, collection, by, adopted, once } : undefined
  } catch (error) {
    if (error instanceof HeadwaterError) return undefined
    throw error
  }
}
