/** Turns the value of a register into operations, in the order and with the number types that Automerge chooses. */

import { MAKE_LIST, MAKE_MAP } from "../format.ts"
import type { Id, NewOperations, Place, Scalar } from "./new-operations.ts"

/**
 * Puts a plain value, which `plainCopy` has checked, at a key of the root. Returns false when this file cannot encode
 * the value: then the operations must not be used. `replaced`: the operations whose values the new value replaces,
 * sorted.
 *
 * As in Automerge, objects are filled in the order in which they were made: all objects inside an object are made
 * before the first of them is filled. The keys of an object are sorted by their bytes in UTF-8.
 */
export function putRegister(
  operations: NewOperations,
  key: string,
  value: unknown,
  replaced: readonly Id[] = [],
): boolean {
  const root: Place = { object: undefined, key }
  if (isScalar(value)) {
    operations.set(root, value, Number.isInteger(value), replaced)
    return true
  }
  const filling: { readonly id: Id; readonly value: object }[] = []
  const add = (place: Place, item: unknown, replaced?: readonly Id[]): Id | undefined => {
    // Inside an object, Automerge encodes only positive whole numbers as integers.
    if (isScalar(item)) return operations.set(place, item, Number.isInteger(item) && (item as number) > 0)
    if (!isPlain(item)) return undefined
    const id = operations.make(place, Array.isArray(item) ? MAKE_LIST : MAKE_MAP, replaced)
    filling.push({ id, value: item })
    return id
  }
  if (add(root, value, replaced) === undefined) return false
  for (const { id: object, value: items } of filling) {
    if (Array.isArray(items)) {
      let after: Id | undefined
      for (const item of items) if ((after = add({ object, after }, item)) === undefined) return false
    } else {
      for (const name of Object.keys(items).sort(byCharacters)) {
        if (add({ object, key: name }, (items as Record<string, unknown>)[name]) === undefined) return false
      }
    }
  }
  return true
}

export const isScalar = (value: unknown): value is Scalar =>
  value === null ||
  typeof value === "string" ||
  typeof value === "boolean" ||
  (typeof value === "number" && Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)))

const isPlain = (value: unknown): value is object =>
  Array.isArray(value) ||
  (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)

/** Compares texts by their characters, which is the order of their bytes in UTF-8. */
function byCharacters(a: string, b: string): number {
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  // A surrogate is half of a character above U+FFFF. So it comes after U+E000 to U+FFFF, although its code unit is
  // smaller.
  return rank(a, at) - rank(b, at)
}

/** Ranks a code unit as the character that it belongs to. The end of the text ranks lowest. */
function rank(text: string, at: number): number {
  const unit = at < text.length ? text.charCodeAt(at) : -1
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
}
