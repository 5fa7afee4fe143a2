/**
 * What a plain textarea does to a text, as splices: the smallest one between two texts, one moved over another, and
 * where the caret goes. Positions are UTF-16 units, as in the DOM and in `edit.splice`.
 */
export interface Splice {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/**
 * The splice that makes `after` of `before`, or undefined when they are equal. With `caret` (where it stands in `after`)
 * an ambiguous edit lands where it was typed: an "a" typed after the second of five is the third.
 */
export function difference(before: string, after: string, caret = after.length): Splice | undefined {
  if (before === after) return undefined
  const shorter = Math.min(before.length, after.length)
  let tail = 0
  const typedAfter = Math.min(after.length - caret, shorter)
  while (tail < typedAfter && sameFromEnd(before, after, tail)) tail++
  let head = 0
  while (head < shorter - tail && before[head] === after[head]) head++
  while (tail < shorter - head && sameFromEnd(before, after, tail)) tail++
  // half of a surrogate pair is no text: a pair goes as a whole
  if (head > 0 && isHigh(before, head - 1)) head--
  if (tail > 0 && isHigh(before, before.length - tail - 1)) tail--
  if (tail > 0 && isHigh(after, after.length - tail - 1)) tail--
  return { at: head, remove: before.length - head - tail, insert: after.slice(head, after.length - tail) }
}

const sameFromEnd = (a: string, b: string, n: number) => a[a.length - 1 - n] === b[b.length - 1 - n]
const isHigh = (text: string, at: number) => (text.charCodeAt(at) & 0xfc00) === 0xd800

/** `length`, or one less where a text cut there would end in half of a surrogate pair; not beyond its end. */
export function wholePairs(text: string, length: number): number {
  const cut = Math.min(length, text.length)
  return cut > 0 && cut < text.length && isHigh(text, cut - 1) ? cut - 1 : cut
}

/** What a textarea makes of a text: it knows one line break. (HTML, "API value".) */
export const asShown = (text: string) => text.replace(/\r\n?/g, "\n")

/** `splice`, made for what a textarea shows of `text`, for the text itself: only what was typed changes. */
export function inStored(splice: Splice, text: string): Splice {
  const from = stored(splice.at, text)
  const to = stored(splice.at + splice.remove, text)
  // an LF that comes to stand behind a CR would be one line break with it
  const joined = text[from - 1] === "\r" && (splice.insert || text.charAt(to)).startsWith("\n")
  return { at: from, remove: to - from, insert: joined ? `\n${splice.insert}` : splice.insert }
}

/** Where in `text` that is which is shown at `position`. */
function stored(position: number, text: string): number {
  let at = position
  for (let pair = text.indexOf("\r\n"); pair !== -1 && pair < at; pair = text.indexOf("\r\n", pair + 2)) at++
  return at
}

/**
 * UTF-16 units that one write inserts, and that it removes: one change holds no more than 262,144 of both together, and a
 * line break may be two.
 */
export const PART = 80_000

/** What one write takes of `splice`, made for `before`, from its start: the splice itself when that is all. */
export function firstPart(splice: Splice, before: string): Splice {
  const { at, remove, insert } = splice
  if (remove <= PART && insert.length <= PART) return splice
  const removed = wholePairs(before, at + Math.min(remove, PART)) - at
  return { at, remove: removed, insert: insert.slice(0, wholePairs(insert, PART)) }
}

export function apply(text: string, splices: readonly Splice[]): string {
  return splices.reduce((t, { at, remove, insert }) => t.slice(0, at) + insert + t.slice(at + remove), text)
}

/**
 * `mine`, made for the same text as `theirs`, for the text after `theirs`: what they removed is not removed again, what
 * they inserted stays. Two splices where they wrote into what I removed; to be applied one after the other.
 */
export function over(mine: Splice, theirs: Splice): Splice[] {
  const myEnd = mine.at + mine.remove
  const theirEnd = theirs.at + theirs.remove
  const moved = theirs.insert.length - theirs.remove
  if (myEnd <= theirs.at) return [mine]
  if (mine.at >= theirEnd) return [{ ...mine, at: mine.at + moved }]
  const before = Math.max(0, theirs.at - mine.at)
  const after = Math.max(0, myEnd - theirEnd)
  const behind = theirs.at + theirs.insert.length
  if (mine.at >= theirs.at) return [{ at: behind, remove: after, insert: mine.insert }]
  const first = { at: mine.at, remove: before, insert: mine.insert }
  return after === 0 ? [first] : [{ at: behind, remove: after, insert: "" }, first]
}

/** Where a caret at `position` stands after `splice`: text that somebody else writes at the caret goes behind it. */
export function moveCaret(position: number, { at, remove, insert }: Splice): number {
  if (position <= at) return position
  return position >= at + remove ? position + insert.length - remove : at + insert.length
}
