/** A saved change with facts from the relay's entry, and the record on the disk that has both. */
import { HeadwaterError } from "../../base/errors.ts"
import type { Value } from "../../store/store.ts"
import type { Change } from "../../wire/chunk.ts"
import { decodeEntry, type Entry, type Hash } from "../../wire/protocol.ts"
import { changeAt } from "../../wire/received-chunks.ts"

export interface Held {
  readonly change: Change
  readonly collection: string
  /** The principal that pushed the change, as the relay's entry names it. */
  readonly by?: string | undefined
  readonly adopted?: true | undefined
  readonly once?: Uint8Array | undefined
}

/** Makes the entry that is the record of a change. Its only chunk is that of the change. */
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
 * Reads the record of a change; undefined when it is damaged, just as when there is no record. Any other failure (no
 * memory, say) is thrown: it does not show that the record is damaged.
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
