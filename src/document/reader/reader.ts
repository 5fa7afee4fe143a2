/**
 * Reads an entity from its changes in plain JavaScript, without Automerge. The reader knows the part of Automerge's
 * format that notes use. It declines everything else, and then Automerge must make the document. Automerge would apply
 * every change that the reader accepts, and return it byte for byte. The row made with Automerge would be the same.
 */

import { HeadwaterError } from "../../base/errors.ts"
import type { Fields } from "../../schema/draft.ts"
import { type AnyDef, isText } from "../../schema/schema.ts"
import { isFieldKey } from "../../schema/values.ts"
import type { Change } from "../../wire/chunk.ts"
import { type Actor, isId } from "../../wire/protocol.ts"
import { DELETED, Deletion } from "../deletion.ts"
import { genesisOf, textContainer } from "../derived-changes.ts"
import { type Facts, factsOf } from "../facts.ts"
import { STRING } from "../format.ts"
import type { History } from "../history/history.ts"
import type { Exists } from "../operation-faults.ts"
import { TYPE } from "../root-operations.ts"
import { decline } from "./declined.ts"
import { ReadDocument } from "./document.ts"
import { plain, type Register, TEXT, visible, type Written } from "./objects.ts"
import { readOperations } from "./read-operations.ts"

/** A value of a field, with the id of the operation that wrote it. */
export interface Value {
  readonly counter: number
  readonly actor: Actor
  /** The type of a scalar (`format.ts`) or of an object (`objects.ts`). */
  readonly type: number
  readonly value: unknown
}

export class Reader {
  readonly id: string
  /** The changes that were read. */
  readonly history: History
  readonly #document = new ReadDocument()
  #genesis: Change | undefined
  #collection = ""

  /** The caller adds each change to the history after `read` has returned. */
  constructor(id: string, history: History) {
    this.id = id
    this.history = history
  }

  /**
   * Reads the next change. All its deps must have been read before. `exists`: whether an ancestor of the change has
   * made an operation; without `exists`, every operation that was read before counts as an ancestor's. Throws
   * `Declined`; after that, this reader must not be used.
   */
  read(change: Change, exists?: Exists): void {
    const isGenesis = change.deps.length === 0
    if (isGenesis !== (this.#genesis === undefined)) decline("a genesis that is not the first change")
    if (change.ops === 0) decline("a change without operations")
    try {
      readOperations(this.#document, change, exists, isGenesis)
    } catch (error) {
      if (error instanceof HeadwaterError) decline(error.message) // the bytes of a column end early, for example
      throw error
    }
    if (isGenesis) this.#begin(change)
  }

  /** The collection that the genesis names. */
  get collection(): string {
    return this.#collection
  }

  get facts(): Facts {
    return factsOf(this.history, this.#deletion())
  }

  /** The user's fields, as `Entity.whole` gives them. Throws `Declined`. */
  whole(def: AnyDef | undefined): Readonly<Fields> {
    const fields: Fields = {}
    const { keys } = this.#document.root
    for (const key of [...keys.keys()].sort()) {
      if (!isFieldKey(key)) continue
      const value = this.#shown(key, visible(keys.get(key) as Register), def)
      if (value !== undefined) fields[key] = value
    }
    return Object.freeze(fields)
  }

  /** The values under a key of the root, several if they conflict, sorted by the ids of their operations. */
  values(key: string): Value[] {
    const { larger } = this.#document
    const values = [...visible(this.#document.root.keys.get(key) ?? [])]
    values.sort((a, b) => (larger(a.counter, a.actor, b.counter, b.actor) ? 1 : -1))
    return values.map(({ counter, actor, type, value }) => ({
      counter,
      actor: this.#document.actor(actor),
      type,
      value,
    }))
  }

  #shown(key: string, values: readonly Written[], def: AnyDef | undefined): unknown {
    const { winner } = this.#document
    const shown = winner(values)
    const texts = values.length > 1 ? values.filter(({ type }) => type === TEXT) : []
    if (texts.length === 0 || (shown?.type !== TEXT && !isText(def, key))) return shown && plain(shown, winner)
    const own = texts.length > 1 ? this.#container(key, texts) : undefined
    return plain(own ?? (winner(texts) as Written), winner)
  }

  /**
   * Returns, of several texts under a key, the one that the derived container of the key makes; undefined when it is
   * not among them.
   */
  #container(key: string, texts: readonly Written[]): Written | undefined {
    const { startOp, actor } = textContainer(this.id, this.#genesis as Change, key)
    return texts.find((text) => text.counter === startOp && this.#document.actor(text.actor) === actor)
  }

  /** Checks that the first change is the entity's genesis, byte for byte. */
  #begin(change: Change): void {
    const [type] = this.#document.root.keys.get(TYPE) ?? []
    const name = type?.type === STRING ? (type.value as string) : ""
    if (!isId(name) || genesisOf(this.id, name).hash !== change.hash) decline("a first change that is no genesis")
    this.#collection = name
    this.#genesis = change
  }

  #deletion(): Change | undefined {
    const values = visible(this.#document.root.keys.get(DELETED) ?? []).filter(({ type }) => type === STRING)
    const deletions = values.map(({ counter, actor, value }) => ({
      value: value as string,
      id: `${counter}@${this.#document.actor(actor)}`,
    }))
    return new Deletion().find(deletions, this.id, this.history)
  }
}
