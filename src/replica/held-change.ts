/** A saved change with what the relay's entry said of it, and the record on the disk that keeps both. */
import { type Change, readChange } from "../wire/chunk.ts"
import { decodeEntry, type Entry, type Hash } from "../wire/protocol.ts"

export interface Held {
  readonly change: Change
  readonly collection: string
  /** The principal that pushed the change, as the relay's entry names it. */
  readonly by?: string | undefined
  readonly adopted?: true | undefined
  readonly once?: Uint8Array | undefined
}

/** The entry that the record of a change consists of: it has this one chunk. */
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

/** Reads the record of a change; undefined when the record is damaged, which counts as if there were none. */
export function heldOf(value: Uint8Array, hash: Hash): Held | undefined {
  try {
    const { chunks, collection, by, adopted, once } = decodeEntry(value)
    const change = readChange(chunks[0] as Uint8Array)
    return change.hash === hash ? { change, collection, by, adopted, once } : undefined
  } catch {
    return undefined
  }
}
