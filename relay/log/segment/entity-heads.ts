/**
 * Computes how the records of an open segment change each entity's heads. It keeps two chains of hashes for each
 * entity: the segment's changes on which no other change depends (these are heads), and the earlier heads on which
 * changes of the segment depend (these are heads no more). Together with the entity's state before the segment, the two
 * chains give its heads. Short chains are kept as numbers, because a map would take ten times the memory. Each number
 * is the offset of a hash in the preambles of the index in memory.
 */
import type { EntityState } from "../contract.ts"
import { fingerprint, type Key } from "./keys.ts"
import { NumberList } from "./number-list.ts"
import { change, record } from "./record.ts"
import { Table } from "./table.ts"

/** The end of a chain of links. */
const NIL = 0xffffffff
/**
 * The fields of each entity: the offset of its first record; the first link of its heads that are in the segment; the
 * first link of its earlier heads on which changes of the segment depend; the offset of its tombstone.
 */
const [FIRST, HEADS, RESTED, TOMBSTONE] = [0, 1, 2, 3]
const FIELDS = 4
/** Approximate bytes of memory for a hash in a map, for an entity's state without its heads, and for each head. */
const MAPPED_BYTES = 150
const STATE_BYTES = 100
const HEAD_BYTES = 90

/** Returns the approximate bytes of memory that a remembered state takes. Null: the entity had no state. */
export const memoryOfState = (state: EntityState | null): number =>
  STATE_BYTES + HEAD_BYTES * (state?.heads.length ?? 0)

export class EntityHeads {
  count = 0
  readonly #salt: number
  readonly #longChain: number
  readonly #byKey = new Table()
  readonly #fields = new NumberList()
  /** Two numbers for each link: the offset of a hash in the preambles, and the next link. */
  readonly #links = new NumberList()
  /**
   * Long chains, each as a map from a hash to its offset. The key of `#long` is the index of the chain's field, which
   * is then NIL.
   */
  readonly #long = new Map<number, Map<string, number>>()
  /** Each entity's state before the segment. Null: it had no state. Absent: its state is not looked up yet. */
  readonly #before = new Map<number, EntityState | null>()
  /** Approximate bytes of memory that the states in `#before` take. */
  statesMemory = 0

  /**
   * `longChain`: a chain with more links than this moves into a map, because every change of an entity with many heads
   * would walk its whole chain.
   */
  constructor(salt: number, longChain: number) {
    this.#salt = salt
    this.#longChain = longChain
  }

  /** Approximate bytes of memory. */
  get memory(): number {
    let mapped = 0
    for (const { size } of this.#long.values()) mapped += MAPPED_BYTES * size
    return this.#byKey.memory + this.#fields.memory + this.#links.memory + mapped + this.statesMemory
  }

  // Below, `bytes` are the preambles of the index in memory, `at` is an offset in them, and `e` is the number of an
  // entity.

  find(key: Key, bytes: Buffer): number | undefined {
    const isIt = (e: number) => record.isOf(bytes, this.#field(e, FIRST), key)
    return this.#byKey.find(fingerprint(key, 0, this.#salt), isIt)?.[0]
  }

  /** Adds the entity whose first record begins at `at`, and returns its number. */
  add(bytes: Buffer, at: number): number {
    for (const field of [at, NIL, NIL, NIL]) this.#fields.push(field)
    this.#byKey.add(fingerprint(bytes, at + record.entityAt, this.#salt), this.count, 0)
    return this.count++
  }

  keyOf(e: number, bytes: Buffer): Key {
    return record.entity(bytes, this.#field(e, FIRST))
  }

  /** Returns the entity's state before the segment. Null: it had no state. Undefined: the state is not known yet. */
  before(e: number): EntityState | null | undefined {
    return this.#before.get(e)
  }

  setBefore(e: number, state: EntityState | null, bytes: Buffer): void {
    const known = this.#before.get(e)
    if (known !== undefined) this.statesMemory -= memoryOfState(known)
    this.#before.set(e, state)
    this.statesMemory += memoryOfState(state)
    const rested = this.#hashes(e, RESTED, bytes)
    const heads = new Set(state?.heads)
    this.#clear(e, RESTED)
    for (const [hash, at] of rested) if (heads.has(hash)) this.#link(e, RESTED, bytes, at)
  }

  /** Adds the tombstone whose record begins at `at`. Afterwards the entity has no heads. */
  addTombstone(e: number, at: number): void {
    this.#clear(e, HEADS)
    this.#clear(e, RESTED)
    this.#setField(e, TOMBSTONE, at)
  }

  /** Adds the change at `at`. */
  addChange(e: number, bytes: Buffer, at: number): void {
    const end = change.next(bytes, at)
    for (let dep = change.firstDep(at); dep < end; dep += 32) {
      if (!this.#unlink(e, HEADS, bytes, dep) && this.#isHeadBefore(e, hashAt(bytes, dep), bytes)) {
        this.#link(e, RESTED, bytes, dep)
      }
    }
    this.#link(e, HEADS, bytes, at)
  }

  /**
   * Returns the entity's state at the end of the segment, given its state before the segment. Null: nothing is known of
   * the entity.
   */
  state(e: number, before: EntityState | null, bytes: Buffer): EntityState | null {
    const tombstone = this.#field(e, TOMBSTONE)
    const purged = tombstone === NIL ? before?.purged : record.position(bytes, tombstone)
    const rested = this.#hashes(e, RESTED, bytes)
    const left = tombstone === NIL ? (before?.heads.filter((head) => !rested.has(head)) ?? []) : []
    const heads = [...left, ...this.#hashes(e, HEADS, bytes).keys()]
    // No heads and no tombstone: every change of the entity in this segment depends on a lost change.
    if (heads.length === 0 && purged === undefined) return null
    const collection = before?.collection ?? record.collection(bytes, this.#field(e, FIRST))
    return { collection, heads, ...(purged !== undefined && { purged }) }
  }

  /**
   * Whether a dep may be an earlier head (from before the segment) that is not in the chain `RESTED` yet. While the
   * state before the segment is unknown, any dep may be an earlier head.
   */
  #isHeadBefore(e: number, dep: string, bytes: Buffer): boolean {
    const before = this.#before.get(e)
    if (!before) return before === undefined
    return before.heads.includes(dep) && !this.#hashes(e, RESTED, bytes).has(dep)
  }

  #field(e: number, field: number): number {
    return this.#fields.at(FIELDS * e + field)
  }

  #setField(e: number, field: number, value: number): void {
    this.#fields.set(FIELDS * e + field, value)
  }

  /** Returns the hashes of a chain, each with its offset. */
  #hashes(e: number, chain: number, bytes: Buffer): Map<string, number> {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) return long
    const hashes = new Map<string, number>()
    for (let link = this.#field(e, chain); link !== NIL; link = this.#links.at(link + 1)) {
      hashes.set(hashAt(bytes, this.#links.at(link)), this.#links.at(link))
    }
    if (hashes.size > this.#longChain) {
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

  /** Removes the hash at `at` from a chain. Returns false when the chain does not have the hash. */
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
      if (++passed > this.#longChain) return this.#hashes(e, chain, bytes).delete(hashAt(bytes, at))
    }
    return false
  }
}

const hashAt = (bytes: Buffer, at: number): string => bytes.toString("hex", at, at + 32)
