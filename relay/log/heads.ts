/**
 * The heads of a segment's records, in memory while the segment is open: everything that look-ups ask about what is
 * newer than the sealed segments. Some 200 bytes a change, made anew from the same bytes when a flush has failed.
 */
import type { Actor, Hash } from "../../src/protocol.ts"
import type { EntityState, Known, Tail } from "../log.ts"
import { bindingKey, change, fingerprint, type Key, keyWithin, Output, record, writeKeyWithin } from "./format.ts"
import { Table } from "./table.ts"

/** An entity with entries in this segment. What they did to its heads can be said without knowing what was before. */
export interface Touched {
  readonly entity: string
  readonly collection: string
  /** As of the segment's beginning; null: there was none; undefined: nobody has asked yet. */
  before: EntityState | null | undefined
  /** Changes of this segment that nothing else depends on. */
  heads: Hash[]
  /** Deps on changes from before, as far as these may have been heads. */
  rested: Set<Hash> | undefined
  purged: number | undefined
}

export class Heads {
  /** Changes of all records; more than memory should hold make a segment full. */
  changes = 0
  /** By the entity's key as a string of 16 Latin-1 characters. */
  readonly entities = new Map<string, Touched>()
  readonly #salt: number
  readonly #out = new Output(2 ** 12)
  /** Where each record begins: in the bytes here, and in the file. */
  readonly #records: number[] = []
  readonly #offsets: number[] = []
  #known = new Table()
  #tails = new Table()
  #bindings = new Table()

  constructor(salt: number) {
    this.#salt = salt
  }

  get count(): number {
    return this.#records.length
  }

  /** The bytes of the heads, and where the `i`-th one is in them. */
  get bytes(): Buffer {
    return this.#out.bytes
  }
  at(i: number): number {
    return this.#records[i]!
  }
  /** Where the `i`-th record is in the file. */
  offset(i: number): number {
    return this.#offsets[i]!
  }

  position(i: number): number {
    return record.position(this.bytes, this.at(i))
  }
  running(i: number): Buffer {
    return record.running(this.bytes, this.at(i))
  }

  /** How many records there are up to this position. */
  countTo(position: number): number {
    if (this.count === 0 || position < this.position(0)) return 0
    // Positions have gaps only where a flush has failed: nearly always, the most that there can be are there.
    let high = Math.min(this.count, position - this.position(0) + 1)
    let low = this.position(high - 1) <= position ? high : 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.position(middle - 1) <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  /** At `from`, a record's head; `entry` says what it belongs to, `before` what that was before this segment. */
  add(
    bytes: Buffer,
    from: number,
    offset: number,
    entry: () => { readonly entity: string; readonly collection: string },
    before: () => EntityState | null | undefined,
  ): void {
    const length = record.headLength(bytes, from)
    const at = this.#out.reserve(length)
    bytes.copy(this.bytes, at, from, from + length)
    const key = record.entityName(bytes, from)
    let touched = this.entities.get(key)
    if (!touched) {
      const { entity, collection } = entry()
      touched = { entity, collection, before: before(), heads: [], rested: undefined, purged: undefined }
      this.entities.set(key, touched)
    }
    this.#offsets.push(offset)
    this.#index(at, touched)
  }

  /** Forgets all but the first `count` records. */
  cut(count: number): void {
    const records = this.#records.slice(0, count)
    this.#out.length = count < this.count ? this.at(count) : this.#out.length
    this.#records.length = 0
    this.#offsets.length = count
    this.changes = 0
    this.#known = new Table()
    this.#tails = new Table()
    this.#bindings = new Table()
    const all = [...this.entities]
    this.entities.clear()
    for (const [, touched] of all) Object.assign(touched, { heads: [], rested: undefined, purged: undefined })
    const byKey = new Map(all)
    for (const at of records) {
      const key = record.entityName(this.bytes, at)
      const touched = byKey.get(key)!
      this.entities.set(key, touched)
      this.#index(at, touched)
    }
  }

  known(entity: Key, hash: Hash): Known | undefined {
    const { bytes } = this
    const found = this.#known.find(fingerprint(keyWithin(entity, hash), 0, this.#salt), (i, at) => {
      return change.hash(bytes, at) === hash && record.isOf(bytes, this.at(i), entity)
    })
    return found && change.known(bytes, this.at(found[0]), found[1])
  }

  tail(entity: Key, actor: Actor): Tail | undefined {
    const found = this.#tails.find(fingerprint(keyWithin(entity, actor), 0, this.#salt), (i, at) => {
      return change.actor(this.bytes, at) === actor && record.isOf(this.bytes, this.at(i), entity)
    })
    return found && tailOf(this.bytes, found[1])
  }

  binding(actor: Actor): string | undefined {
    const found = this.#bindings.find(fingerprint(bindingKey(actor), 0, this.#salt), (_, at) => {
      return change.actor(this.bytes, at) === actor
    })
    return found && record.principal(this.bytes, this.at(found[0]))
  }

  /** The last change of every actor in every entity: the record's number, and where the change is. */
  get tails(): Iterable<readonly [i: number, at: number]> {
    return this.#tails
  }

  /** A change that binds it, of every actor. */
  get bindings(): Iterable<readonly [i: number, at: number]> {
    return this.#bindings
  }

  #index(at: number, touched: Touched): void {
    const { bytes } = this
    const i = this.#records.push(at) - 1
    if (record.kind(bytes, at) === "tombstone") {
      Object.assign(touched, { heads: [], rested: undefined, purged: record.position(bytes, at) })
    }
    let c = change.first(at)
    for (let left = record.changes(bytes, at); left > 0; left--, c = change.next(bytes, c)) {
      this.changes++
      if (change.orphan(bytes, c)) continue
      this.#addKeys(i, c)
      for (const dep of change.deps(bytes, c)) {
        const head = touched.heads.indexOf(dep)
        if (head >= 0) touched.heads.splice(head, 1)
        else if (!touched.before ? touched.before === undefined : touched.before.heads.includes(dep)) {
          touched.rested = (touched.rested ?? new Set()).add(dep)
        }
      }
      touched.heads.push(change.hash(bytes, c))
    }
  }

  /** Of an actor's changes in an entity the last one counts, and of those that bind it any. */
  #addKeys(i: number, c: number): void {
    const { bytes } = this
    const actor = change.actorAt(c)
    const sameActor = (at: number) =>
      bytes.compare(bytes, actor, actor + 16, change.actorAt(at), change.actorAt(at) + 16) === 0
    const entity = record.entity(bytes, this.at(i))
    writeKeyWithin(scratch, 0, bytes, this.at(i), c)
    this.#known.add(fingerprint(scratch, 0, this.#salt), i, c)
    writeKeyWithin(scratch, 0, bytes, this.at(i), actor)
    this.#tails.put(fingerprint(scratch, 0, this.#salt), i, c, (other, at) => {
      return sameActor(at) && record.isOf(bytes, this.at(other), entity)
    })
    if (!change.binds(bytes, c)) return
    this.#bindings.put(fingerprint(bytes, actor, this.#salt), i, c, (_, at) => sameActor(at))
  }
}

const scratch = Buffer.alloc(16)

export const tailOf = (bytes: Buffer, at: number): Tail => ({
  hash: change.hash(bytes, at),
  seq: change.seq(bytes, at),
  maxOp: change.maxOp(bytes, at),
})

/** An entity as of the end of the segment, when it is known how it was `before`. Null: nothing of it is known. */
export function stateOf(touched: Touched, before: EntityState | null): EntityState | null {
  const purged = touched.purged ?? before?.purged
  const left = touched.purged ? [] : (before?.heads.filter((head) => !touched.rested?.has(head)) ?? [])
  const heads = left.length > 0 ? [...left, ...touched.heads] : [...touched.heads]
  // All that it has here rests on what was lost.
  if (heads.length === 0 && purged === undefined) return null
  return { collection: before?.collection ?? touched.collection, heads, ...(purged !== undefined && { purged }) }
}
