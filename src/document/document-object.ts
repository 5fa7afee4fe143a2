/**
 * A document as Automerge's own JavaScript object, which editor bindings of others read and change. It is a second
 * document beside the `Entity`, under an actor of its own, and has to be told of each further change of the entity.
 */
import { HeadwaterError } from "../base/errors.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { TextSplice } from "../schema/types.ts"
import { isFieldKey, plainCopy } from "../schema/values.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { automerge, type Doc, type Patch } from "./automerge.ts"
import { rootKeys } from "./root-operations.ts"
import { withScalars } from "./writing.ts"

/** How the object has changed. Automerge's objects are values: `before` and `after` can both be read. */
export interface ObjectChange {
  readonly before: Doc
  readonly after: Doc
  readonly patches: readonly Patch[]
}

/** Turns splices of the text under `key` into Automerge's patches. */
export function patchesOf(key: string, splices: readonly TextSplice[]): Patch[] {
  return splices.flatMap(({ at, remove, insert }) => {
    const path = [key, at]
    const removed: Patch[] = remove > 0 ? [{ action: "del", path, length: remove }] : []
    return insert === "" ? removed : [...removed, { action: "splice", path, value: insert }]
  })
}

export class DocumentObject {
  readonly #def: AnyDef
  #actor: Actor
  #doc: Doc

  constructor(def: AnyDef, changes: Iterable<Change>, actor: Actor) {
    this.#def = def
    this.#actor = actor
    this.#doc = this.#load(changes)
  }

  /** The next changes of the object are made by this actor. */
  renewActor(actor: Actor): void {
    this.#actor = actor
    this.#doc = automerge().clone(this.#doc, { actor })
  }

  /** The object. Another one after each change. */
  get doc(): Doc {
    return this.#doc
  }

  /** Takes in changes that the entity has. Returns undefined if the object has them all. */
  apply(changes: readonly Change[]): ObjectChange | undefined {
    const A = automerge()
    const told = new Told()
    const chunks = changes.map(({ chunk }) => chunk)
    ;[this.#doc] = A.applyChanges(this.#doc, chunks, { patchCallback: told.take })
    return told.change
  }

  /**
   * Replaces the object by one that has exactly these changes, and another actor: the old object may have changes of its
   * actor that the new one lacks. `patches`: how the texts of the new object differ, because Automerge has no patches
   * between two histories.
   */
  replace(changes: Iterable<Change>, actor: Actor, patches: readonly Patch[]): ObjectChange {
    const before = this.#doc
    this.#actor = actor
    this.#doc = this.#load(changes)
    return { before, after: this.#doc, patches }
  }

  /**
   * Lets `edit` change the object as `A.change` does. Returns the change that it has made, or undefined if it has made
   * none. The values of registers are written whole, with scalar strings, as `Entity.write` writes them. `all` returns
   * the changes that the object has without this one. When anything throws, the object is as it was before.
   *
   * Throws `FIELD_KIND` when `edit` writes a key that belongs to the document (`@…`), or puts something in the place of
   * a text, which would separate it from what others write into that text; `VALUE_UNSUPPORTED` for a value that is not
   * JSON; and what `edit` throws.
   */
  change(
    edit: (doc: never) => void,
    time: number,
    all: () => Iterable<Change>,
  ): (ObjectChange & { readonly made: Change }) | undefined {
    const A = automerge()
    const before = this.#doc
    const told = new Told()
    const act = (draft: Record<string, unknown>) => {
      edit(draft as never)
      for (const key of registersIn(this.#def, before, draft)) {
        if (draft[key] === undefined) continue
        const value = withScalars(plainCopy(plainOf(draft[key]), key))
        if (differ(value, before[key])) draft[key] = value
      }
    }
    const after = A.change(before, { time, patchCallback: told.take }, act)
    if (after === before) return undefined
    const made = readChange(A.getLastLocalChange(after) as Uint8Array)
    const foreign = [...rootKeys(made)].find((key) => !isFieldKey(key) || isText(this.#def, key))
    if (foreign !== undefined) {
      this.#doc = this.#load(all())
      const message = `a binding may not write ${foreign} itself, only what is in it`
      throw new HeadwaterError("FIELD_KIND", message, { field: foreign })
    }
    this.#doc = after
    return { made, before, after, patches: told.change?.patches ?? [] }
  }

  #load(changes: Iterable<Change>): Doc {
    const A = automerge()
    const chunks = Array.from(changes, ({ chunk }) => chunk)
    const [doc] = A.applyChanges(A.init<Record<string, unknown>>({ actor: this.#actor }), chunks)
    return doc
  }
}

/** Takes what Automerge tells of a change. */
class Told {
  change: ObjectChange | undefined
  readonly take = (patches: Patch[], { before, after }: { before: Doc; after: Doc }): void => {
    this.change = { before, after, patches }
  }
}

/** The registers that have another value in `draft` than in `before`, or the same value in another form. */
function registersIn(def: AnyDef, before: Doc, draft: Readonly<Record<string, unknown>>): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(draft)])
  return [...keys].filter((key) => isFieldKey(key) && !isText(def, key) && differ(draft[key], before[key]))
}

/** Whether two values of Automerge differ, where a text and a scalar string with the same letters differ, too. */
function differ(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return false
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return true
  const { isImmutableString } = automerge()
  const isString = (value: object) => !Array.isArray(value) && isImmutableString(value)
  if (isString(a) || isString(b)) return !isString(a) || !isString(b) || String(a) !== String(b)
  if (a instanceof Date || b instanceof Date || ArrayBuffer.isView(a) || ArrayBuffer.isView(b))
    return String(a) !== String(b) || typeof a !== typeof b
  const [inA, inB] = [Object.keys(a), Object.keys(b)]
  if (Array.isArray(a) !== Array.isArray(b) || inA.length !== inB.length) return true
  return inA.some((key) => !Object.hasOwn(b, key) || differ(Reflect.get(a, key), Reflect.get(b, key)))
}

/** Copies a value that `edit` has left in the object: proxies become plain objects, scalar strings plain ones. */
function plainOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value
  const { isCounter, isImmutableString } = automerge()
  if (Array.isArray(value)) return Array.from(value, plainOf) // before the others: a proxy of a list has every symbol
  if (isImmutableString(value)) return value.val
  if (isCounter(value) || value instanceof Date || ArrayBuffer.isView(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainOf(item)]))
}
