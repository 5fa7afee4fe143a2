/** Lists of splices: each splice of a list is one in the text that the splices before it have made. */
import type { TextSplice } from "../schema/types.ts"

export type Splices = readonly TextSplice[]

export const apply = (text: string, splices: Splices): string =>
  splices.reduce((now, { at, remove, insert }) => now.slice(0, at) + insert + now.slice(at + remove), text)

/**
 * Moves two lists, both made for one text, over each other. The first result is `mine` for the text after `theirs`, the
 * second is `theirs` for the text after `mine`; both ways lead to one text. Nothing is removed twice, and what one list
 * inserts is not removed by the other. Where both insert at one place, what `mine` inserts comes first if `isFirst`.
 */
export function cross(mine: Splices, theirs: Splices, isFirst = true): [Splices, Splices] {
  const [m, ...others] = mine
  const [t] = theirs
  if (m === undefined || t === undefined) return [mine, theirs]
  if (others.length > 0) {
    const half = mine.length >> 1
    const [front, between] = cross(mine.slice(0, half), theirs, isFirst)
    const [back, after] = cross(mine.slice(half), between, isFirst)
    return [[...front, ...back], after]
  }
  if (theirs.length === 1) return [over(m, t, isFirst), over(t, m, !isFirst)]
  const [after, moved] = cross(theirs, mine, !isFirst)
  return [moved, after]
}

/** Moves `one` over `other`. `isFirst`: whether it inserts before what `other` inserts at the same place. */
function over(one: TextSplice, other: TextSplice, isFirst: boolean): TextSplice[] {
  const end = one.at + one.remove
  const otherEnd = other.at + other.remove
  const at = move(one.at, other, !isFirst)
  // what is left to remove: a part before `other`, and a part behind it
  const before = Math.max(0, Math.min(end, other.at) - one.at)
  const behind = Math.max(0, end - Math.max(one.at, otherEnd))
  const from = Math.max(one.at, otherEnd) + other.insert.length - other.remove
  if (behind === 0 || from === at + before) return [{ at, remove: before + behind, insert: one.insert }]
  return [
    { at: from, remove: behind, insert: "" },
    { at, remove: before, insert: one.insert },
  ]
}

/** Moves an offset over a splice. `behind`: whether it goes behind what is inserted exactly there. */
export function move(offset: number, { at, remove, insert }: TextSplice, behind: boolean): number {
  if (offset < at || (offset === at && !behind)) return offset
  return offset < at + remove ? at + insert.length : offset + insert.length - remove
}

/** Returns the splice that undoes `splice`, which is made for `text`. */
export const inverse = ({ at, remove, insert }: TextSplice, text: string): TextSplice => ({
  at,
  remove: insert.length,
  insert: text.slice(at, at + remove),
})

export const isHigh = (text: string, at: number) => (text.charCodeAt(at) & 0xfc00) === 0xd800

/** The most UTF-16 units that one splice inserts, and removes: a change holds at most 262,144 of both together. */
const PART = 65_536

/** Divides a splice into parts that each fit into one change, without dividing a surrogate pair. */
export function inParts({ at, remove, insert }: TextSplice, text: string): TextSplice[] {
  const parts: TextSplice[] = []
  const cut = (of: string, from: number) => {
    const to = Math.min(from + PART, of.length)
    return to < of.length && isHigh(of, to - 1) ? to - 1 : to
  }
  const removed = text.slice(at, at + remove)
  let [gone, come] = [0, 0]
  do {
    const [from, part] = [gone, come]
    gone = cut(removed, gone)
    come = cut(insert, come)
    parts.push({ at: at + part, remove: gone - from, insert: insert.slice(part, come) })
  } while (gone < remove || come < insert.length)
  return parts
}
