/**
 * Remembers, by its chunk, each change that this program has made lately. A change is read when it is made, and needed
 * again when it is pushed. To read its chunk a second time would mean to hash it a second time.
 */
import type { Change } from "./chunk.ts"

/** `newest` and `earlier` each remember at most this many changes. */
const GENERATION = 1024
/** A change whose chunk has more bytes than this is not remembered. So the remembered chunks take at most 8 MiB. */
const LONGEST = 4096

let newest = new Map<Uint8Array, Change>()
/** When `newest` is full, it becomes `earlier`, and the changes that `earlier` had are forgotten. */
let earlier = newest

/** Call when a change was made. The bytes of its chunk must not be changed afterwards. */
export function noteMade(change: Change): void {
  if (change.chunk.length > LONGEST) return
  if (newest.size === GENERATION) [newest, earlier] = [new Map(), newest]
  newest.set(change.chunk, change)
}

/** Returns the change in a chunk. Undefined if it is forgotten, or if `chunk` is a copy of the chunk that was made. */
export const madeChange = (chunk: Uint8Array): Change | undefined => newest.get(chunk) ?? earlier.get(chunk)
