/**
 * Reads a change's operations one by one from their columns in plain JavaScript, because Automerge's own decoder costs
 * more than applying the change. The columns are specified in https://automerge.org/automerge-binary-format-spec
 * ("Operation columns").
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import { Columns, type Layout, layoutOf, openChunk, otherActors } from "../wire/layout.ts"
import { Bytes, chunkBad } from "../wire/leb128.ts"
import type { Actor } from "../wire/protocol.ts"
import { STRING } from "./format.ts"

/** The name of a column is a number: id << 4 | type. */
const OBJECT_ACTOR = 1
const OBJECT_COUNTER = 2
const ELEMENT_ACTOR = 17
const ELEMENT_COUNTER = 19
const KEY = 21
const INSERT = 52
const ACTION = 66
const VALUE_KIND = 86
const VALUE = 87
const PREDECESSORS = 112
const PREDECESSOR_ACTOR = 113
const PREDECESSOR_COUNTER = 115
const MARK_NAME = 165

/** Types of columns. Columns of all other types (groups, actors, counters of objects) have plain numbers. */
const DELTA = 3
const FLAGS = 4
const TEXT = 5

/**
 * Walks over the operations of a change. The first call of `next` goes to the first operation, each later call to the
 * next one. The fields describe the operation to which the last call went. Throws `CHUNK_BAD` when a column is
 * malformed.
 */
export class Operations {
  /** The operation's counter; with the author it is the operation's id. */
  counter: number
  readonly objectActor: Column
  readonly objectCounter: Column
  readonly elementActor: Column
  readonly elementCounter: Column
  readonly key: Column
  readonly markName: Column
  /**
   * These two columns have one value for each predecessor of an operation. `next` of `Operations` does not advance
   * them: the caller calls their own `next` as many times as `predecessors` says.
   */
  readonly predecessorActor: Column
  readonly predecessorCounter: Column
  readonly #predecessors: Column
  readonly #insert: Column
  readonly #action: Column
  /** The length and the type of each value. */
  readonly #valueKind: Column
  readonly #values: Bytes
  readonly #layout: Layout
  readonly #author: Actor
  #others: readonly Actor[] | undefined
  #left: number

  constructor(change: Change) {
    const { chunk, startOp, ops } = change
    const layout = layoutOf(openChunk(chunk))
    const found = new Map<number, Bytes>()
    const columns = new Columns(layout)
    while (columns.next()) {
      if (columns.name <= MARK_NAME) found.set(columns.name, new Bytes(chunk, columns.from, columns.to))
    }
    const column = (name: number) => new Column(found.get(name) ?? NONE, name & 7)
    this.objectActor = column(OBJECT_ACTOR)
    this.objectCounter = column(OBJECT_COUNTER)
    this.elementActor = column(ELEMENT_ACTOR)
    this.elementCounter = column(ELEMENT_COUNTER)
    this.key = column(KEY)
    this.#insert = column(INSERT)
    this.#action = column(ACTION)
    this.#valueKind = column(VALUE_KIND)
    this.#values = found.get(VALUE) ?? NONE
    this.#predecessors = column(PREDECESSORS)
    this.predecessorActor = column(PREDECESSOR_ACTOR)
    this.predecessorCounter = column(PREDECESSOR_COUNTER)
    this.markName = column(MARK_NAME)
    this.#layout = layout
    this.#author = change.actor
    this.#left = ops
    this.counter = startOp - 1
  }

  /** Goes to the next operation; false after the last one. */
  next(): boolean {
    if (this.#left === 0) return false
    this.#left--
    this.counter++
    this.objectActor.next()
    this.objectCounter.next()
    this.elementActor.next()
    this.elementCounter.next()
    this.key.next()
    this.#insert.next()
    this.#action.next()
    this.#predecessors.next()
    this.markName.next()
    return true
  }

  /**
   * Returns the actor for a number in an actor column: 0 is the author, 1 the first of the other actors that the change
   * names.
   */
  actor(number: number): Actor | undefined {
    if (number === 0) return this.#author
    this.#others ??= otherActors(this.#layout)
    return this.#others[number - 1]
  }

  /** Returns the value of the first operation, if the value is a string. Call it only once, at the first operation. */
  string(): string | undefined {
    this.#valueKind.next()
    const { there, value } = this.#valueKind
    return there && value % 16 === STRING ? utf8.decode(this.#values.slice(Math.floor(value / 16))) : undefined
  }

  /**
   * Whether the operation is in the document's root. Otherwise it is in the object that `objectCounter` and
   * `objectActor` name.
   */
  get inRoot(): boolean {
    return !this.objectCounter.there
  }
  /** Whether the operation is at a key of a map; otherwise it is in a list or text. */
  get inMap(): boolean {
    return this.key.there
  }
  /** Whether the operation is at an element of a list or text. */
  get onElement(): boolean {
    return this.elementActor.there && this.elementCounter.there
  }
  /** Whether the operation is at the beginning of a list or text. */
  get atHead(): boolean {
    return !this.elementActor.there && this.elementCounter.there && this.elementCounter.value === 0
  }
  get action(): number {
    return this.#action.value
  }
  get insert(): boolean {
    return this.#insert.value === 1
  }
  /** How many operations this operation replaces, deletes or increments. */
  get predecessors(): number {
    return this.#predecessors.there ? this.#predecessors.value : 0
  }
}

const NONE = new Bytes(new Uint8Array(), 0)
const utf8 = new TextDecoder()

/** Reads a run-length encoded column value by value. `there` is false at a null and after the end. */
class Column {
  there = false
  value = 0
  text = ""
  readonly #bytes: Bytes
  readonly #type: number
  /** How many values are left of the present run. */
  #left = 0
  /** Whether each value of the present run has bytes of its own. */
  #literal = false
  #step = 0

  constructor(bytes: Bytes, type: number) {
    this.#bytes = bytes
    this.#type = type
    if (type === FLAGS) this.value = 1 // each run flips the value, and the first run is false
  }

  next(): void {
    if (this.#type === FLAGS) return this.#nextFlag()
    if (this.#left === 0) {
      this.there = false
      if (this.#bytes.done) return
      this.#startRun()
    } else if (this.there && this.#literal) this.#read()
    this.#left--
    if (this.there && this.#type === DELTA) this.value += this.#step
  }

  #startRun(): void {
    const length = this.#bytes.sleb()
    this.there = length !== 0
    this.#literal = length < 0
    this.#left = this.there ? Math.abs(length) : this.#bytes.uleb()
    if (this.there) this.#read()
    if (this.#left === 0) throw chunkBad("a column has an empty run")
  }

  #read(): void {
    if (this.#type === TEXT) this.text = utf8.decode(this.#bytes.slice(this.#bytes.uleb()))
    else if (this.#type === DELTA) this.#step = this.#bytes.sleb()
    else this.value = this.#bytes.uleb()
  }

  #nextFlag(): void {
    while (this.#left === 0 && !this.#bytes.done) {
      this.#left = this.#bytes.uleb()
      this.value = 1 - this.value
    }
    if (this.#left > 0) this.#left--
    else this.value = 0
  }
}

/**
 * Throws `error` again unless it is a `HeadwaterError`, which `Operations` throws for a malformed change. Any other
 * error (no memory, say) is a failure of the machine, and says nothing about the change.
 */
export function throwUnlessMalformed(error: unknown): void {
  if (!(error instanceof HeadwaterError)) throw error
}
