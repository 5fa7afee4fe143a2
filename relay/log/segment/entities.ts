/**
 * What the records of one segment have done to each entity: which of their changes nothing rests on, and on what from
 * before they rest. So an entity's heads can be told as soon as it is known what they were before the segment.
 * In numbers, for the same reason as `table.ts`, as long as they are few; where a hash is needed, it is read where it lies
 * in the bytes of the record heads.
 */
import type { EntityState } from "../contract.ts"
import { change, fingerprint, type Key, record } from "./format.ts"
import { NumberList } from "./number-list.ts"
import { Table } from "./table.ts"

/** The end of a chain of links. */
const NIL = 0xffffffff
/** Of each entity: where its first record begins; its first own head; its first dep from before; its tombstone. */
const FIELDS = 4
/** Links after which a chain becomes a map: each change of an entity with many heads would walk it, several times. */
const LONG = 16
/** Bytes that a hash takes in such a map. */
const MAPPED = 150
/** Bytes that the state of an entity takes, with the one head that most have. */
const BEFORE = 100
const [RECORD, HEADS, RESTED, PURGED] = [0, 1, 2, 3]

export class Entities {
  count = 0
  readonly #salt: number
  readonly #byKey = new Table()
  readonly #fields = new NumberList()
  /** A place in the bytes of the record heads where a hash begins, and the next link. */
  readonly #links = new NumberList()
  /** The hashes of chains that have become long, by their field, and where they begin; the field itself is NIL then. */
  readonly #long = new Map<number, Map<string, number>>()
  /** Null: it was not there. Absent: nobody has asked yet. */
  readonly #before = new Map<number, EntityState | null>()

  constructor(salt: number) {
    this.#salt = salt
  }

  get memory(): number {
    let mapped = 0
    for (const { size } of this.#long.values()) mapped += MAPPED * size
    return this.#byKey.memory + this.#fields.memory + this.#links.memory + mapped + BEFORE * this.#before.size
  }

  // `bytes` is always those of the record heads, and `at` a place in them.

  find(key: Key, bytes: Buffer): number | undefined {
    const isIt = (e: number) => record.isOf(bytes, this.#field(e, RECORD), key)
    return this.#byKey.find(fingerprint(key, 0, this.#salt), isIt)?.[0]
  }

  /** `at`: its first record. */
  add(bytes: Buffer, at: number): number {
    for (const field of [at, NIL, NIL, NIL]) this.#fields.push(field)
    this.#byKey.add(fingerprint(bytes, at + record.entityAt, this.#salt), this.count, 0)
    return this.count++
  }

  keyOf(e: number, bytes: Buffer): Key {
    return record.entity(bytes, this.#field(e, RECORD))
  }

  /** As of the segment's beginning. Undefined: nobody has asked yet. */
  before(e: number): EntityState | null | undefined {
    return this.#before.get(e)
  }

  setBefore(e: number, state: EntityState | null, bytes: Buffer): void {
    this.#before.set(e, state)
    const rested = this.#hashes(e, RESTED, bytes)
    const heads = new Set(state?.heads)
    this.#clear(e, RESTED)
    for (const [hash, at] of rested) if (heads.has(hash)) this.#link(e, RESTED, bytes, at)
  }

  /** A tombstone, in the record that begins there: nothing is left of the entity. */
  purge(e: number, at: number): void {
    this.#clear(e, HEADS)
    this.#clear(e, RESTED)
    this.#setField(e, PURGED, at)
  }

  /** A change of the entity, which begins there. */
  change(e: number, bytes: Buffer, at: number): void {
    const end = change.next(bytes, at)
    for (let dep = change.firstDep(at); dep < end; dep += 32) {
      if (!this.#unlink(e, HEADS, bytes, dep) && this.#mayRest(e, hashAt(bytes, dep), bytes)) {
        this.#link(e, RESTED, bytes, dep)
      }
    }
    this.#link(e, HEADS, bytes, at)
  }

  /** As of the segment's end, when it is known how it was before. Null: nothing of it is known. */
  state(e: number, before: EntityState | null, bytes: Buffer): EntityState | null {
    const tombstone = this.#field(e, PURGED)
    const purged = tombstone === NIL ? before?.purged : record.position(bytes, tombstone)
    const rested = this.#hashes(e, RESTED, bytes)
    const left = tombstone === NIL ? (before?.heads.filter((head) => !rested.has(head)) ?? []) : []
    const heads = [...left, ...this.#hashes(e, HEADS, bytes).keys()]
    // All that it has here rests on what was lost.
    if (heads.length === 0 && purged === undefined) return null
    const collection = before?.collection ?? record.collection(bytes, this.#field(e, RECORD))
    return { collection, heads, ...(purged !== undefined && { purged }) }
  }

  /** Whether it matters that a change rests on this one from before: once the heads are known, only they do, and once. */
  #mayRest(e: number, hash: string, bytes: Buffer): boolean {
    const before = this.#before.get(e)
    if (!before) return before === undefined
    return before.heads.includes(hash) && !this.#hashes(e, RESTED, bytes).has(hash)
  }

  #field(e: number, field: number): number {
    return this.#fields.at(FIELDS * e + field)
  }

  #setField(e: number, field: number, value: number): void {
    this.#fields.set(FIELDS * e + field, value)
  }

  /** The hashes of a chain, and where they begin. */
  #hashes(e: number, chain: number, bytes: Buffer): Map<string, number> {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) return long
    const hashes = new Map<string, number>()
    for (let link = this.#field(e, chain); link !== NIL; link = this.#links.at(link + 1)) {
      hashes.set(hashAt(bytes, this.#links.at(link)), this.#links.at(link))
    }
    if (hashes.size > LONG) {
      this.#clear(e, chain)
      this.#long.set(FIELDS * e + chain, hashes)
    }
    return hashes
  }

  #clear(e: number, chain: number): void {
    this.#setField(e, chain, NIL)
    this.#long.delete(FIELDS * e + chain)
  }

  #link(e: number, chain: number, bytes: Buffer, at: number): void {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) {
      long.set(hashAt(bytes, at), at)
      return
    }
    const link = this.#links.push(at)
    this.#links.push(this.#field(e, chain))
    this.#setField(e, chain, link)
  }

  /** Whether the hash that begins there was in the chain. */
  #unlink(e: number, chain: number, bytes: Buffer, at: number): boolean {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) return long.delete(hashAt(bytes, at))
    let previous: number | undefined
    let passed = 0
    for (let link = this.#field(e, chain); link !== NIL; link = this.#links.at(link + 1)) {
      const hash = this.#links.at(link)
      if (bytes.compare(bytes, at, at + 32, hash, hash + 32) === 0) {
        const next = this.#links.at(link + 1)
        if (previous === undefined) this.#setField(e, chain, next)
        else this.#links.set(previous + 1, next)
        return true
      }
      previous = link
      if (++passed > LONG) return this.#hashes(e, chain, bytes).delete(hashAt(bytes, at))
    }
    return false
  }
}

const hashAt = (bytes: Buffer, at: number): string => bytes.toString("hex", at, at + 32)
