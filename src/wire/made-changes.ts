/**
 * Remembers the changes that this program has made last, by their chunk. A change is read when it is made, and is
 * needed again when it is pushed. To read its chunk a second time would mean to hash it a second time.
 */
import type { Change } from "./chunk.ts"

/** Two generations of this many changes are remembered: `newest` and `earlier`. */
const GENERATION = 1024
/** A change whose chunk has more bytes is not remembered. So the remembered chunks take 8 MiB at most. */
const LONGEST = 4096

let newest = new Map<Uint8Array, Change>()
/** When `newest` is full, it takes the place of `earlier`, which is forgotten. */
let earlier = newest

/** Call when a change was made. The bytes of its chunk must not be changed afterwards. */
export function noteMade(change: Change): void {
  if (change.chunk.length > LONGEST) return
  if (newest.size === GENERATION) [newest, earlier] = [new Map(), newest]
  newest.set(change.chunk, change)
}

/** Returns the change in a chunk, which must be the same object as when it was made; undefined when it is forgotten. */
export const madeChange = (chunk: Uint8Array): Change | undefined => newest.get(chunk) ?? earlier.get(chunk)
