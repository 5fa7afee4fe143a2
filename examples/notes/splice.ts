/**
 * One edit in a plain textarea: at position `at` it removes `remove` units and inserts `insert`. Positions and lengths
 * are UTF-16 units, as in the DOM and in `edit.splice`.
 */
export interface Splice {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/**
 * Returns the smallest splice that turns `before` into `after`; undefined when they are equal. `caret` is the caret's
 * position in `after`. It tells where an ambiguous edit was made: when "aaaa" became "aaaaa" and the caret is at 2, the
 * second "a" is the new one.
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
  // half of a surrogate pair is not text: replace the whole pair
  if (head > 0 && isHigh(before, head - 1)) head--
  if (tail > 0 && isHigh(before, before.length - tail - 1)) tail--
  if (tail > 0 && isHigh(after, after.length - tail - 1)) tail--
  return { at: head, remove: before.length - head - tail, insert: after.slice(head, after.length - tail) }
}

const sameFromEnd = (a: string, b: string, n: number) => a[a.length - 1 - n] === b[b.length - 1 - n]
const isHigh = (text: string, at: number) => (text.charCodeAt(at) & 0xfc00) === 0xd800

/** Returns the greatest length, at most `length`, to which the text can be cut without splitting a surrogate pair. */
export function wholePairs(text: string, length: number): number {
  const cut = Math.min(length, text.length)
  return cut > 0 && cut < text.length && isHigh(text, cut - 1) ? cut - 1 : cut
}

/** Returns the text as a textarea shows it: every line break is an LF. (HTML, "API value".) */
export const asShown = (text: string) => text.replace(/\r\n?/g, "\n")

/**
 * Converts a splice from positions in `asShown(text)` to positions in `text`. Line breaks outside of the typed text
 * stay as they are.
 */
export function inStored(splice: Splice, text: string): Splice {
  const from = stored(splice.at, text)
  const to = stored(splice.at + splice.remove, text)
  // an LF right after a CR would make one line break of the two: a second LF keeps them apart
  const joined = text[from - 1] === "\r" && (splice.insert || text.charAt(to)).startsWith("\n")
  return { at: from, remove: to - from, insert: joined ? `\n${splice.insert}` : splice.insert }
}

/** Returns the position in `text` of the character that `asShown(text)` has at `position`. */
function stored(position: number, text: string): number {
  let at = position
  for (let pair = text.indexOf("\r\n"); pair !== -1 && pair < at; pair = text.indexOf("\r\n", pair + 2)) at++
  return at
}

/**
 * The most UTF-16 units that one write inserts, and the most that it removes. A change holds at most 262,144 of both
 * together (`TOO_LARGE`), and one line break of the textarea may be two units of the text.
 */
export const PART = 80_000

/**
 * Returns the first part of `splice`, made for `before`, that fits into one write; returns `splice` itself when all of
 * it fits.
 */
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
 * Moves `mine` over `theirs`: both were made for the same text, and the result is for the text after `theirs`. Nothing
 * is removed twice, and text that `theirs` inserted stays. If `theirs` inserted into a range that `mine` removes, the
 * result is two splices, to be applied one after the other.
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

/**
 * Returns the position of a caret after `splice`. Text that somebody else inserts at the caret comes after the caret.
 */
export function moveCaret(position: number, { at, remove, insert }: Splice): number {
  if (position <= at) return position
  return position >= at + remove ? position + insert.length - remove : at + insert.length
}
