/** A segment that nothing is appended to any more: everything about it is read from its two files when it is asked for. */
import type { Actor, Hash } from "../../../src/wire/protocol.ts"
import type { Cache } from "../cache.ts"
import type { EntityState, Known, Tail } from "../contract.ts"
import { Damage, type Folder, indexPath, segmentPath } from "../folder.ts"
import { change, type Key, type Origin, readU64, record } from "./format.ts"
import {
  decodeSummary,
  isBlockWhole,
  isMarked,
  Kind,
  layout,
  NOBODY,
  PAYLOAD,
  PLACE,
  PLACES,
  type Probe,
  ROW,
  ROWS,
  STATE,
  type Summary,
} from "./index-format.ts"
import { tailOf } from "./record-heads.ts"

/** What is read at once to look into a record's head. */
const GLANCE = 512

export class Sealed {
  readonly origin: Origin
  readonly last: number
  readonly running: Buffer
  readonly size: number
  readonly lost: boolean
  readonly brokenBy: number
  readonly identity: Buffer
  readonly path: string
  readonly #summary: Summary
  readonly #parts: ReturnType<typeof layout>
  readonly #index: string
  readonly #cache: Cache

  private constructor(folder: Folder, summary: Summary & { readonly identity: Buffer }) {
    this.origin = summary.origin
    this.last = summary.last
    this.running = summary.running
    this.size = summary.size
    this.lost = summary.lost
    this.brokenBy = summary.brokenBy
    this.identity = summary.identity
    this.path = segmentPath(folder, summary.origin.number)
    this.#summary = summary
    this.#parts = layout(summary)
    this.#index = indexPath(folder, summary.origin.number)
    this.#cache = folder.cache
  }

  /** By its index; undefined when there is none that fits the segment and what comes before it. */
  static async open(folder: Folder, number: number, previous: Sealed | undefined): Promise<Sealed | undefined> {
    const block = await folder.cache.block(indexPath(folder, number), 0)
    const summary = isBlockWhole(block, 0) ? decodeSummary(block) : undefined
    if (!summary || summary.origin.number !== number) return undefined
    if (!summary.predecessor.equals(previous?.identity ?? NOBODY)) return undefined
    const file = await folder.disk.read(segmentPath(folder, number))
    try {
      return (await file.size()) === summary.size ? new Sealed(folder, summary) : undefined
    } finally {
      await file.close()
    }
  }

  /** Whether it surely has no such row. Asked of every segment, so it does not wait for what is at hand. */
  lacks(probe: Probe): boolean | Promise<boolean> {
    const { bloom } = this.#summary
    if (bloom === 0) return true
    const n = this.#parts.bloom + (probe.where % bloom)
    const block = this.#block(n)
    return block instanceof Promise ? block.then((read) => !isMarked(read, probe)) : !isMarked(block, probe)
  }

  async state(entity: Key): Promise<EntityState | undefined> {
    for await (const row of this.#rows(entity, Kind.entity)) return this.#state(row.value)
    return undefined
  }

  async known(key: Key, entity: Key, hash: Hash): Promise<Known | undefined> {
    for await (const row of this.#rows(key, Kind.change)) {
      const { head, at } = await this.#change(row)
      if (change.hash(head, at) === hash && record.isOf(head, 0, entity)) return change.known(head, 0, at)
    }
    return undefined
  }

  async tail(key: Key, entity: Key, actor: Actor): Promise<Tail | undefined> {
    for await (const row of this.#rows(key, Kind.tail)) {
      const { head, at } = await this.#change(row)
      if (change.actor(head, at) === actor && record.isOf(head, 0, entity)) return tailOf(head, at)
    }
    return undefined
  }

  async binding(key: Key, actor: Actor): Promise<string | undefined> {
    for await (const row of this.#rows(key, Kind.binding)) {
      const { head, at } = await this.#change(row)
      if (change.actor(head, at) === actor) return record.principal(head, 0)
    }
    return undefined
  }

  /** The running hash at the end of the record with this position. */
  async runningAt(position: number): Promise<Buffer | undefined> {
    const n = await this.#countTo(position)
    if (n === 0) return undefined
    const place = await this.#place(n - 1)
    return place.position === position ? record.running(await this.#head(place.offset), 0) : undefined
  }

  /** Offsets of records after this position, and where the last of them ends; not all, when there are many. */
  async after(position: number): Promise<{ readonly offsets: readonly number[]; readonly end: number }> {
    const n = await this.#countTo(position)
    const { entries } = this.#summary
    if (n === entries) return { offsets: [], end: this.size }
    const block = await this.#placesAround(n)
    const to = Math.min(entries, (Math.floor(n / PLACES) + 1) * PLACES)
    const offsets: number[] = []
    for (let i = n; i < to; i++) offsets.push(block.readUInt32BE((i % PLACES) * PLACE + 4))
    return { offsets, end: to < entries ? (await this.#place(to)).offset : this.size }
  }

  /** About how many bytes of records are behind this position. */
  bytesAfter(position: number): number {
    if (position <= this.origin.base) return this.size
    return (this.size * Math.max(0, this.last - position)) / Math.max(1, this.last - this.origin.base)
  }

  forget(): void {
    this.#cache.forget(this.path)
    this.#cache.forget(this.#index)
  }

  // ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #head(offset: number): Promise<Buffer> {
    const { marks, number } = this.origin
    let head = await this.#cache.range(this.path, offset, GLANCE)
    let whole = record.check(head, 0, marks)
    if (whole === "short" && head.length === GLANCE) {
      head = await this.#cache.range(this.path, offset, record.headLength(head, 0))
      whole = record.check(head, 0, marks)
    }
    if (whole !== true) throw new Damage(number, `the record at byte ${offset} is damaged`)
    return head
  }

  async #change({ value, number }: Row): Promise<{ head: Buffer; at: number }> {
    const head = await this.#head(value)
    let at = change.first(0)
    for (let i = 0; i < number; i++) at = change.next(head, at)
    return { head, at }
  }

  // ── the index ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #block(n: number): Buffer | Promise<Buffer> {
    return this.#cache.peek(this.#index, n) ?? this.#cache.block(this.#index, n, (block) => this.#check(block, n))
  }

  #check(block: Buffer, n: number): void {
    if (!isBlockWhole(block, n)) throw new Damage(this.origin.number, `block ${n} of the index is damaged`)
  }

  /** Bytes of the states. */
  async #bytes(at: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let from = at; from < at + length; ) {
      const block = await this.#block(this.#parts.states + Math.floor(from / PAYLOAD))
      const to = Math.min(at + length, (Math.floor(from / PAYLOAD) + 1) * PAYLOAD)
      parts.push(block.subarray(from % PAYLOAD, (from % PAYLOAD) + to - from))
      from = to
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  async #state(at: number): Promise<EntityState> {
    const fixed = await this.#bytes(at, STATE)
    const first = STATE + fixed.readUInt32BE(4)
    const bytes = await this.#bytes(at, first + 32 * fixed.readUInt32BE(0))
    const purged = readU64(fixed, 8)
    const heads: Hash[] = []
    for (let head = first; head < bytes.length; head += 32) heads.push(bytes.toString("hex", head, head + 32))
    return { collection: bytes.toString("utf8", STATE, first), heads, ...(purged > 0 && { purged }) }
  }

  async #place(i: number): Promise<{ position: number; offset: number }> {
    const block = await this.#placesAround(i)
    const at = (i % PLACES) * PLACE
    return { position: this.origin.base + block.readUInt32BE(at), offset: block.readUInt32BE(at + 4) }
  }

  /** The block of places that has the `i`-th. */
  #placesAround(i: number): Promise<Buffer> {
    const n = this.#parts.places + Math.floor(i / PLACES)
    return this.#cache.passing(this.#index, n, (block) => this.#check(block, n))
  }

  /** How many records there are up to this position. */
  async #countTo(position: number): Promise<number> {
    // Each is at least one further than the one before.
    let high = Math.min(this.#summary.entries, position - this.origin.base)
    if (high <= 0) return 0
    let low = (await this.#place(high - 1)).position <= position ? high : 0
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((await this.#place(middle - 1)).position <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  async *#rows(key: Key, kind: Kind): AsyncGenerator<Row> {
    const blocks = Math.ceil(this.#summary.rows / ROWS)
    const blockOf = async (n: number) => {
      const block = await this.#block(this.#parts.rows + n)
      return { block, count: Math.min(ROWS, this.#summary.rows - n * ROWS) }
    }
    // The first block that ends at the key or behind it. Most keys are evenly spread, so the first guesses are good ones.
    let low = 0
    let high = blocks
    for (let guesses = 3; low < high; guesses--) {
      const guess = Math.floor((key.readUInt32BE(0) / 2 ** 32) * blocks)
      const n = guesses > 0 ? Math.min(Math.max(guess, low), high - 1) : (low + high) >> 1
      const { block, count } = await blockOf(n)
      if (compare(block, count - 1, key) < 0) low = n + 1
      else if (n === low || compare(block, 0, key) < 0) low = high = n
      else high = n
    }
    for (; low < blocks; low++) {
      const { block, count } = await blockOf(low)
      let i = 0
      for (let to = count; i < to; ) {
        const middle = (i + to) >> 1
        if (compare(block, middle, key) < 0) i = middle + 1
        else to = middle
      }
      for (; i < count; i++) {
        if (compare(block, i, key) !== 0) return
        const at = i * ROW
        if (block[at + 22] === kind) yield { value: block.readUInt32BE(at + 16), number: block.readUInt16BE(at + 20) }
      }
    }
  }
}

interface Row {
  readonly value: number
  readonly number: number
}

const compare = (block: Buffer, row: number, key: Key): number => block.compare(key, 0, 16, row * ROW, row * ROW + 16)
