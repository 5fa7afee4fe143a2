/** Changes into a document, and whether it took them. */

import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Handle } from "./automerge.ts"
import { nextHeads } from "./history.ts"

/** Applies changes that rest on `heads` or on each other. Automerge would queue one that does not, and say nothing. */
export function take(handle: Handle, heads: readonly Hash[], changes: readonly Change[]): void {
  handle.applyChanges(changes.map(({ chunk }) => chunk))
  if (String(handle.getHeads().sort()) !== String(nextHeads(heads, changes))) throw new Error("changes rest on others")
}

/**
 * Automerge keeps operations, not chunks. A change that it cannot write again byte for byte (an operation on what is not
 * there, an encoding that is not canonical) makes the saved document unloadable: on thousands of mutants the two agreed.
 */
export function refuseLossy(handle: Handle, since: readonly Hash[], changes: readonly Change[]): void {
  if (changes.length === 0) return
  const back = new Map<number, Uint8Array[]>()
  for (const chunk of handle.getChanges([...since])) {
    const alike = back.get(checksum(chunk))
    if (alike === undefined) back.set(checksum(chunk), [chunk])
    else alike.push(chunk)
  }
  for (const { hash, chunk } of changes) {
    if (back.get(checksum(chunk))?.some((one) => same(one, chunk))) continue
    throw new Error(`change ${hash} does not come back from the document`)
  }
}

/** Bytes 4 to 7: enough to find a chunk by, without hashing it. */
const checksum = (chunk: Uint8Array): number => new DataView(chunk.buffer, chunk.byteOffset).getUint32(4)

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
