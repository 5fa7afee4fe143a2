/**
 * The changes that were made here last, by their chunk. A new change is read when it is made, and needed again when it
 * is pushed; reading its chunk once more would take the time to hash it.
 */
import type { Change } from "./chunk.ts"

/** Two generations of this many changes are remembered. */
const GENERATION = 1024
/** The change of a longer chunk is not remembered, so that all of them take less than 8 MB. */
const LONGEST = 4096

let newest = new Map<Uint8Array, Change>()
/** When `newest` is full, it takes the place of `earlier`, which is forgotten. */
let earlier = newest

/** Call when a change was made. Its chunk must stay as it is. */
export function noteMade(change: Change): void {
  if (change.chunk.length > LONGEST) return
  if (newest.size === GENERATION) [newest, earlier] = [new Map(), newest]
  newest.set(change.chunk, change)
}

/** Returns the change in a chunk, which must be the same object as when it was made; undefined when it is forgotten. */
export const madeChange = (chunk: Uint8Array): Change | undefined => newest.get(chunk) ?? earlier.get(chunk)
