/**
 * Keeps the elements of a list or text in order. An element has the id of the operation that inserted it, and comes
 * behind the element after which it was inserted. Of several elements that were inserted after the same element, the
 * one with the largest id comes first. (Automerge does the same; the algorithm is RGA, "Replicated abstract data
 * types", Roh et al. 2011.)
 *
 * Elements with consecutive ids that lie side by side are one piece. A pasted text of a thousand characters is one
 * piece, and each edit of the text adds a few.
 */

import { decline } from "./declined.ts"
import type { Register } from "./objects.ts"

/**
 * A piece does not grow beyond this number of UTF-16 units. The JavaScript engine copies the text of a piece when a
 * piece that has grown is divided. Without this limit, each change would copy the whole text while one author types at
 * the end of a huge text and another author at its beginning.
 */
const GROWN = 4096

/**
 * `count` elements that lie side by side and have consecutive ids of one actor. `first`: the counter of the first id.
 */
export interface Piece {
  readonly actor: number
  readonly first: number
  count: number
  /** In a text, the characters of the piece. Each of them has the same number of UTF-16 units. */
  text: string
  /** In a list, the values of the element. Each element of a list is a piece of its own. */
  readonly register: Register | undefined
  deleted: boolean
  next: Piece | undefined
}

/** Whether the first operation id is larger: by the counter, then by the actor. */
export type Larger = (counter: number, actor: number, thanCounter: number, thanActor: number) => boolean

/** Counts steps of a search. Declines when there were too many, which happens only with unusual histories. */
export type Spend = (steps: number) => void

export class Sequence {
  #head: Piece | undefined
  /** By number of an actor, its pieces in the order of their ids. */
  readonly #pieces: Piece[][] = []
  readonly #larger: Larger
  readonly #spend: Spend

  constructor(larger: Larger, spend: Spend) {
    this.#larger = larger
    this.#spend = spend
  }

  /**
   * Inserts a run of characters with consecutive ids. The first one is inserted behind `after`, and every other one
   * behind the character before it.
   */
  insertText(actor: number, first: number, text: string, count: number, after: Piece | undefined): void {
    if (text.length === count) {
      this.#insertCharacters(actor, first, text, count, after)
      return
    }
    // Some characters are surrogate pairs and have two UTF-16 units. All characters of a piece must have the same
    // number of units, so the text is divided where this number changes.
    let behind = after
    let counter = first
    for (const part of text.match(/[\u{10000}-\u{10ffff}]+|[^\u{10000}-\u{10ffff}]+/gu) ?? []) {
      const size = part.charCodeAt(0) >= 0xd800 && part.charCodeAt(0) < 0xdc00 ? part.length / 2 : part.length
      behind = this.#insertCharacters(actor, counter, part, size, behind)
      counter += size
    }
  }

  insertElement(actor: number, counter: number, register: Register, after: Piece | undefined): void {
    this.#link({ actor, first: counter, count: 1, text: "", register, deleted: false, next: undefined }, after)
  }

  #insertCharacters(actor: number, first: number, text: string, count: number, after: Piece | undefined): Piece {
    const wide = text.length > count
    if (
      after !== undefined &&
      after.actor === actor &&
      after.first + after.count === first &&
      !after.deleted &&
      after.text.length + text.length <= GROWN &&
      after.text.length > after.count === wide &&
      !this.#isSmaller(first, actor, after.next)
    ) {
      after.text += text
      after.count += count
      return after
    }
    return this.#link({ actor, first, count, text, register: undefined, deleted: false, next: undefined }, after)
  }

  #link(piece: Piece, after: Piece | undefined): Piece {
    const { actor, first } = piece
    let before = after
    let next = after === undefined ? this.#head : after.next
    while (this.#isSmaller(first, actor, next)) {
      this.#spend(1)
      before = next
      next = next?.next
    }
    piece.next = next
    if (before === undefined) this.#head = piece
    else before.next = piece
    const pieces = this.#pieces[actor]
    if (pieces === undefined) this.#pieces[actor] = [piece]
    else pieces.push(piece)
    return piece
  }

  /** Whether this id is smaller than the id of the piece's first element. False when there is no piece. */
  #isSmaller(counter: number, actor: number, piece: Piece | undefined): boolean {
    return piece !== undefined && this.#larger(piece.first, piece.actor, counter, actor)
  }

  /**
   * Returns the piece that ends with this element. Divides the element's piece first if it has more elements behind
   * this one.
   */
  endingWith(actor: number, counter: number): Piece {
    const piece = this.#holding(actor, counter)
    if (counter < piece.first + piece.count - 1) this.#divide(piece, counter + 1)
    return piece
  }

  /** Returns the values of a list's element. */
  registerOf(actor: number, counter: number): Register {
    return this.#holding(actor, counter).register ?? decline("a value in place of a character")
  }

  /** Deletes `count` characters with consecutive ids, from `first` on. A character may be deleted more than once. */
  delete(actor: number, first: number, count: number): void {
    const end = first + count
    for (let counter = first; counter < end; ) {
      let piece = this.#holding(actor, counter)
      if (piece.first < counter && !piece.deleted) piece = this.#divide(piece, counter)
      if (piece.first + piece.count > end && !piece.deleted) this.#divide(piece, end)
      piece.deleted = true
      counter = piece.first + piece.count
    }
  }

  #holding(actor: number, counter: number): Piece {
    const pieces = this.#pieces[actor] ?? []
    const piece = pieces[indexIn(pieces, counter)]
    if (piece === undefined || counter >= piece.first + piece.count) decline("an element that is not there")
    return piece
  }

  /** Divides a piece before this element, and returns the second part. */
  #divide(piece: Piece, counter: number): Piece {
    const pieces = this.#pieces[piece.actor] as Piece[]
    const count = counter - piece.first
    const units = piece.text.length > piece.count ? 2 * count : count
    const { actor, text, register, deleted, next } = piece
    const rest: Piece = {
      actor,
      first: counter,
      count: piece.count - count,
      text: text.slice(units),
      register,
      deleted,
      next,
    }
    piece.count = count
    piece.text = text.slice(0, units)
    piece.next = rest
    const at = indexIn(pieces, piece.first) + 1
    this.#spend((pieces.length - at) >> 4) // `splice` moves 16 pieces in the time of one step
    pieces.splice(at, 0, rest)
    return rest
  }

  /** Returns the characters that are not deleted. */
  text(): string {
    let text = ""
    for (let piece = this.#head; piece !== undefined; piece = piece.next) if (!piece.deleted) text += piece.text
    return text
  }

  /** Calls `visit` with the values of each element, in order. */
  each(visit: (register: Register) => void): void {
    for (let piece = this.#head; piece !== undefined; piece = piece.next) {
      if (piece.register !== undefined) visit(piece.register)
    }
  }
}

/** Returns the index of the last piece that begins at this element or before it; -1 when there is none. */
function indexIn(pieces: readonly Piece[], counter: number): number {
  let low = 0
  let high = pieces.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((pieces[middle] as Piece).first <= counter) low = middle + 1
    else high = middle
  }
  return low - 1
}
