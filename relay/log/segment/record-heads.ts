/**
 * The heads of a segment's records, in memory while the segment is open: everything that look-ups ask about what is
 * newer than the sealed segments. Some 200 bytes a change, made anew from the same bytes when a flush has failed.
 */
import type { Actor, Hash } from "../../../src/wire/protocol.ts"
import type { EntityState, Known, Tail } from "../contract.ts"
import { Entities } from "./entities.ts"
import { type ActorKeys, change, fingerprint, fingerprintWithin, type Key, Output, record } from "./format.ts"
import { NumberList } from "./number-list.ts"
import { Table } from "./table.ts"

/** Bytes that a record has at the least, nearly always. */
const RECORD = 400

export class RecordHeads {
  /** Changes of all records; more than memory should hold make a segment full. */
  changes = 0
  readonly actors: ActorKeys
  readonly #salt: number
  readonly #out: Output
  /** Where each record begins: in the bytes here, and in the file. */
  #records = new NumberList()
  #offsets = new NumberList()
  #known: Table
  #tails: Table
  #bindings = new Table()
  #entities: Entities

  /** `expected`: bytes of records that are about to be added. Room that is not used takes no memory. */
  constructor(salt: number, actors: ActorKeys, expected: number) {
    this.#salt = salt
    this.actors = actors
    this.#out = new Output(Math.max(2 ** 12, expected / 2))
    this.#known = new Table(expected / RECORD)
    this.#tails = new Table(expected / RECORD)
    this.#entities = new Entities(salt)
  }

  /** Bytes that all this takes, about. */
  get memory(): number {
    const tables = this.#known.memory + this.#tails.memory + this.#bindings.memory
    return this.#out.length + this.#records.memory + this.#offsets.memory + tables + this.#entities.memory
  }

  get count(): number {
    return this.#records.length
  }

  /** The bytes of the heads, and where the `i`-th one is in them. */
  get bytes(): Buffer {
    return this.#out.bytes
  }
  at(i: number): number {
    return this.#records.at(i)
  }
  /** Where the `i`-th record is in the file. */
  offset(i: number): number {
    return this.#offsets.at(i)
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

  /** At `from`, a record's head; `before` says what its entity was before this segment. */
  add(bytes: Buffer, from: number, offset: number, before: () => EntityState | null | undefined): void {
    const length = record.headLength(bytes, from)
    const at = this.#out.reserve(length)
    bytes.copy(this.bytes, at, from, from + length)
    this.#index(at, offset, before)
  }

  /** Forgets all but the first `count` records. */
  cut(count: number): void {
    const [records, offsets, entities] = [this.#records, this.#offsets, this.#entities]
    if (count < records.length) this.#out.length = records.at(count)
    this.#records = new NumberList()
    this.#offsets = new NumberList()
    this.#known = new Table()
    this.#tails = new Table()
    this.#bindings = new Table()
    this.#entities = new Entities(this.#salt)
    this.changes = 0
    for (let i = 0; i < count; i++) {
      const e = entities.find(record.entity(this.bytes, records.at(i)), this.bytes)!
      this.#index(records.at(i), offsets.at(i), () => entities.before(e))
    }
  }

  // ── entities ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** How many entities have records here; each has a number below that. */
  get entities(): number {
    return this.#entities.count
  }

  entity(key: Key): number | undefined {
    return this.#entities.find(key, this.bytes)
  }

  keyOf(e: number): Key {
    return this.#entities.keyOf(e, this.bytes)
  }

  /** As of the segment's beginning. Null: it was not there. Undefined: nobody has asked yet. */
  before(e: number): EntityState | null | undefined {
    return this.#entities.before(e)
  }

  setBefore(e: number, state: EntityState | null): void {
    this.#entities.setBefore(e, state, this.bytes)
  }

  /** As of the segment's end. Null: nothing of it is known. Undefined: nobody has asked yet what was before. */
  state(e: number): EntityState | null | undefined {
    const before = this.before(e)
    return before === undefined ? undefined : this.#entities.state(e, before, this.bytes)
  }

  // ── changes and actors ────────────────────────────────────────────────────────────────────────────────────────────

  known(entity: Key, hash: Hash): Known | undefined {
    const { bytes } = this
    scratch.write(hash, 0, 16, "hex")
    const found = this.#known.find(this.#fingerprint(entity, scratch), (i, at) => {
      return change.hash(bytes, at) === hash && record.isOf(bytes, this.at(i), entity)
    })
    return found && change.known(bytes, this.at(found[0]), found[1])
  }

  tail(entity: Key, actor: Actor): Tail | undefined {
    const found = this.#tails.find(this.#fingerprint(entity, this.actors.of(actor)), (i, at) => {
      return change.actor(this.bytes, at) === actor && record.isOf(this.bytes, this.at(i), entity)
    })
    return found && tailOf(this.bytes, found[1])
  }

  binding(actor: Actor): string | undefined {
    const found = this.#bindings.find(fingerprint(this.actors.of(actor), 0, this.#salt), (_, at) => {
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

  #index(at: number, offset: number, before: () => EntityState | null | undefined): void {
    const { bytes } = this
    const i = this.#records.push(at)
    this.#offsets.push(offset)
    const e = this.entity(record.entity(bytes, at)) ?? this.#addEntity(at, before())
    if (record.kind(bytes, at) === "tombstone") this.#entities.purge(e, at)
    let c = change.first(at)
    for (let left = record.changes(bytes, at); left > 0; left--, c = change.next(bytes, c)) {
      this.changes++
      if (change.orphan(bytes, c)) continue
      this.#entities.change(e, bytes, c)
      this.#addKeys(i, c)
    }
  }

  #addEntity(at: number, before: EntityState | null | undefined): number {
    const e = this.#entities.add(this.bytes, at)
    if (before !== undefined) this.setBefore(e, before)
    return e
  }

  /** Of the key within the entity. */
  #fingerprint(entity: Key, key: Key): number {
    return fingerprintWithin(entity, 0, key, 0, this.#salt)
  }

  /** Of an actor's changes in an entity the last one counts, and of those that bind it any. */
  #addKeys(i: number, c: number): void {
    const { bytes } = this
    const actor = change.actorAt(c)
    const sameActor = (at: number) =>
      bytes.compare(bytes, actor, actor + 16, change.actorAt(at), change.actorAt(at) + 16) === 0
    const entity = this.at(i) + record.entityAt
    const actorKey = this.actors.of(change.actor(bytes, c))
    this.#known.add(fingerprintWithin(bytes, entity, bytes, c, this.#salt), i, c)
    this.#tails.put(fingerprintWithin(bytes, entity, actorKey, 0, this.#salt), i, c, (other, at) => {
      return sameActor(at) && record.isOf(bytes, this.at(other), record.entity(bytes, this.at(i)))
    })
    if (!change.binds(bytes, c)) return
    this.#bindings.put(fingerprint(actorKey, 0, this.#salt), i, c, (_, at) => sameActor(at))
  }
}

const scratch = Buffer.alloc(16)

export const tailOf = (bytes: Buffer, at: number): Tail => ({
  hash: change.hash(bytes, at),
  seq: change.seq(bytes, at),
  maxOp: change.maxOp(bytes, at),
})
