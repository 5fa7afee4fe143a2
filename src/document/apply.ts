/** Applies changes to an Automerge document, and refuses changes that Automerge does not keep byte for byte. */

import { listAt } from "../base/maps.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Handle } from "./automerge.ts"
import { nextHeads } from "./history/graph.ts"

/**
 * Applies changes to a document with these heads, in one call. Throws when Automerge throws, or when a dep is missing:
 * Automerge would put a change without its dep in a queue and report nothing.
 */
export function applyWhole(handle: Handle, heads: readonly Hash[], changes: readonly Change[]): void {
  handle.applyChanges(changes.map(({ chunk }) => chunk))
  if (String(handle.getHeads().sort()) !== String(nextHeads(heads, changes))) {
    throw new Error("a change depends on a change that is not in the document")
  }
}

/**
 * Throws when the document does not return each of these changes byte for byte. `heads`: the heads of the document
 * before the changes were applied.
 *
 * Automerge keeps operations, not chunks, and encodes them again when it saves. If it cannot encode a change as it came
 * (an operation on an object that does not exist, an encoding that is not canonical), it cannot load what it saved. For
 * thousands of mutated changes, this check failed exactly when the saved document could not be loaded.
 */
export function refuseLossy(handle: Handle, heads: readonly Hash[], changes: readonly Change[]): void {
  if (changes.length === 0) return
  const back = new Map<number, Uint8Array[]>()
  for (const chunk of handle.getChanges([...heads])) listAt(back, checksum(chunk)).push(chunk)
  for (const { hash, chunk } of changes) {
    if (back.get(checksum(chunk))?.some((one) => same(one, chunk))) continue
    throw new Error(`change ${hash} is not returned byte for byte by the document`)
  }
}

/** Reads the checksum in bytes 4 to 7 of a chunk. A chunk can be found by its checksum without hashing. */
const checksum = (chunk: Uint8Array): number => new DataView(chunk.buffer, chunk.byteOffset).getUint32(4)

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
