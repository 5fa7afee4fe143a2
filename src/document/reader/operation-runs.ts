/**
 * Reads the operations of one change by runs. A run consists of consecutive operations that differ only in their ids,
 * in the ids to which they refer, and in their values. The insertion of a thousand characters is two or three runs.
 */

import type { Change } from "../../wire/chunk.ts"
import { ACTOR, Columns, type Layout, layoutOf, openChunk, otherActors } from "../../wire/layout.ts"
import { Bytes } from "../../wire/leb128.ts"
import type { Actor } from "../../wire/protocol.ts"
import { decline } from "./declined.ts"
import { DIFFERENCES, Flags, NUMBERS, Runs, TEXTS } from "./runs.ts"
import { Values } from "./values.ts"

/**
 * The names of the columns that the reader knows: id << 4 | type. The columns of marks are not among them: a change
 * with a mark is declined.
 */
const NAMES = [1, 2, 17, 19, 21, 52, 66, 86, 87, 112, 113, 115] as const

/**
 * Reads the actors that a change names: the author first, then the others. Keeps the others of the last change, because
 * most changes of an entity name the same others: comparing their bytes takes less time than making the strings again.
 */
export class ChangeActors {
  #last: Layout | undefined
  #others: readonly Actor[] = []

  of({ actor }: Change, layout: Layout): readonly Actor[] {
    if (layout.others === 0) return [actor]
    if (!this.#areLast(layout)) {
      this.#others = otherActors(layout)
      this.#last = layout
    }
    if (this.#others.includes(actor)) decline("the author is among the other actors")
    return [actor, ...this.#others]
  }

  #areLast({ chunk, others, othersAt }: Layout): boolean {
    const last = this.#last
    if (last?.others !== others) return false
    for (let i = others * (ACTOR + 1) - 1; i >= 0; i--) {
      if (chunk[othersAt + i] !== last.chunk[last.othersAt + i]) return false
    }
    return true
  }
}

/**
 * Walks over the runs of a change. The first call of `next` goes to the first run, each later call to the next one. The
 * fields describe the first operation of the run. Throws `Declined` or `CHUNK_BAD` for columns that Automerge would not
 * write.
 */
export class OperationRuns {
  /** How many operations the run has. */
  count = 0
  /** The counter of the first operation. Each following one has the next counter. */
  counter: number
  /**
   * The author first, then the other actors that the change names. All other members of this class give an actor as its
   * index in this list.
   */
  readonly actors: readonly Actor[]
  readonly values: Values
  readonly #objectActor: Runs
  readonly #objectCounter: Runs
  readonly #elementActor: Runs
  readonly #elementCounter: Runs
  readonly #key: Runs
  readonly #insert: Flags
  readonly #action: Runs
  readonly #predecessors: Runs
  readonly #predecessorActor: Runs
  readonly #predecessorCounter: Runs
  /** For each of `actors`: whether an operation that was read so far refers to it. */
  readonly #referred: boolean[]
  #left: number

  constructor(change: Change, actors: ChangeActors) {
    const layout = layoutOf(openChunk(change.chunk))
    const columns = new Columns(layout)
    const found: (Bytes | undefined)[] = []
    let known = 0
    while (columns.next()) {
      if (columns.from === columns.to) decline("an empty column")
      while (known < NAMES.length && (NAMES[known] as number) < columns.name) found[known++] = undefined
      if (NAMES[known] !== columns.name) decline("a column that the reader does not know")
      found[known++] = new Bytes(change.chunk, columns.from, columns.to)
    }
    if (columns.to !== change.chunk.length) decline("bytes behind the columns")
    this.#objectActor = Runs.of(found[0], NUMBERS, true)
    this.#objectCounter = Runs.of(found[1], NUMBERS, true)
    this.#elementActor = Runs.of(found[2], NUMBERS, true)
    this.#elementCounter = Runs.of(found[3], DIFFERENCES, true)
    this.#key = Runs.of(found[4], TEXTS, true)
    this.#insert = new Flags(found[5])
    this.#action = Runs.of(found[6], NUMBERS, false)
    this.values = new Values(found[7], found[8])
    this.#predecessors = Runs.of(found[9], NUMBERS, false)
    this.#predecessorActor = Runs.of(found[10], NUMBERS, false)
    this.#predecessorCounter = Runs.of(found[11], DIFFERENCES, false)
    this.actors = actors.of(change, layout)
    this.#referred = [true]
    this.#left = change.ops
    this.counter = change.startOp
  }

  /**
   * Goes to the next run; false after the last one. The caller must have read or passed the values and the predecessors
   * of the run before.
   */
  next(): boolean {
    this.#pass(this.count)
    if (this.#left === 0) return this.#end()
    let count = Math.min(this.#left, this.#objectActor.left, this.#objectCounter.left, this.#elementActor.left)
    count = Math.min(count, this.#elementCounter.left, this.#key.left, this.#insert.left, this.#action.left)
    count = Math.min(count, this.#predecessors.left)
    if (this.#predecessors.value === 1) {
      count = Math.min(count, this.#predecessorActor.left, this.#predecessorCounter.left)
    } else if (this.#predecessors.value > 1 && count > 1) count = 1
    if (count === 0) decline("a column is shorter than the change")
    this.count = count
    return true
  }

  /** Makes the run shorter. The next run begins with the operations that were cut off. */
  shorten(count: number): void {
    this.count = count
  }

  get action(): number {
    return this.#action.value
  }
  get insert(): boolean {
    return this.#insert.value
  }
  /** Whether the run is in the document's root; otherwise in the object that `objectActor` and `objectCounter` name. */
  get inRoot(): boolean {
    if (this.#objectActor.there !== this.#objectCounter.there) decline("half an object id")
    return !this.#objectActor.there
  }
  get objectActor(): number {
    return this.#actor(this.#objectActor.value)
  }
  get objectCounter(): number {
    return this.#objectCounter.value
  }
  /** The key of a map at which the run is; undefined when the run is in a list or text. */
  get key(): string | undefined {
    if (!this.#key.there) return undefined
    if (this.#elementActor.there || this.#elementCounter.there) decline("a key and an element")
    return this.#key.text
  }
  /** Whether the run is at the beginning of a list or text; otherwise it is at the element `elementCounter`. */
  get atHead(): boolean {
    if (!this.#elementCounter.there) decline("no key and no element")
    if (this.#elementActor.there) return false
    if (this.elementCounter !== 0 || (this.count > 1 && this.elementStep !== 0)) decline("half an element id")
    return true
  }
  get elementActor(): number {
    return this.#actor(this.#elementActor.value)
  }
  get elementCounter(): number {
    return this.#elementCounter.value
  }
  /** By how much the counter of the element grows from one operation of the run to the next. */
  get elementStep(): number {
    return this.#elementCounter.step
  }

  /** How many operations each operation of the run replaces, deletes or increments. */
  get predecessors(): number {
    return this.#predecessors.value
  }
  /**
   * The actor of the next predecessor, an index in `actors`. If each operation of the run has one predecessor, this is
   * the predecessor of the first operation, and the counters of the others follow in steps of `predecessorStep`.
   */
  get predecessorActor(): number {
    return this.#actor(this.#predecessorActor.value)
  }
  get predecessorCounter(): number {
    return this.#predecessorCounter.value
  }
  get predecessorStep(): number {
    return this.#predecessorCounter.step
  }
  passPredecessors(count: number): void {
    if (this.#predecessorActor.left === 0 || this.#predecessorCounter.left === 0) decline("a predecessor is missing")
    this.#predecessorActor.pass(count)
    this.#predecessorCounter.pass(count)
  }

  #actor(number: number): number {
    if (number >= this.actors.length) decline("an actor that the change does not name")
    this.#referred[number] = true
    return number
  }

  #pass(count: number): void {
    if (count === 0) return
    this.#left -= count
    this.counter += count
    this.#objectActor.pass(count)
    this.#objectCounter.pass(count)
    this.#elementActor.pass(count)
    this.#elementCounter.pass(count)
    this.#key.pass(count)
    this.#insert.pass(count)
    this.#action.pass(count)
    this.#predecessors.pass(count)
  }

  #end(): false {
    this.#objectActor.end()
    this.#objectCounter.end()
    this.#elementActor.end()
    this.#elementCounter.end()
    this.#key.end()
    this.#insert.end()
    this.#action.end()
    this.#predecessors.end()
    this.#predecessorActor.end()
    this.#predecessorCounter.end()
    this.values.end()
    for (let i = 1; i < this.actors.length; i++) {
      if (!this.#referred[i]) decline("an actor that no operation refers to")
    }
    return false
  }
}
