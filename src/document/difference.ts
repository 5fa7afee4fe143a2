/**
 * Finds the difference of two texts. Assigning a collaborative text writes only this difference, so that concurrent
 * edits elsewhere in the text stay. Words are replaced whole: if two devices kept a letter that an old and a new word
 * share by accident, the two new words would mix. Texts are compared by sentences; then the sentences that differ are
 * compared by words. Texts with little in common are replaced whole, because an exact comparison would cost seconds.
 */

import { align } from "./shortest-edit-script.ts"

/** Replaces `remove` UTF-16 units of a text, from the offset `at` on, with `insert`. */
export interface Hunk {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/**
 * Returns the hunks that turn `before` into `after`. Their offsets are those in `before`, ascend, and never split a
 * surrogate pair. Hunks never overlap.
 */
export function difference(before: string, after: string): Hunk[] {
  const hunks = bySentences(before, after)
  const placed = hunks.map((hunk, n) => afterSpace(hunk, before, hunks[n + 1]?.at ?? before.length))
  return placed.length === 1 ? placed.map((only) => withinWord(only, before)) : placed
}

// ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Matches a line break; or a sentence, or the rest of a line, with the space before it. */
const SENTENCE = /\n|[^\n]+?(?:[.!?…](?=\s)|[。！？]|(?=\n)|$)/g

/** A word or another sign, with the space before it. `align` compares only `text`. */
interface Token {
  readonly space: string
  readonly text: string
}

/** Scripts that have no spaces between words: each of their characters counts as a word. */
const SPACELESS = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"].map((s) => `\\p{sc=${s}}`).join("")
const LETTERS = `(?:(?![${SPACELESS}])[\\p{L}\\p{N}\\p{M}_])+`
/**
 * Matches letters and digits, also joined by an apostrophe, hyphen, point and the like: a date or an address is one
 * word.
 */
const WORD = `${LETTERS}(?:['’.:@/-]${LETTERS})*`
/** Matches one character as a reader sees it: a letter with its accents, a joined emoji, a flag. */
const SIGN = String.raw`(?:\p{RI}{2}|\S[\p{M}\p{EMod}]*(?:\u200d\S[\p{M}\p{EMod}]*)*)`
const TOKEN = new RegExp(String.raw`([^\S\n]*)(\n|${WORD}|${SIGN})|[^\S\n]+`, "gu")
const WORDS = new RegExp(LETTERS, "gu")
/** Matches the end of a sentence or line. Two stretches (`Stretch`) with such an end between them are never joined. */
const ENDS_SENTENCE = /\n|[.!?…](?:\s|$)|[。！？]/

/** Splits a text into tokens. Space at the end of the text becomes a last token without text. */
function wordsOf(text: string): Token[] {
  const tokens: Token[] = []
  for (const [all, space, text_] of text.matchAll(TOKEN)) {
    tokens.push(text_ === undefined ? { space: all, text: "" } : { space: space ?? "", text: text_ })
  }
  return tokens
}

// ── comparing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Compares two texts sentence by sentence. Where some old sentences are replaced by the same number of new ones, each
 * new sentence is compared with one old sentence. If all their words were compared together, a "the" of one sentence
 * would be matched with a "the" of another.
 */
function bySentences(old: string, fresh: string): Hunk[] {
  const a: string[] = old.match(SENTENCE) ?? []
  const b: string[] = fresh.match(SENTENCE) ?? []
  const hunks: Hunk[] = []
  let [i, j, at] = [0, 0, 0]
  const change = (removed: string, inserted: string) => {
    for (const hunk of byWords(removed, inserted)) hunks.push({ ...hunk, at: at + hunk.at })
    at += removed.length
  }
  const end: [number, number] = [a.length, b.length]
  for (const [x, y] of [...(align(a, b) ?? []), end]) {
    if (x - i === y - j) for (; i < x; i++, j++) change(a[i] as string, b[j] as string)
    else change(a.slice(i, x).join(""), b.slice(j, y).join(""))
    at += a[x]?.length ?? 0
    ;[i, j] = [x + 1, y + 1]
  }
  return hunks
}

/** A piece of text in which two texts differ, and the text behind it that both have (`kept`). */
interface Stretch {
  removed: string
  inserted: string
  /** How many words `removed` or `inserted` has, whichever has more. */
  words: number
  kept: string
}

function byWords(old: string, fresh: string): Hunk[] {
  const stretches = old === "" || fresh === "" ? undefined : aligned(wordsOf(old), wordsOf(fresh))
  if (stretches === undefined) return old === fresh ? [] : [{ at: 0, remove: old.length, insert: fresh }]
  const hunks: Hunk[] = []
  let at = 0
  for (const { removed, inserted, kept } of withoutAccidents(stretches)) {
    if (removed !== inserted) hunks.push({ at, remove: removed.length, insert: inserted })
    at += removed.length + kept.length
  }
  return hunks
}

/** Finds the stretches in which `b` differs from `a`; undefined when the texts have little in common. */
function aligned(a: readonly Token[], b: readonly Token[]): Stretch[] | undefined {
  const [x, y] = [a, b].map((tokens) => tokens.map(({ text }) => text)) as [string[], string[]]
  const pairs = align(x, y)
  if (pairs === undefined) return undefined
  const stretches: Stretch[] = [{ removed: "", inserted: "", words: 0, kept: "" }]
  let [i, j] = [0, 0]
  for (const [x, y] of [...pairs, [a.length, b.length] as const]) {
    let [removed, inserted] = [textOf(a.slice(i, x)), textOf(b.slice(j, y))]
    const words = Math.max(wordsIn(removed), wordsIn(inserted))
    const { space = "", text = "" } = a[x] ?? {}
    const spaced = b[y]?.space ?? ""
    if (space !== spaced) [removed, inserted] = [removed + space, inserted + spaced]
    if (removed !== inserted) stretches.push({ removed, inserted, words, kept: "" })
    const stretch = stretches.at(-1) as Stretch
    stretch.kept += space === spaced ? space + text : text
    ;[i, j] = [x + 1, y + 1]
  }
  return stretches
}

const textOf = (tokens: readonly Token[]): string => tokens.map(({ space, text }) => space + text).join("")
const wordsIn = (text: string): number => text.match(WORDS)?.length ?? 0

/**
 * Joins two stretches of one sentence when little text between them is kept. The old and the rewritten sentence share a
 * "the" by accident. If two devices rewrote the sentence and both kept this "the", their sentences would be shuffled.
 */
function withoutAccidents(stretches: readonly Stretch[]): Stretch[] {
  const result: Stretch[] = []
  for (let next of stretches) {
    for (let last = result.at(-1); last !== undefined && isAccident(last, next); last = result.at(-1)) {
      result.pop()
      next = {
        ...next,
        removed: last.removed + last.kept + next.removed,
        inserted: last.inserted + last.kept + next.inserted,
        words: last.words + wordsIn(last.kept) + next.words,
      }
    }
    result.push(next)
  }
  return result
}

/**
 * Whether the text between two stretches is kept only by accident: it has less than a third as many words as the two
 * stretches together. This third was measured on rewritten prose: joining less leaves sentences shuffled, joining more
 * replaces words that nobody changed.
 */
const isAccident = (a: Stretch, b: Stretch): boolean =>
  a.removed !== a.inserted &&
  b.removed !== b.inserted &&
  !ENDS_SENTENCE.test(a.kept) &&
  3 * Math.max(1, wordsIn(a.kept)) < a.words + b.words

// ── where a hunk lies ────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Reduces a hunk within one word to the characters that were inserted or removed, if the word only grew or only shrank.
 * An app may assign the text at every keystroke, and somebody who types changes one word in one place. So the letters
 * that both words share are no accident here.
 */
function withinWord(hunk: Hunk, before: string): Hunk {
  const { at, remove, insert } = hunk
  const removed = before.slice(at, at + remove)
  if (/\s/.test(removed + insert)) return hunk
  const start = sameStart(removed, insert)
  const end = sameEnd(removed, insert, start)
  if (start + end < Math.min(removed.length, insert.length)) return hunk
  return { at: at + start, remove: remove - start - end, insert: insert.slice(start, insert.length - end) }
}

/**
 * Moves a hunk behind the space at its beginning if both texts have that space. The hunk then inserts or removes a word
 * together with the space after it, and not with the space before it. So text that others type at the end of the
 * previous word stays there. `limit`: the offset at which the next hunk begins.
 */
function afterSpace({ at, remove, insert }: Hunk, before: string, limit: number): Hunk {
  const removed = before.slice(at, at + remove)
  if (remove > 0 && insert !== "") {
    const space = sameStart(spaceOf(removed), spaceOf(insert))
    return { at: at + space, remove: remove - space, insert: insert.slice(space) }
  }
  const space = spaceOf(remove > 0 ? removed : insert)
  const moves =
    space.length < remove + insert.length &&
    before.startsWith(space, at + remove) &&
    at + remove + space.length <= limit
  return moves
    ? { at: at + space.length, remove, insert: insert === "" ? "" : insert.slice(space.length) + space }
    : { at, remove, insert }
}

const spaceOf = (text: string): string => /^[^\S\n]*/.exec(text)?.[0] ?? ""

const isHigh = (unit: number) => unit >= 0xd800 && unit <= 0xdbff
const isLow = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff

/** Counts the UTF-16 units at the beginning that are equal in both texts. Never cuts a surrogate pair. */
function sameStart(a: string, b: string): number {
  const most = Math.min(a.length, b.length)
  let n = 0
  while (n < most && a.charCodeAt(n) === b.charCodeAt(n)) n++
  return n > 0 && isHigh(a.charCodeAt(n - 1)) ? n - 1 : n
}

/**
 * Counts the UTF-16 units at the end that are equal in both texts, outside their first `start` units. Never cuts a
 * surrogate pair.
 */
function sameEnd(a: string, b: string, start: number): number {
  const most = Math.min(a.length, b.length) - start
  let n = 0
  while (n < most && a.charCodeAt(a.length - 1 - n) === b.charCodeAt(b.length - 1 - n)) n++
  return n > 0 && isLow(a.charCodeAt(a.length - n)) ? n - 1 : n
}
