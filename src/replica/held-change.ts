/** A change with what the log said of it, and the record on the disk that keeps both. */
import { type Change, readChange } from "../wire/chunk.ts"
import { decodeEntry, type Entry, type Hash } from "../wire/protocol.ts"

export interface Held {
  readonly change: Change
  readonly collection: string
  /** The principal that pushed it, as the relay's entry names it. */
  readonly by?: string | undefined
  readonly adopted?: true | undefined
  readonly once?: Uint8Array | undefined
}

/** The entry with this one chunk: the value of its record. */
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

/** The change in a record; undefined when the disk has damaged it, which counts as not held. */
export function heldOf(value: Uint8Array, hash: Hash): Held | undefined {
  try {
    const { chunks, collection, by, adopted, once } = decodeEntry(value)
    const change = readChange(chunks[0] as Uint8Array)
    return change.hash === hash ? { change, collection, by, adopted, once } : undefined
  } catch {
    return undefined
  }
}
