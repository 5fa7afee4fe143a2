/** A text as an input or textarea shows it, and the way back from what is shown to the text. */
import type { TextSplice } from "../schema/types.ts"
import { isHigh } from "./splices.ts"

export type Field = HTMLInputElement | HTMLTextAreaElement
/** What says whether an element is an input or a textarea. */
export type Tag = Pick<Field, "tagName">

/** Returns the text as the element shows it: a textarea has one LF for each break (HTML, "API value"), an input none. */
export const shownIn = (element: Tag, text: string): string =>
  isInput(element) ? text.replace(/[\r\n]/g, "") : text.replace(/\r\n?/g, "\n")

const isInput = (element: Tag) => element.tagName === "INPUT"

/** Returns the offset in `text` of the unit that the element shows at `position`. */
export function offsetIn(element: Tag, text: string, position: number): number {
  let at = position
  for (const { 0: hidden, index } of text.matchAll(isInput(element) ? /[\r\n]/g : /\r\n/g)) {
    if (index + hidden.length - 1 > at) break // the last unit of `hidden` is the one that is not shown
    at++
  }
  return at
}

/**
 * Returns the splice of `text` that a person has made when the element shows `after` in place of `before`; undefined
 * when both are equal. `selected`: what was selected before the edit, if it is known. What was typed over a selection
 * replaces all of it: if a letter that both have were kept, others could remove it from the word that was typed.
 * `caret`: the caret after the edit, which tells the places apart where one "a" of "aaa" may have been typed.
 */
export function editOf(
  element: Tag,
  text: string,
  before: string,
  after: string,
  caret: number,
  selected?: readonly [number, number],
): TextSplice | undefined {
  if (before === after) return undefined
  let [at, end] = selected ?? [0, 0]
  let tail = before.length - end
  const isTyped = selected !== undefined && at + tail <= after.length
  if (!isTyped || !after.startsWith(before.slice(0, at)) || !after.endsWith(before.slice(end))) {
    const most = Math.min(before.length, after.length)
    const same = (n: number) => before[before.length - 1 - n] === after[after.length - 1 - n]
    for (tail = 0; tail < Math.min(after.length - caret, most) && same(tail); ) tail++
    for (at = 0; at < most - tail && before[at] === after[at]; ) at++
    while (tail < most - at && same(tail)) tail++
    end = before.length - tail
    if (at > 0 && isHigh(before, at - 1)) at--
    if (tail > 0 && isHigh(before, end - 1)) end++
  }
  return inText(element, text, at, end, after.slice(at, after.length - before.length + end))
}

/** Turns an edit of what is shown into a splice of `text`. Breaks that are not removed keep their units. */
function inText(element: Tag, text: string, start: number, end: number, typed: string): TextSplice {
  const at = offsetIn(element, text, start)
  let to = end > start ? offsetIn(element, text, end - 1) + 1 : at
  if (to > at && text.startsWith("\r\n", to - 1)) to++
  let insert = /\r\n?|\n/.exec(text)?.[0] === "\r\n" ? typed.replace(/\n/g, "\r\n") : typed
  // An LF right behind a CR would make one break of the two: another LF keeps them apart.
  if (text[at - 1] === "\r" && (insert || text.slice(to, to + 1)).startsWith("\n")) insert = `\n${insert}`
  return { at, remove: to - at, insert }
}
