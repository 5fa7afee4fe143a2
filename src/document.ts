/** Changes into a document, and whether it took them. */
import type { Handle } from "./automerge.ts"
import { type Change, readChange } from "./chunk.ts"
import { nextHeads } from "./history.ts"
import type { Hash } from "./protocol.ts"

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
  const back = new Set(handle.getChanges([...since]).map((chunk) => readChange(chunk).hash))
  for (const { hash } of changes)
    if (!back.has(hash)) throw new Error(`change ${hash} does not come back from the document`)
}
