/**
 * Collects the operations of a change that this device makes, and writes them in columns, as Automerge does
 * (https://automerge.org/automerge-binary-format-spec, "Operation columns"). `document/columns.ts` reads them.
 */

import { Output } from "./output.ts"
import { Deltas, Flags, Runs, writeNumber, writeText } from "./runs.ts"

/** The id of an operation, and of the object or list element that it makes. */
export interface Id {
  readonly counter: number
  /** 0 for the author of the change; from 1 on, an index into the other actors that the change names. */
  readonly actor: number
}
const AUTHOR = 0

/** Where an operation acts: at a key of a map (`object` is undefined for the root), or behind an element of a list. */
export type Place =
  | { readonly object: Id | undefined; readonly key: string }
  /** `after` is undefined for the beginning of the list. */
  | { readonly object: Id; readonly after: Id | undefined }

export type Scalar = null | boolean | number | string

/** Numbers of actions. */
export const MAKE_MAP = 0
const SET = 1
export const MAKE_LIST = 2
const DELETE = 3
export const MAKE_TEXT = 4

/** Types of values: the lower four bits of a value's kind; the other bits are its length in bytes. */
const NULL = 0
const FALSE = 1
const TRUE = 2
const INT = 4
const FLOAT = 5
const STRING = 6

export class NewOperations {
  /** The counter of the next operation. */
  #counter: number
  readonly #objectActor = new Runs<number>(writeNumber)
  readonly #objectCounter = new Runs<number>(writeNumber)
  readonly #elementActor = new Runs<number>(writeNumber)
  readonly #elementCounter = new Deltas()
  readonly #key = new Runs<string>(writeText)
  readonly #insert = new Flags()
  readonly #action = new Runs<number>(writeNumber)
  readonly #valueKind = new Runs<number>(writeNumber)
  readonly #values = new Output()
  readonly #predecessors = new Runs<number>(writeNumber)
  readonly #predecessorActor = new Runs<number>(writeNumber)
  readonly #predecessorCounter = new Deltas()

  /** `startOp`: the counter of the first operation. */
  constructor(startOp: number) {
    this.#counter = startOp
  }

  /** Sets a scalar. `integer`: whether a number is written as an integer, and not as a float. */
  set(place: Place, value: Scalar, integer = false): Id {
    const start = this.#values.length
    const type = this.#writeValue(value, integer)
    return this.#add(place, SET, (this.#values.length - start) * 16 + type)
  }

  /** Makes an object; `action` says which kind. */
  make(place: Place, action: typeof MAKE_MAP | typeof MAKE_LIST | typeof MAKE_TEXT): Id {
    return this.#add(place, action, NULL)
  }

  /** Deletes what an earlier operation of this change has set at a key of the root. */
  delete(key: string, set: Id): void {
    this.#add({ object: undefined, key }, DELETE, NULL, [set])
  }

  /** Inserts a text at the beginning of a text object: one operation for each Unicode character. */
  insertText(object: Id, value: string): void {
    const bytes = this.#values.utf8(value)
    const count = this.#addCharacters(bytes, value.length)
    if (count === 0) return
    this.#objectActor.add(object.actor, count)
    this.#objectCounter.add(object.counter, count)
    this.#elementActor.add(null)
    this.#elementActor.add(AUTHOR, count - 1)
    this.#elementCounter.add(0)
    if (count > 1) this.#elementCounter.add(this.#counter)
    this.#elementCounter.count(Math.max(0, count - 2))
    this.#key.add(null, count)
    this.#insert.add(true, count)
    this.#action.add(SET, count)
    this.#predecessors.add(0, count)
    this.#counter += count
  }

  /** Writes the table of columns, and the columns themselves. Columns without a value are left out. */
  write(out: Output): void {
    const columns = [
      [1, this.#objectActor],
      [2, this.#objectCounter],
      [17, this.#elementActor],
      [19, this.#elementCounter],
      [21, this.#key],
      [52, this.#insert],
      [66, this.#action],
      [86, this.#valueKind],
      [87, this.#values],
      [112, this.#predecessors],
      [113, this.#predecessorActor],
      [115, this.#predecessorCounter],
    ] as const
    const table: number[] = []
    const content = new Output()
    for (const [name, column] of columns) {
      if (column.empty) continue
      const start = content.length
      column.write(content)
      table.push(name, content.length - start)
    }
    out.uleb(table.length / 2)
    for (const number of table) out.uleb(number)
    out.raw(content.written())
  }

  #add(place: Place, action: number, valueKind: number, predecessors: readonly Id[] = []): Id {
    const { object } = place
    this.#objectActor.add(object?.actor ?? null)
    this.#objectCounter.add(object?.counter ?? null)
    const inMap = "key" in place
    this.#key.add(inMap ? place.key : null)
    this.#elementActor.add(inMap ? null : (place.after?.actor ?? null))
    this.#elementCounter.add(inMap ? null : (place.after?.counter ?? 0))
    this.#insert.add(!inMap)
    this.#action.add(action)
    this.#valueKind.add(valueKind)
    this.#predecessors.add(predecessors.length)
    for (const { actor, counter } of predecessors) {
      this.#predecessorActor.add(actor)
      this.#predecessorCounter.add(counter)
    }
    return { counter: this.#counter++, actor: AUTHOR }
  }

  /** Writes a value and returns its type. */
  #writeValue(value: Scalar, integer: boolean): number {
    if (value === null) return NULL
    if (typeof value === "boolean") return value ? TRUE : FALSE
    if (typeof value === "string") {
      this.#values.utf8(value)
      return STRING
    }
    if (integer) this.#values.sleb(value)
    else this.#values.float64(value)
    return integer ? INT : FLOAT
  }

  /**
   * Adds the kinds of the values that are the characters of a text, and returns how many there are. `bytes`: the text in
   * UTF-8. `units`: its length in UTF-16 units.
   */
  #addCharacters(bytes: Uint8Array, units: number): number {
    if (bytes.length === units) {
      this.#valueKind.add(16 + STRING, units) // only ASCII
      return units
    }
    let count = 0
    for (let at = 0; at < bytes.length; count++) {
      const first = bytes[at]!
      const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
      this.#valueKind.add(16 * length + STRING)
      at += length
    }
    return count
  }
}
