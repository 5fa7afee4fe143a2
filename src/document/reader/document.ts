/**
 * A document that is being read: its objects, the actors whose operations it has, and which of several values under one
 * key is shown (`winner`).
 */

import type { Actor } from "../../wire/protocol.ts"
import { COUNTER, MAKE_LIST, MAKE_MAP, MAKE_TEXT } from "../format.ts"
import { decline } from "./declined.ts"
import { type DocumentObject, depthIn, LIST, MAP, type MapObject, TEXT, type Written } from "./objects.ts"
import { ChangeActors } from "./operation-runs.ts"
import { Sequence } from "./sequence.ts"

/**
 * The most steps that reading one entity may take. An entity that needs more is declined. Each step of a search counts,
 * and each run of operations counts `STEPS_OF_RUN`. If all steps are steps of searches, they take about 0.1 s. An
 * entity of 10,000 edits takes fewer steps. Only a history that was made to be slow, or to fill the memory, takes more.
 */
const STEPS = 10_000_000
/**
 * How many steps a run of operations counts. Reading a run takes longer than one step of a search, and the values that
 * it writes take memory. Outside texts, a run has only one operation. `STEPS` allows some 300,000 such runs, which take
 * up to 1 s and 130 MB. A small change can come near this limit: 100 bytes may have 262,144 operations.
 */
export const STEPS_OF_RUN = 32
/**
 * The most actors that a document may have. A document with more is declined. So an operation id fits in one number:
 * `counter * ACTORS + actor`.
 */
const ACTORS = 2 ** 20

export class ReadDocument {
  readonly root: MapObject = { kind: MAP, keys: new Map(), depth: 0 }
  /** The other objects, by the id of the operation that made them (as one number, see `ACTORS`). */
  readonly #objects = new Map<number, DocumentObject>()
  readonly #actors: Actor[] = []
  readonly #numbers = new Map<Actor, number>()
  #steps = STEPS
  readonly changeActors = new ChangeActors()

  /** Returns the number of an actor in this document. Operation ids have this number in place of the actor. */
  numberOf(actor: Actor): number {
    let number = this.#numbers.get(actor)
    if (number === undefined) {
      number = this.#actors.push(actor) - 1
      if (number === ACTORS) decline("too many actors")
      this.#numbers.set(actor, number)
    }
    return number
  }

  actor(number: number): Actor {
    return this.#actors[number] as Actor
  }

  object(counter: number, actor: number): DocumentObject {
    return this.#objects.get(counter * ACTORS + actor) ?? decline("an object that is not there")
  }

  /** Makes the empty object that the operation with this id makes in `parent`, and adds it to the document. */
  make(action: number, parent: DocumentObject, counter: number, actor: number): DocumentObject {
    const kind = action === MAKE_MAP ? MAP : action === MAKE_LIST ? LIST : action === MAKE_TEXT ? TEXT : undefined
    if (kind === undefined) decline("an action that the reader does not know")
    const depth = depthIn(parent)
    const made: DocumentObject =
      kind === MAP ? { kind, keys: new Map(), depth } : { kind, elements: new Sequence(this.larger, this.spend), depth }
    this.#objects.set(counter * ACTORS + actor, made)
    return made
  }

  /** Returns the value that Automerge shows: the one with the largest operation id. */
  readonly winner = (values: readonly Written[]): Written | undefined => {
    let winner = values[0]
    for (let i = 1; i < values.length; i++) {
      const value = values[i] as Written
      const { counter, actor } = winner as Written
      if (this.larger(value.counter, value.actor, counter, actor)) winner = value
    }
    // When counters conflict, Automerge adds an increment to each of them, and some of its functions do so differently
    // from others. So no single value can be shown.
    if (values.length > 1 && values.some(({ type }) => type === COUNTER)) decline("a conflict with a counter")
    return winner
  }

  readonly spend = (steps: number): void => {
    this.#steps -= steps
    if (this.#steps < 0) decline("a history that takes too long")
  }

  /** Whether the first operation id is larger: by the counter, then by the actor. */
  readonly larger = (counter: number, actor: number, thanCounter: number, thanActor: number): boolean =>
    counter > thanCounter || (counter === thanCounter && this.actor(actor) > this.actor(thanActor))
}
