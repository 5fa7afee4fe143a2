/** A segment to which nothing is appended any more. Look-ups read its segment file and its index file. */
import type { Actor, Hash } from "../../../src/wire/protocol.ts"
import type { DiskFile } from "../../machine/disk.ts"
import { asBuffer, GrowingBytes, readU64 } from "../bytes.ts"
import type { EntityState, Known, Tail } from "../contract.ts"
import { Damage } from "../damage.ts"
import { isBadSector, readAround } from "../files/bad-sectors.ts"
import type { Reader } from "../files/reader.ts"
import { type Folder, indexPath, segmentPath } from "../folder.ts"
import { mayBeIn, type Probe } from "./bloom.ts"
import { decodeHeader, HEADER_BYTES, type SegmentHeader } from "./header.ts"
import type { Key } from "./keys.ts"
import { tailOf } from "./open-index.ts"
import { ORPHAN_BYTES, Orphans } from "./orphans.ts"
import { change, preamble } from "./preamble.ts"
import { record, unpackRecord } from "./record.ts"
import {
  decodeIndexHeader,
  type FreshStart,
  type IndexHeader,
  isBlockWhole,
  KEY_BYTES,
  layout,
  NO_PREDECESSOR,
  OFFSET_BYTES,
  OFFSETS_PER_BLOCK,
  ORPHANS_PER_BLOCK,
  PAYLOAD_BYTES,
  POINTER_BYTES,
  POINTER_KIND_AT,
  POINTERS_PER_BLOCK,
  PointerKind,
  STATE_BYTES,
} from "./sealed-index-format.ts"

export class SealedSegment {
  readonly header: SegmentHeader
  readonly last: number
  readonly running: Buffer
  readonly size: number
  readonly lost: boolean
  readonly freshStart: FreshStart | undefined
  readonly identity: Buffer
  /** The orphans that are not known at the end of this segment. */
  readonly orphans = new Orphans()
  readonly path: string
  readonly #indexHeader: IndexHeader
  readonly #parts: ReturnType<typeof layout>
  readonly #indexPath: string
  readonly #reader: Reader
  readonly #preambleBytes: number

  private constructor(folder: Folder, index: IndexHeader & { readonly identity: Buffer }) {
    this.header = index.header
    this.last = index.last
    this.running = index.running
    this.size = index.size
    this.lost = index.lost
    this.freshStart = index.freshStart
    this.identity = index.identity
    this.path = segmentPath(folder, index.header.number)
    this.#indexHeader = index
    this.#parts = layout(index)
    this.#indexPath = indexPath(folder, index.header.number)
    this.#reader = folder.reader
    this.#preambleBytes = folder.sizes.preambleBytes
  }

  /** The position of the last record that the index of a segment names; undefined when the index cannot be read. */
  static async lastIndexed(folder: Folder, number: number): Promise<number | undefined> {
    const index = await readIndexHeader(folder, number)
    return index?.last
  }

  /**
   * Opens a segment by its index. Undefined: the index is damaged or unreadable, or does not match the segment or the
   * index before it.
   */
  static async open(
    folder: Folder,
    number: number,
    previous: SealedSegment | undefined,
  ): Promise<SealedSegment | undefined> {
    const index = await readIndexHeader(folder, number)
    if (!index) return undefined
    if (!index.predecessor.equals(previous?.identity ?? NO_PREDECESSOR)) return undefined
    const file = await folder.disk.read(segmentPath(folder, number))
    try {
      if ((await file.size()) !== index.size) return undefined
      await requireReadable(file)
    } finally {
      await file.close()
    }
    const segment = new SealedSegment(folder, index)
    return (await segment.#readOrphans()) ? segment : undefined
  }

  /** Resolves with false if the list of orphans is damaged or unreadable. */
  async #readOrphans(): Promise<boolean> {
    const { orphans, orphansOverflowed } = this.#indexHeader
    if (orphansOverflowed) this.orphans.overflow()
    try {
      for (let i = 0; i < orphans; i++) {
        const block = await this.#block(this.#parts.orphans + Math.floor(i / ORPHANS_PER_BLOCK))
        const at = (i % ORPHANS_PER_BLOCK) * ORPHAN_BYTES
        this.orphans.add(block.subarray(at, at + 16), block.toString("hex", at + 16, at + ORPHAN_BYTES))
      }
      return true
    } catch (error) {
      if (error instanceof Damage) return false
      throw error
    }
  }

  // ── look-ups ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * True: the segment has no pointer with this probe. False: it may have one. A look-up asks every segment, so this
   * method answers synchronously when the filter's block is in memory.
   */
  lacks(probe: Probe): boolean | Promise<boolean> {
    const { bloom } = this.#indexHeader
    if (bloom === 0) return true
    const block = this.#block(this.#parts.bloom + (probe.block % bloom))
    return block instanceof Promise ? block.then((read) => !mayBeIn(read, probe)) : !mayBeIn(block, probe)
  }

  async state(entity: Key): Promise<EntityState | undefined> {
    for await (const pointer of this.#pointers(entity, PointerKind.entity)) {
      const state = await this.#state(pointer.value, entity)
      if (state) return state
    }
    return undefined
  }

  async known(key: Key, entity: Key, hash: Hash): Promise<Known | undefined> {
    for await (const pointer of this.#pointers(key, PointerKind.change)) {
      const { bytes, at } = await this.#change(pointer)
      if (change.hash(bytes, at) === hash && preamble.isOf(bytes, 0, entity)) return change.known(bytes, 0, at)
    }
    return undefined
  }

  async tail(key: Key, entity: Key, actor: Actor): Promise<Tail | undefined> {
    for await (const pointer of this.#pointers(key, PointerKind.tail)) {
      const { bytes, at } = await this.#change(pointer)
      if (change.actor(bytes, at) === actor && preamble.isOf(bytes, 0, entity)) return tailOf(bytes, at)
    }
    return undefined
  }

  async binding(key: Key, actor: Actor): Promise<string | undefined> {
    for await (const pointer of this.#pointers(key, PointerKind.binding)) {
      const { bytes, at } = await this.#change(pointer)
      if (change.actor(bytes, at) === actor) return preamble.principal(bytes, 0)
    }
    return undefined
  }

  // ── records in their order ────────────────────────────────────────────────────────────────────────────────────────

  /** Returns the running hash after the record with this position. */
  async runningAt(position: number): Promise<Buffer | undefined> {
    const n = await this.#countTo(position)
    if (n === 0) return undefined
    const found = await this.#offset(n - 1)
    return found.position === position ? record.running(await this.#head(found.offset), 0) : undefined
  }

  /**
   * Returns the offsets of the first records after this position, and the offset at which the last of these records
   * ends.
   */
  async offsetsAfter(position: number): Promise<{ readonly offsets: readonly number[]; readonly end: number }> {
    const n = await this.#countTo(position)
    const { entries } = this.#indexHeader
    if (n === entries) return { offsets: [], end: this.size }
    const block = await this.#offsetsAround(n)
    const to = Math.min(entries, (Math.floor(n / OFFSETS_PER_BLOCK) + 1) * OFFSETS_PER_BLOCK)
    const offsets: number[] = []
    for (let i = n; i < to; i++) offsets.push(block.readUInt32BE((i % OFFSETS_PER_BLOCK) * OFFSET_BYTES + 4))
    return { offsets, end: to < entries ? (await this.#offset(to)).offset : this.size }
  }

  /** Returns an estimate, as if all records had the same size. */
  bytesAfter(position: number): number {
    if (position <= this.header.base) return this.size
    return (this.size * Math.max(0, this.last - position)) / Math.max(1, this.last - this.header.base)
  }

  /** Returns the number of records up to and including this position. */
  async #countTo(position: number): Promise<number> {
    // Positions grow by at least one from record to record, so at most `position - base` records come up to this
    // position.
    let high = Math.min(this.#indexHeader.entries, position - this.header.base)
    if (high <= 0) return 0
    let low = (await this.#offset(high - 1)).position <= position ? high : 0
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((await this.#offset(middle - 1)).position <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Returns the position of the `i`-th record, and its offset in the file. */
  async #offset(i: number): Promise<{ position: number; offset: number }> {
    const block = await this.#offsetsAround(i)
    const at = (i % OFFSETS_PER_BLOCK) * OFFSET_BYTES
    return { position: this.header.base + block.readUInt32BE(at), offset: block.readUInt32BE(at + 4) }
  }

  /** Returns the block of offsets that has the `i`-th offset. */
  #offsetsAround(i: number): Promise<Buffer> {
    const n = this.#parts.offsets + Math.floor(i / OFFSETS_PER_BLOCK)
    return this.#readable(
      n,
      this.#reader.blocks.pass(this.#indexPath, n, (block) => this.#check(block, n)),
    )
  }

  // ── one record, one state ─────────────────────────────────────────────────────────────────────────────────────────

  /** Returns bytes that begin with the record at this offset, at least `record.headLength` of them. */
  async #head(offset: number): Promise<Buffer> {
    const { secret, number } = this.header
    let head = await this.#reader.blocks.range(this.path, offset, this.#preambleBytes)
    let whole = record.check(head, 0, secret)
    if (whole === "short" && head.length === this.#preambleBytes) {
      head = await this.#reader.blocks.range(this.path, offset, record.headLength(head, 0))
      whole = record.check(head, 0, secret)
    }
    if (whole !== true) throw new Damage(number, `the record at byte ${offset} is damaged`)
    return head
  }

  /** Returns the preamble of the record at this offset. */
  async #preamble(offset: number): Promise<Buffer> {
    const last = this.#reader.unpacked
    if (last?.path === this.path && last.offset === offset) return last.preamble
    const out = new GrowingBytes(2 * this.#preambleBytes)
    unpackRecord(await this.#head(offset), 0, out)
    this.#reader.unpacked = { path: this.path, offset, preamble: out.filled }
    return out.filled
  }

  /** Returns the preamble of the change's record, and the offset of the change in it. */
  async #change({ value, number }: Pointer): Promise<{ bytes: Buffer; at: number }> {
    const bytes = await this.#preamble(value)
    let at = change.first(0)
    for (let i = 0; i < number; i++) at = change.next(bytes, at)
    return { bytes, at }
  }

  /** Returns the state at this offset; undefined when it is that of another entity. */
  async #state(at: number, entity: Key): Promise<EntityState | undefined> {
    const fixed = await this.#stateBytes(at, STATE_BYTES)
    if (fixed.compare(entity, 0, 16, 16, 32) !== 0) return undefined
    const headsAt = STATE_BYTES + fixed.readUInt32BE(4)
    const bytes = await this.#stateBytes(at, headsAt + 32 * fixed.readUInt32BE(0))
    const purged = readU64(fixed, 8)
    const heads: Hash[] = []
    for (let head = headsAt; head < bytes.length; head += 32) heads.push(bytes.toString("hex", head, head + 32))
    return { collection: bytes.toString("utf8", STATE_BYTES, headsAt), heads, ...(purged > 0 && { purged }) }
  }

  /** Returns `length` bytes of the states part. `at` is an offset in the part without the checksums of its blocks. */
  async #stateBytes(at: number, length: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    for (let from = at; from < at + length; ) {
      const n = Math.floor(from / PAYLOAD_BYTES)
      const block = await this.#block(this.#parts.states + n)
      const to = Math.min(at + length, (n + 1) * PAYLOAD_BYTES)
      pieces.push(block.subarray(from % PAYLOAD_BYTES, (from % PAYLOAD_BYTES) + to - from))
      from = to
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  }

  // ── the index ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #block(n: number): Buffer | Promise<Buffer> {
    const { blocks } = this.#reader
    const ready = blocks.peek(this.#indexPath, n)
    return (
      ready ??
      this.#readable(
        n,
        blocks.read(this.#indexPath, n, (block) => this.#check(block, n)),
      )
    )
  }

  /**
   * Turns the error of an index that cannot be read at all (`readAround`) into `Damage`, so that the index is made
   * again.
   */
  #readable(n: number, reading: Promise<Buffer>): Promise<Buffer> {
    return reading.catch((error) => {
      if (isBadSector(error)) throw new Damage(this.header.number, `block ${n} of the index cannot be read`)
      throw error
    })
  }

  #check(block: Buffer, n: number): void {
    if (!isBlockWhole(block, n)) throw new Damage(this.header.number, `block ${n} of the index is damaged`)
  }

  async *#pointers(key: Key, kind: PointerKind): AsyncGenerator<Pointer> {
    const { pointers } = this.#indexHeader
    const blocks = Math.ceil(pointers / POINTERS_PER_BLOCK)
    const load = async (n: number) => {
      const block = await this.#block(this.#parts.pointers + n)
      return { block, count: Math.min(POINTERS_PER_BLOCK, pointers - n * POINTERS_PER_BLOCK) }
    }
    // Find the first block whose last key is at or after the wanted key. The keys are hashes, which are evenly spread,
    // so a guess of the block's position from the key is close.
    let low = 0
    let high = blocks
    for (let guesses = 3; low < high; guesses--) {
      const guess = Math.floor((key.readUInt32BE(0) / 2 ** 32) * blocks)
      const n = guesses > 0 ? Math.min(Math.max(guess, low), high - 1) : (low + high) >> 1
      const { block, count } = await load(n)
      if (compare(block, count - 1, key) < 0) low = n + 1
      else if (n === low || compare(block, 0, key) < 0) low = high = n
      else high = n
    }
    for (; low < blocks; low++) {
      const { block, count } = await load(low)
      let i = 0
      for (let to = count; i < to; ) {
        const middle = (i + to) >> 1
        if (compare(block, middle, key) < 0) i = middle + 1
        else to = middle
      }
      for (; i < count; i++) {
        if (compare(block, i, key) !== 0) return
        const at = i * POINTER_BYTES
        if (block[at + POINTER_KIND_AT] !== kind) continue
        yield { value: block.readUInt32BE(at + KEY_BYTES), number: block.readUInt16BE(at + KEY_BYTES + 4) }
      }
    }
  }
}

/**
 * Throws if the segment's header has a version or a flag that this relay does not know, because the index does not say
 * how to read such records. If the header is damaged or unreadable, the index is enough.
 */
async function requireReadable(file: DiskFile): Promise<void> {
  try {
    decodeHeader(asBuffer(await readAround(file, 0, HEADER_BYTES)))
  } catch (error) {
    if (!isBadSector(error)) throw error
  }
}

interface Pointer {
  readonly value: number
  readonly number: number
}

/** Compares the key of the `i`-th pointer of a block with the same part of another key. */
const compare = (block: Buffer, i: number, key: Key): number =>
  block.compare(key, 0, KEY_BYTES, i * POINTER_BYTES, i * POINTER_BYTES + KEY_BYTES)

/** Reads the header of a segment's index; undefined when it is damaged or unreadable, or that of another segment. */
async function readIndexHeader(folder: Folder, number: number) {
  const block = await folder.reader.blocks.read(indexPath(folder, number), 0).catch((error) => {
    if (isBadSector(error)) return Buffer.alloc(0)
    throw error
  })
  const index = isBlockWhole(block, 0) ? decodeIndexHeader(block) : undefined
  return index?.header.number === number ? index : undefined
}
