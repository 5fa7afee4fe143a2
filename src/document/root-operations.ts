/** Finds out what one change does at the root of a document. */

import type { Change } from "../wire/chunk.ts"
import { Operations, throwUnlessMalformed } from "./columns.ts"
import { SET } from "./format.ts"

/** The key of the document's root whose value is the entity's collection. */
export const TYPE = "@type"
/** The key of the document's root that a change sets and removes again when it has nothing else to write. */
export const MADE = "@made"

/** Whether the change does nothing but set this key of the root. */
export function setsOnly(change: Change, key: string): boolean {
  try {
    const op = new Operations(change)
    while (op.next()) if (!op.inRoot || op.key.text !== key || op.action !== SET) return false
    return true
  } catch (error) {
    throwUnlessMalformed(error)
    return false
  }
}

/** Returns the string to which the change sets this key of the root, if that is its only operation; else undefined. */
export function onlyString(change: Change, key: string): string | undefined {
  try {
    const op = new Operations(change)
    if (change.ops !== 1 || !op.next() || !op.inRoot || op.key.text !== key || op.action !== SET) return undefined
    return op.string()
  } catch (error) {
    throwUnlessMalformed(error)
    return undefined
  }
}

/** Returns the keys of the root that the change writes or deletes. */
export function rootKeys(change: Change): Set<string> {
  const keys = new Set<string>()
  const op = new Operations(change)
  while (op.next()) if (op.inRoot) keys.add(op.key.text)
  return keys
}
