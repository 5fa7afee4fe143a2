/**
 * Reads the operations of one change into a document. Checks that an operation refers to an object of the right kind,
 * to an element of that object, and to predecessors (the operations that it replaces, deletes or increments) under the
 * same key or at the same element, in the order in which Automerge writes them. Automerge would not return a change
 * with any other operation byte for byte.
 */

import type { Change } from "../../wire/chunk.ts"
import { COUNTER, DELETE, INCREMENT, INT, SET } from "../format.ts"
import type { Exists } from "../operation-faults.ts"
import { TYPE } from "../root-operations.ts"
import { decline } from "./declined.ts"
import { type ReadDocument, STEPS_OF_RUN } from "./document.ts"
import { type DocumentObject, LIST, MAP, type Register, type SequenceObject, TEXT, writtenIn } from "./objects.ts"
import { OperationRuns } from "./operation-runs.ts"
import type { Piece } from "./sequence.ts"

/**
 * Reads the change. `exists`: whether an ancestor has made an operation; without `exists`, every operation in the
 * document counts as an ancestor's. `genesis`: whether the change may write `@type`. Throws `Declined` or `CHUNK_BAD`;
 * after that, the document must not be used.
 */
export function readOperations(
  document: ReadDocument,
  change: Change,
  exists: Exists | undefined,
  genesis: boolean,
): void {
  const reading = new Reading(document, change, exists)
  while (reading.next()) reading.read(genesis)
}

class Reading {
  readonly #document: ReadDocument
  readonly #runs: OperationRuns
  /** The document's number of each actor in `#runs.actors`, in the same order. */
  readonly #actors: readonly number[]
  readonly #startOp: number
  readonly #exists: Exists | undefined
  /** The id of the predecessor that was read last. */
  #lastCounter = 0
  #lastActor = 0

  constructor(document: ReadDocument, change: Change, exists: Exists | undefined) {
    this.#document = document
    this.#runs = new OperationRuns(change, document.changeActors)
    this.#actors = this.#runs.actors.map((actor) => document.numberOf(actor))
    this.#startOp = change.startOp
    this.#exists = exists
  }

  next(): boolean {
    return this.#runs.next()
  }

  /**
   * Reads the present run. Shortens the run first if its operations cannot be read all at once; `next` then goes to the
   * remaining operations.
   */
  read(genesis: boolean): void {
    const runs = this.#runs
    this.#document.spend(STEPS_OF_RUN)
    const object = runs.inRoot ? this.#document.root : this.#objectOf()
    const { key } = runs
    if (key === undefined) {
      if (object.kind === MAP) decline("an element of a map")
      if (runs.insert) this.#insert(object)
      else this.#change(object)
      return
    }
    if (object.kind !== MAP || runs.insert) decline("a key of a list or text, or an insertion at a key")
    if (key === "" || key === "__proto__") decline("a key that the reader does not know")
    if (key === TYPE && object === this.#document.root && !genesis) decline("a change that writes @type")
    runs.shorten(1)
    let register = object.keys.get(key)
    if (register === undefined) object.keys.set(key, (register = []))
    this.#write(object, register)
  }

  #objectOf(): DocumentObject {
    const { objectActor, objectCounter } = this.#runs
    this.#checkKnown(objectActor, objectCounter)
    return this.#document.object(objectCounter, this.#actors[objectActor] as number)
  }

  /**
   * Declines a reference to an operation that neither an ancestor nor this change has made. `actor`: an index in
   * `#runs.actors`.
   */
  #checkKnown(actor: number, counter: number): void {
    // An operation of this change needs no check here: a later one is not in the document yet, so the look-up there
    // declines it.
    if (this.#exists === undefined || (actor === 0 && counter >= this.#startOp)) return
    if (!this.#exists(counter, this.#runs.actors[actor] as string)) decline("an operation of no ancestor")
  }

  /** Reads insertions: into a text, a run of characters, each behind the one before; into a list, one element. */
  #insert(object: SequenceObject): void {
    const runs = this.#runs
    if (runs.predecessors > 0) decline("an insertion that replaces something")
    const after = this.#after(object)
    const author = this.#actors[0] as number
    if (object.kind === TEXT) {
      if (runs.action !== SET) decline("an object in a text")
      const text = runs.values.characters(runs.count)
      object.elements.insertText(author, runs.counter, text, runs.count, after)
    } else {
      runs.shorten(1)
      const register: Register = []
      this.#push(object, register)
      object.elements.insertElement(author, runs.counter, register, after)
    }
  }

  /**
   * Returns the piece behind which the run inserts; undefined for the beginning of the list or text. Shortens the run
   * to one operation unless each operation inserts behind the element that the operation before it inserts.
   */
  #after(object: SequenceObject): Piece | undefined {
    const runs = this.#runs
    if (runs.atHead) {
      runs.shorten(1)
      return undefined
    }
    const { elementActor, elementCounter } = runs
    const chained = elementActor === 0 && elementCounter === runs.counter - 1 && runs.elementStep === 1
    if (!chained) runs.shorten(1)
    this.#checkKnown(elementActor, elementCounter)
    return object.elements.endingWith(this.#actors[elementActor] as number, elementCounter)
  }

  /** Reads operations on existing elements: deletions of characters in a text, or one operation in a list. */
  #change(object: SequenceObject): void {
    const runs = this.#runs
    if (runs.atHead) decline("an operation at the beginning of a list or text")
    if (runs.predecessors === 0) decline("an operation at an element that replaces nothing")
    if (object.kind === LIST) {
      runs.shorten(1)
      const { elementActor, elementCounter } = runs
      this.#checkKnown(elementActor, elementCounter)
      this.#write(object, object.elements.registerOf(this.#actors[elementActor] as number, elementCounter))
    } else {
      if (runs.action !== DELETE || runs.predecessors > 1) decline("an operation on a character")
      this.#deleteCharacters(object)
    }
  }

  #deleteCharacters(object: SequenceObject): void {
    const runs = this.#runs
    const { elementActor, elementCounter, elementStep } = runs
    if (Math.abs(elementStep) !== 1 || runs.predecessorStep !== elementStep) runs.shorten(1)
    const { count } = runs
    if (runs.predecessorActor !== elementActor || runs.predecessorCounter !== elementCounter) {
      decline("a predecessor that is another character")
    }
    const last = elementCounter + (count - 1) * elementStep
    this.#checkKnown(elementActor, Math.max(elementCounter, last))
    object.elements.delete(this.#actors[elementActor] as number, Math.min(elementCounter, last), count)
    runs.values.none(count)
    runs.passPredecessors(count)
  }

  /** Reads one operation under a key of a map or at an element of a list. `parent`: this map or list. */
  #write(parent: DocumentObject, register: Register): void {
    const runs = this.#runs
    const { action, predecessors } = runs
    if (action === INCREMENT) return this.#increment(register)
    if (action === DELETE && predecessors === 0) decline("a deletion of nothing")
    for (let i = 0; i < predecessors; i++) this.#predecessor(register, i > 0).replaced = true
    if (action === DELETE) runs.values.none(1)
    else this.#push(parent, register)
  }

  #increment(register: Register): void {
    const runs = this.#runs
    if (runs.predecessors !== 1) decline("an increment of several counters")
    const counter = this.#predecessor(register, false)
    const by = runs.values.scalar()
    if (counter.type !== COUNTER || runs.values.type !== INT) decline("an increment that is none of a counter")
    counter.added += by as number
    if (!Number.isSafeInteger(counter.added)) decline("a counter beyond 2^53")
  }

  /**
   * Reads the next predecessor of an operation, and returns the value that it wrote. `follows`: the operation has
   * another predecessor before this one, whose id must be smaller.
   */
  #predecessor(register: Register, follows: boolean) {
    const runs = this.#runs
    const { predecessorActor, predecessorCounter } = runs
    runs.passPredecessors(1)
    this.#checkKnown(predecessorActor, predecessorCounter)
    const actor = this.#actors[predecessorActor] as number
    if (follows && !this.#document.larger(predecessorCounter, actor, this.#lastCounter, this.#lastActor)) {
      decline("predecessors that are not sorted")
    }
    this.#lastCounter = predecessorCounter
    this.#lastActor = actor
    return writtenIn(register, predecessorCounter, actor, this.#document.spend)
  }

  /** Adds to the register the value that the operation writes. */
  #push(parent: DocumentObject, register: Register): void {
    const runs = this.#runs
    const counter = runs.counter
    const actor = this.#actors[0] as number
    if (runs.action === SET) {
      const value = runs.values.scalar()
      register.push({ counter, actor, type: runs.values.type, value, added: 0, replaced: false })
      return
    }
    runs.values.none(1)
    const value = this.#document.make(runs.action, parent, counter, actor)
    register.push({ counter, actor, type: value.kind, value, added: 0, replaced: false })
  }
}
