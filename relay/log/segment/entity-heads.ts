/**
 * Computes how the records of an open segment change each entity's heads. It keeps two chains of hashes for each
 * entity. `HEADS`: the segment's changes on which no other change depends. `REPLACED`: the heads from before the
 * segment on which changes of the segment depend. The entity's heads are those before the segment, without `REPLACED`
 * and with `HEADS`. Short chains are kept as numbers, because a map would take ten times the memory. Each number is the
 * offset of a hash in the preambles of the index in memory.
 */
import type { EntityState } from "../contract.ts"
import { fingerprint, type Key } from "./keys.ts"
import { NumberList } from "./number-list.ts"
import { change, preamble } from "./preamble.ts"
import { Table } from "./table.ts"

/** The end of a chain of links. */
const NIL = 0xffffffff
/**
 * The fields of each entity. `FIRST`: the offset of its first record. `HEADS` and `REPLACED`: the first link of that
 * chain. `TOMBSTONE`: the offset of its tombstone.
 */
const [FIRST, HEADS, REPLACED, TOMBSTONE] = [0, 1, 2, 3]
const FIELDS = 4
/** Approximate bytes of memory for a hash in a map, for an entity's state without its heads, and for each head. */
const MAPPED_BYTES = 150
const STATE_BYTES = 100
const HEAD_BYTES = 90

/** Returns the approximate bytes of memory that a remembered state takes. Null: the entity had no state. */
export const memoryOfState = (state: EntityState | null): number =>
  STATE_BYTES + HEAD_BYTES * (state?.heads.length ?? 0)

/**
 * Undoes one addition. The newest addition is undone first. `bytes`: the present preambles. Hashes are looked for in
 * the chains again, because since the addition a look-up may have turned a chain of links into a map.
 */
export type Undo = (bytes: Buffer) => void

export class EntityHeads {
  count = 0
  readonly #salt: number
  readonly #longChain: number
  readonly #byKey = new Table()
  readonly #fields = new NumberList()
  /** Two numbers for each link: the offset of a hash in the preambles, and the next link. */
  readonly #links = new NumberList()
  /** The first link of the chain of unused links. */
  #free = NIL
  /**
   * Long chains, each as a map from a hash to its offset. The key of `#long` is the index of the chain's field, which
   * is then NIL.
   */
  readonly #long = new Map<number, Map<string, number>>()
  /**
   * By the entity's number in this segment: the entity's state before the segment. Null: the entity had no state.
   * Absent: the state is not looked up yet.
   */
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

  // In the methods below, `bytes` are the preambles of the index in memory, `at` is an offset in them, and `e` is the
  // number of an entity.

  find(key: Key, bytes: Buffer): number | undefined {
    const isIt = (e: number) => preamble.isOf(bytes, this.#field(e, FIRST), key)
    return this.#byKey.find(fingerprint(key, 0, this.#salt), isIt)?.[0]
  }

  /** Adds the entity whose first record begins at `at`, and returns its number. */
  add(bytes: Buffer, at: number): number {
    for (const field of [at, NIL, NIL, NIL]) this.#fields.push(field)
    this.#byKey.add(fingerprint(bytes, at + preamble.entityAt, this.#salt), this.count, 0)
    return this.count++
  }

  /** Undoes the last `add`. Everything that was done to the entity afterwards must be undone already. */
  removeLast(bytes: Buffer): void {
    const e = --this.count
    const entityAt = this.#field(e, FIRST) + preamble.entityAt
    this.#byKey.takeBack(fingerprint(bytes, entityAt, this.#salt), e, 0)
    this.#forgetBefore(e)
    this.#clear(e, HEADS)
    this.#clear(e, REPLACED)
    this.#fields.length -= FIELDS
  }

  keyOf(e: number, bytes: Buffer): Key {
    return preamble.entity(bytes, this.#field(e, FIRST))
  }

  /** Returns the entity's state before the segment. Null: it had no state. Undefined: the state is not known yet. */
  before(e: number): EntityState | null | undefined {
    return this.#before.get(e)
  }

  setBefore(e: number, state: EntityState | null, bytes: Buffer): void {
    this.#forgetBefore(e)
    this.#before.set(e, state)
    this.statesMemory += memoryOfState(state)
    const replaced = this.#hashes(e, REPLACED, bytes)
    const heads = new Set(state?.heads)
    this.#clear(e, REPLACED)
    for (const [hash, at] of replaced) if (heads.has(hash)) this.#link(e, REPLACED, bytes, at)
  }

  #forgetBefore(e: number): void {
    const state = this.#before.get(e)
    if (state !== undefined && this.#before.delete(e)) this.statesMemory -= memoryOfState(state)
  }

  /** Adds the tombstone whose record begins at `at`. Afterwards the entity has no heads. */
  addTombstone(e: number, at: number, bytes: Buffer): Undo {
    const earlier = this.#field(e, TOMBSTONE)
    const chains = [HEADS, REPLACED].map((chain) => [chain, [...this.#hashes(e, chain, bytes).values()]] as const)
    for (const [chain] of chains) this.#clear(e, chain)
    this.#setField(e, TOMBSTONE, at)
    return (now) => {
      this.#setField(e, TOMBSTONE, earlier)
      for (const [chain, hashes] of chains) for (const hash of hashes) this.#link(e, chain, now, hash)
    }
  }

  /** Adds the change at `at`. */
  addChange(e: number, bytes: Buffer, at: number): Undo {
    const unlinked: number[] = []
    const replaced: number[] = []
    let dep = change.firstDep(bytes, at)
    for (let left = change.depCount(bytes, at); left > 0; left--, dep += 32) {
      const head = this.#unlink(e, HEADS, bytes, dep)
      if (head !== undefined) unlinked.push(head)
      else if (this.#isHeadBefore(e, bytes, dep)) {
        this.#link(e, REPLACED, bytes, dep)
        replaced.push(dep)
      }
    }
    this.#link(e, HEADS, bytes, at)
    return (now) => {
      this.#unlink(e, HEADS, now, at)
      for (const dep of replaced) this.#unlink(e, REPLACED, now, dep)
      for (const head of unlinked) this.#link(e, HEADS, now, head)
    }
  }

  /**
   * Returns the entity's state at the end of the segment, given its state before the segment. Null: nothing is known of
   * the entity.
   */
  state(e: number, before: EntityState | null, bytes: Buffer): EntityState | null {
    const tombstone = this.#field(e, TOMBSTONE)
    const purged = tombstone === NIL ? before?.purged : preamble.position(bytes, tombstone)
    const replaced = this.#hashes(e, REPLACED, bytes)
    const left = tombstone === NIL ? (before?.heads.filter((head) => !replaced.has(head)) ?? []) : []
    const heads = [...left, ...this.#hashes(e, HEADS, bytes).keys()]
    // No heads and no tombstone: every change of the entity in this segment depends on a lost change.
    if (heads.length === 0 && purged === undefined) return null
    const collection = before?.collection ?? preamble.collection(bytes, this.#field(e, FIRST))
    return { collection, heads, ...(purged !== undefined && { purged }) }
  }

  /**
   * Whether a dep may be a head from before the segment that is not in the chain `REPLACED` yet. While the state before
   * the segment is unknown, any dep may be such a head; `setBefore` then removes those that are not.
   */
  #isHeadBefore(e: number, bytes: Buffer, dep: number): boolean {
    const before = this.#before.get(e)
    if (before === null) return false
    const hash = hashAt(bytes, dep)
    return before?.heads.includes(hash) !== false && !this.#hashes(e, REPLACED, bytes).has(hash)
  }

  #field(e: number, field: number): number {
    return this.#fields.at(FIELDS * e + field)
  }

  #setField(e: number, field: number, value: number): void {
    this.#fields.set(FIELDS * e + field, value)
  }

  /** Returns the hashes of a chain, each with its offset. Turns a long chain into a map. */
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
    for (let link = this.#field(e, chain); link !== NIL; ) link = this.#freeLink(link)
    this.#setField(e, chain, NIL)
    this.#long.delete(FIELDS * e + chain)
  }

  #link(e: number, chain: number, bytes: Buffer, at: number): void {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) {
      long.set(hashAt(bytes, at), at)
      return
    }
    const link = this.#newLink()
    this.#links.set(link, at)
    this.#links.set(link + 1, this.#field(e, chain))
    this.#setField(e, chain, link)
  }

  #newLink(): number {
    const link = this.#free
    if (link === NIL) {
      const fresh = this.#links.push(NIL)
      this.#links.push(NIL)
      return fresh
    }
    this.#free = this.#links.at(link + 1)
    return link
  }

  /** Returns the link that was the next one in its chain. */
  #freeLink(link: number): number {
    const next = this.#links.at(link + 1)
    this.#links.set(link + 1, this.#free)
    this.#free = link
    return next
  }

  /**
   * Removes a hash from a chain of entity number `e`. `at`: an offset of the hash in `bytes`, the preambles. The chain
   * may hold another offset of the same hash. Returns the offset that it held; undefined when the chain lacks the hash.
   */
  #unlink(e: number, chain: number, bytes: Buffer, at: number): number | undefined {
    const long = this.#long.get(FIELDS * e + chain)
    if (long) return takeFrom(long, hashAt(bytes, at))
    let previous: number | undefined
    let passed = 0
    for (let link = this.#field(e, chain); link !== NIL; link = this.#links.at(link + 1)) {
      const hash = this.#links.at(link)
      if (bytes.compare(bytes, at, at + 32, hash, hash + 32) === 0) {
        const next = this.#freeLink(link)
        if (previous === undefined) this.#setField(e, chain, next)
        else this.#links.set(previous + 1, next)
        return hash
      }
      previous = link
      if (++passed > this.#longChain) return takeFrom(this.#hashes(e, chain, bytes), hashAt(bytes, at))
    }
    return undefined
  }
}

function takeFrom(hashes: Map<string, number>, hash: string): number | undefined {
  const at = hashes.get(hash)
  hashes.delete(hash)
  return at
}

const hashAt = (bytes: Buffer, at: number): string => bytes.toString("hex", at, at + 32)
