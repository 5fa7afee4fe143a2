/** The objects of a document that is being read, and the values under each of their keys. */

import { DEPTH } from "../../schema/values.ts"
import { COUNTER } from "../format.ts"
import { decline } from "./declined.ts"
import type { Sequence, Spend } from "./sequence.ts"

/** Types of values that are objects. Their numbers follow those of the scalars in `format.ts`. */
export const MAP = 16
export const LIST = 17
export const TEXT = 18

/** The document's root, which has the fields, or a map inside a field. */
export interface MapObject {
  readonly kind: typeof MAP
  readonly keys: Map<string, Register>
  /** How many objects this object is nested in. */
  readonly depth: number
}

export interface SequenceObject {
  readonly kind: typeof LIST | typeof TEXT
  readonly elements: Sequence
  readonly depth: number
}

export type DocumentObject = MapObject | SequenceObject

/** A value that an operation has written. */
export interface Written {
  /** The operation's id. */
  readonly counter: number
  readonly actor: number
  readonly type: number
  /** A scalar as plain JSON, or an object. */
  readonly value: unknown
  /** The sum of all increments, if the value is a counter. */
  added: number
  /** Whether another operation has replaced or deleted the value. */
  replaced: boolean
}

/**
 * All values that were ever written under one key of a map, or at one element of a list, in the order in which they
 * were read.
 */
export type Register = Written[]

/** Finds a value by the id of the operation that wrote it. Checks the newest values first. */
export function writtenIn(register: Register, counter: number, actor: number, spend: Spend): Written {
  for (let i = register.length - 1; i >= 0; i--) {
    const written = register[i] as Written
    if (written.counter === counter && written.actor === actor) return written
    spend(1)
  }
  decline("a predecessor under another key, or one that is no value")
}

/** Returns the values that are not replaced: none, one, or several that conflict. */
export function visible(register: Register): readonly Written[] {
  const last = register.at(-1)
  if (last === undefined) return NONE
  if (register.length === 1) return last.replaced ? NONE : register
  return register.filter(({ replaced }) => !replaced)
}

const NONE: readonly Written[] = []

/** Turns a value into plain JSON, as `toPlain` in `cells.ts` does. Returns undefined for bytes. */
export function plain(written: Written, winner: (values: readonly Written[]) => Written | undefined): unknown {
  const { type, value, added } = written
  if (type < MAP) return type === COUNTER ? sum(value as number, added) : value
  const object = value as DocumentObject
  if (object.kind === MAP) {
    const map: Record<string, unknown> = {}
    for (const key of [...object.keys.keys()].sort()) {
      const shown = winner(visible(object.keys.get(key) as Register))
      const item = shown && plain(shown, winner)
      if (item !== undefined) map[key] = item
    }
    return Object.freeze(map)
  }
  if (object.kind === TEXT) return object.elements.text()
  const list: unknown[] = []
  object.elements.each((register) => {
    const shown = winner(visible(register))
    if (shown !== undefined) list.push(plain(shown, winner) ?? null)
  })
  return Object.freeze(list)
}

function sum(value: number, added: number): number {
  if (!Number.isSafeInteger(value + added)) decline("a counter beyond 2^53")
  return value + added
}

/**
 * Returns the depth of a new object inside this one. Declines an object that would be nested deeper than rows show,
 * because Automerge's own stack may be too small for it.
 */
export function depthIn(object: DocumentObject): number {
  if (object.depth >= DEPTH) decline("an object that is nested too deep")
  return object.depth + 1
}
