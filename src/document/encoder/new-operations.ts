/**
 * Collects the operations of a change that this device makes, and encodes them in columns, as Automerge does
 * (https://automerge.org/automerge-binary-format-spec, "Operation columns"). `document/columns.ts` reads such columns.
 */

import { utf8Size } from "../../base/utf8.ts"
import { BytesWriter } from "../../wire/leb128-writer.ts"
import {
  DELETE,
  FALSE,
  FLOAT,
  INT,
  type MAKE_LIST,
  type MAKE_MAP,
  type MAKE_TEXT,
  NULL,
  SET,
  STRING,
  TRUE,
} from "../format.ts"
import { Deltas, Flags, Runs, writeNumber, writeText } from "./runs.ts"

/** The id of an operation, and of the object or list element that it makes. */
export interface Id {
  readonly counter: number
  /** 0 for the author of the change; otherwise 1 plus the index in the other actors that the change names. */
  readonly actor: number
}
const AUTHOR = 0
const NOTHING: readonly Id[] = []

/** Where an operation acts: at a key of a map (`object` is undefined for the root), or behind an element of a list. */
export type Place =
  | { readonly object: Id | undefined; readonly key: string }
  /** `after` is undefined for the beginning of the list. */
  | { readonly object: Id; readonly after: Id | undefined }

export type Scalar = null | boolean | number | string

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
  readonly #values = new Values()
  readonly #predecessors = new Runs<number>(writeNumber)
  readonly #predecessorActor = new Runs<number>(writeNumber)
  readonly #predecessorCounter = new Deltas()

  /** `startOp`: the counter of the first operation. */
  constructor(startOp: number) {
    this.#counter = startOp
  }

  /**
   * Sets a scalar. `integer`: whether to encode a number as an integer, and not as a float. `replaced`: the operations
   * whose values this scalar replaces, sorted.
   */
  set(place: Place, value: Scalar, integer = false, replaced: readonly Id[] = NOTHING): Id {
    return this.#add(place, SET, this.#values.add(value, integer), replaced)
  }

  /** Makes an object; `action` says which kind. `replaced`: as in `set`. */
  make(
    place: Place,
    action: typeof MAKE_MAP | typeof MAKE_LIST | typeof MAKE_TEXT,
    replaced: readonly Id[] = NOTHING,
  ): Id {
    return this.#add(place, action, NULL, replaced)
  }

  /** Deletes the values at a key of the root. `replaced`: the operations that have set these values, sorted. */
  delete(key: string, replaced: readonly Id[]): void {
    this.#add({ object: undefined, key }, DELETE, NULL, replaced)
  }

  /** Inserts a text at the beginning of a text object: one operation for each Unicode character. */
  insertText(object: Id, value: string): void {
    const count = this.#addCharacters(value)
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

  /** Writes the table of columns, and then the columns. Leaves out columns without a value. */
  write(out: BytesWriter): void {
    const table: number[] = []
    const content = new BytesWriter(scratch)
    const add = (name: number, column: { readonly empty: boolean; write(out: BytesWriter): void }) => {
      if (column.empty) return
      const start = content.length
      column.write(content)
      table.push(name, content.length - start)
    }
    add(1, this.#objectActor)
    add(2, this.#objectCounter)
    add(17, this.#elementActor)
    add(19, this.#elementCounter)
    add(21, this.#key)
    add(52, this.#insert)
    add(66, this.#action)
    add(86, this.#valueKind)
    add(87, this.#values)
    add(112, this.#predecessors)
    add(113, this.#predecessorActor)
    add(115, this.#predecessorCounter)
    out.uleb(table.length / 2)
    for (const number of table) out.uleb(number)
    out.bytes(content.written())
  }

  #add(place: Place, action: number, valueKind: number, replaced: readonly Id[]): Id {
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
    this.#predecessors.add(replaced.length)
    for (const { actor, counter } of replaced) {
      this.#predecessorActor.add(actor)
      this.#predecessorCounter.add(counter)
    }
    return { counter: this.#counter++, actor: AUTHOR }
  }

  /** Adds the characters of a text as values, and returns how many there are. */
  #addCharacters(text: string): number {
    if (this.#values.add(text) === 16 * text.length + STRING) {
      this.#valueKind.add(16 + STRING, text.length) // every character takes one byte
      return text.length
    }
    let count = 0
    for (const character of text) {
      this.#valueKind.add(16 * utf8Size(character.codePointAt(0) as number) + STRING)
      count++
    }
    return count
  }
}

/** The buffer in which `NewOperations.write` collects the columns. */
const scratch = new Uint8Array(2 ** 14)

/**
 * The column of the values' bytes. The column `#valueKind` has the length of each value. `add` finds this length by
 * encoding the value, which for a text takes a tenth of the time of counting its bytes first.
 */
class Values {
  readonly #bytes = new BytesWriter()

  /** Adds a value and returns its kind: its length and its type in one number. */
  add(value: Scalar, integer = false): number {
    if (value === null) return NULL
    if (typeof value === "boolean") return value ? TRUE : FALSE
    const start = this.#bytes.length
    if (typeof value === "string") this.#bytes.utf8(value)
    else if (integer) this.#bytes.sleb(value)
    else this.#bytes.float64(value)
    const type = typeof value === "string" ? STRING : integer ? INT : FLOAT
    return 16 * (this.#bytes.length - start) + type
  }

  get empty(): boolean {
    return this.#bytes.length === 0
  }

  write(out: BytesWriter): void {
    out.bytes(this.#bytes.written())
  }
}
