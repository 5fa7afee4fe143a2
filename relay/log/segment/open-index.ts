/**
 * The index of an open segment, in memory: the preambles of its records, and tables that find a change, a tail or a
 * binding in the preambles. It answers every look-up for entries newer than the sealed segments, and takes some 200
 * bytes for each change. After a failed flush the additions of the lost records are undone one by one.
 */
import type { Actor, Hash } from "../../../src/wire/protocol.ts"
import { GrowingBytes } from "../bytes.ts"
import type { EntityState, Known, Tail } from "../contract.ts"
import { EntityHeads, type Undo } from "./entity-heads.ts"
import { type ActorKeys, fingerprint, fingerprintWithin, type Key } from "./keys.ts"
import { NumberList } from "./number-list.ts"
import { Orphans } from "./orphans.ts"
import { change, preamble } from "./preamble.ts"
import { Table } from "./table.ts"

/** Rough estimate of a record's bytes, for the first capacity of the tables. A table that is too small grows. */
const ESTIMATED_RECORD_BYTES = 400

export class OpenIndex {
  /** Number of changes in all records, orphans included. */
  changes = 0
  /** The orphans in all records. Some of them may be known from another record. */
  readonly orphans = new Orphans()
  readonly actors: ActorKeys
  readonly #salt: number
  readonly #preambles: GrowingBytes
  /** The offset of the `i`-th record in the preambles, and its offset in the file. */
  readonly #starts = new NumberList()
  readonly #offsets = new NumberList()
  /** Three tables of pairs: a record's number, and the offset of one of its changes in the preambles. */
  readonly #known: Table
  readonly #tails: Table
  readonly #bindings = new Table()
  readonly #entities: EntityHeads
  /** Number of the first records that are flushed. They are never dropped. */
  #kept = 0
  /**
   * For each record that is not flushed, in order: the functions that undo its additions, in the order of the
   * additions.
   */
  readonly #undo: Undo[][] = []

  /**
   * `expected`: bytes of the records that will be added. Too large a number costs no memory, because the operating
   * system provides memory only for the part that is used.
   */
  constructor(salt: number, actors: ActorKeys, longChain: number, expected: number) {
    this.#salt = salt
    this.actors = actors
    this.#preambles = new GrowingBytes(Math.max(2 ** 12, expected))
    this.#known = new Table(expected / ESTIMATED_RECORD_BYTES)
    this.#tails = new Table(expected / ESTIMATED_RECORD_BYTES)
    this.#entities = new EntityHeads(salt, longChain)
  }

  /** Approximate bytes of memory. */
  get memory(): number {
    const lists = this.#preambles.length + this.#starts.memory + this.#offsets.memory
    const tables = this.#known.memory + this.#tails.memory + this.#bindings.memory
    return lists + tables + this.#entities.memory
  }

  /** Approximate bytes of memory that the entities' states before the segment take. */
  get statesMemory(): number {
    return this.#entities.statesMemory
  }

  // ── records, by their number ──────────────────────────────────────────────────────────────────────────────────────

  get count(): number {
    return this.#starts.length
  }

  /** The preambles of all records. */
  get bytes(): Buffer {
    return this.#preambles.bytes
  }
  /** The offset of the `i`-th preamble in `bytes`. */
  at(i: number): number {
    return this.#starts.at(i)
  }
  /** The offset of the `i`-th record in the file. */
  offset(i: number): number {
    return this.#offsets.at(i)
  }

  position(i: number): number {
    return preamble.position(this.bytes, this.at(i))
  }
  running(i: number): Buffer {
    return preamble.running(this.bytes, this.at(i))
  }

  /** Returns the number of records up to and including this position. */
  countTo(position: number): number {
    if (this.count === 0 || position < this.position(0)) return 0
    // Positions have gaps only after a failed flush, so the greatest possible count is nearly always right.
    let high = Math.min(this.count, position - this.position(0) + 1)
    let low = this.position(high - 1) <= position ? high : 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.position(middle - 1) <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  /**
   * Adds the record at `offset` in the file. `write` appends its preamble; if it throws, nothing is added. `before` is
   * called if the record's entity is new in this index. It returns the entity's state before this segment, or undefined
   * if that is not looked up yet.
   */
  add(write: (preambles: GrowingBytes) => void, offset: number, before: () => EntityState | null | undefined): void {
    const at = this.#preambles.length
    try {
      write(this.#preambles)
    } catch (error) {
      this.#preambles.length = at
      throw error
    }
    this.#index(at, offset, before)
  }

  /** Call when the first `count` records are flushed. They are not dropped any more. */
  keep(count: number): void {
    this.#undo.splice(0, count - this.#kept)
    this.#kept = count
  }

  /**
   * Drops the records that are not flushed. Takes time for these records only, because a client may push again and
   * again to a log that cannot be written.
   */
  cut(): void {
    if (this.count === this.#kept) return
    for (const additions of this.#undo.splice(0).reverse()) {
      for (const undo of additions.reverse()) undo(this.bytes)
    }
    this.#preambles.length = this.at(this.#kept)
    this.#starts.length = this.#offsets.length = this.#kept
  }

  // ── entities, by their number ─────────────────────────────────────────────────────────────────────────────────────

  /** Number of entities with records in this segment. */
  get entities(): number {
    return this.#entities.count
  }

  entity(key: Key): number | undefined {
    return this.#entities.find(key, this.bytes)
  }

  keyOf(e: number): Key {
    return this.#entities.keyOf(e, this.bytes)
  }

  /** Returns the entity's state before the segment. Null: it had no state. Undefined: the state is not known yet. */
  before(e: number): EntityState | null | undefined {
    return this.#entities.before(e)
  }

  setBefore(e: number, state: EntityState | null): void {
    this.#entities.setBefore(e, state, this.bytes)
  }

  /**
   * Returns the entity's state at the end of the segment. Null: the entity has no state. Undefined: its state before
   * the segment is not looked up yet.
   */
  state(e: number): EntityState | null | undefined {
    const before = this.before(e)
    return before === undefined ? undefined : this.#entities.state(e, before, this.bytes)
  }

  // ── changes and actors ────────────────────────────────────────────────────────────────────────────────────────────

  known(entity: Key, hash: Hash): Known | undefined {
    const { bytes } = this
    scratch.write(hash, 0, 16, "hex")
    const found = this.#known.find(this.#fingerprintWithin(entity, scratch), (i, at) => {
      return change.hash(bytes, at) === hash && preamble.isOf(bytes, this.at(i), entity)
    })
    return found && change.known(bytes, this.at(found[0]), found[1])
  }

  tail(entity: Key, actor: Actor): Tail | undefined {
    const found = this.#tails.find(this.#fingerprintWithin(entity, this.actors.of(actor)), (i, at) => {
      return change.actor(this.bytes, at) === actor && preamble.isOf(this.bytes, this.at(i), entity)
    })
    return found && tailOf(this.bytes, found[1])
  }

  binding(actor: Actor): string | undefined {
    const found = this.#bindings.find(fingerprint(this.actors.of(actor), 0, this.#salt), (_, at) => {
      return change.actor(this.bytes, at) === actor
    })
    return found && preamble.principal(this.bytes, this.at(found[0]))
  }

  /** The last change of every actor in every entity. */
  get tails(): Iterable<readonly [i: number, at: number]> {
    return this.#tails
  }

  /** The last change that binds an actor, for every actor that is bound in this segment. */
  get bindings(): Iterable<readonly [i: number, at: number]> {
    return this.#bindings
  }

  #fingerprintWithin(entity: Key, key: Key): number {
    return fingerprintWithin(entity, 0, key, 0, this.#salt)
  }

  #index(at: number, offset: number, before: () => EntityState | null | undefined): void {
    const { bytes } = this
    const i = this.#starts.push(at)
    this.#offsets.push(offset)
    const undo: Undo[] = []
    this.#undo.push(undo)
    const e = this.entity(preamble.entity(bytes, at)) ?? this.#addEntity(at, before(), undo)
    if (preamble.kind(bytes, at) === "tombstone") undo.push(this.#entities.addTombstone(e, at, bytes))
    let c = change.first(at)
    for (let left = preamble.changes(bytes, at); left > 0; left--, c = change.next(bytes, c)) {
      this.changes++
      if (change.isOrphan(bytes, c)) {
        // No undo is needed: only records that were found in the file have orphans, and such records are never dropped.
        this.orphans.add(preamble.entity(bytes, at), change.hash(bytes, c))
        continue
      }
      undo.push(this.#entities.addChange(e, bytes, c), this.#addKeys(i, c))
    }
  }

  #addEntity(at: number, before: EntityState | null | undefined, undo: Undo[]): number {
    const e = this.#entities.add(this.bytes, at)
    undo.push((bytes) => this.#entities.removeLast(bytes))
    if (before !== undefined) this.setBefore(e, before)
    return e
  }

  /** Adds the change at `c` of the `i`-th record to the tables. */
  #addKeys(i: number, c: number): Undo {
    const { bytes } = this
    const actor = change.actorAt(c)
    const hasSameActor = (at: number) =>
      bytes.compare(bytes, actor, actor + 16, change.actorAt(at), change.actorAt(at) + 16) === 0
    const entity = this.at(i) + preamble.entityAt
    const actorKey = this.actors.of(change.actor(bytes, c))
    const known = fingerprintWithin(bytes, entity, bytes, c, this.#salt)
    this.#known.add(known, i, c)
    const tail = fingerprintWithin(bytes, entity, actorKey, 0, this.#salt)
    const earlierTail = this.#tails.put(tail, i, c, (other, at) => {
      return hasSameActor(at) && preamble.isOf(bytes, this.at(other), preamble.entity(bytes, this.at(i)))
    })
    const binding = change.binds(bytes, c) ? fingerprint(actorKey, 0, this.#salt) : undefined
    const earlierBinding =
      binding === undefined ? undefined : this.#bindings.put(binding, i, c, (_, at) => hasSameActor(at))
    return () => {
      this.changes--
      this.#known.takeBack(known, i, c)
      this.#tails.takeBack(tail, i, c, earlierTail)
      if (binding !== undefined) this.#bindings.takeBack(binding, i, c, earlierBinding)
    }
  }
}

const scratch = Buffer.alloc(16)

export const tailOf = (bytes: Buffer, at: number): Tail => ({
  hash: change.hash(bytes, at),
  seq: change.seq(bytes, at),
  maxOp: change.maxOp(bytes, at),
})
