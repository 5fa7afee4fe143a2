/** The segment to which entries are appended. Its index is in memory; flushed entries are served from its file. */
import type { Entry } from "../../../src/wire/protocol.ts"
import type { DiskFile } from "../../machine/disk.ts"
import { asBuffer, type GrowingBytes } from "../bytes.ts"
import type { AppendedChange, EntityState } from "../contract.ts"
import { isBadSector, readAround } from "../files/bad-sectors.ts"
import { type Folder, segmentPath } from "../folder.ts"
import { differences, encodeHeader, HEADER_BYTES, type SegmentHeader } from "./header.ts"
import type { ActorKeys, Key } from "./keys.ts"
import { OpenIndex } from "./open-index.ts"
import { writePreamble } from "./preamble.ts"
import { packRecord } from "./record.ts"

export class OpenSegment {
  readonly header: SegmentHeader
  readonly index: OpenIndex
  readonly path: string
  /** An open segment has no loss: after a loss the log goes on in a fresh segment. */
  readonly freshStart = undefined
  /** Bytes of the file that are flushed. Later bytes belong to writes that failed or are under way. */
  size = HEADER_BYTES
  readonly #folder: Folder
  /** Number of flushed records. */
  #flushed = 0
  /** The offset in the file at which the next record will begin. */
  #end = HEADER_BYTES
  #file: DiskFile | undefined
  /** Whether the file's header is written and the file's name is durable. */
  #made: boolean
  /** Whether the file may have bytes after `size`. */
  #torn = false

  /** `found`: bytes of the segment's file; 0: there is no file yet. */
  constructor(folder: Folder, header: SegmentHeader, actors: ActorKeys, found = 0) {
    this.header = header
    this.path = segmentPath(folder, header.number)
    this.index = new OpenIndex(header.secret.salt, actors, folder.sizes.longChain, found)
    this.#folder = folder
    this.#made = this.#torn = found > 0
  }

  // ── appended records, in memory ────────────────────────────────────────────────────────────────────────────────────

  /** The position of the last appended record, and the running hash there. */
  get appended(): number {
    return this.index.count > 0 ? this.index.position(this.index.count - 1) : this.header.base
  }
  get appendedRunning(): Buffer {
    return this.index.count > 0 ? this.index.running(this.index.count - 1) : this.header.baseRunning
  }

  /** Whether the next entry must go into another segment. */
  get full(): boolean {
    const { segmentBytes, segmentEntries, segmentChanges, segmentStateBytes } = this.#folder.sizes
    const { count, changes, statesMemory } = this.index
    if (this.#end >= segmentBytes || count >= segmentEntries) return true
    return changes >= segmentChanges || statesMemory >= segmentStateBytes
  }

  /**
   * Adds an entry to the index, and appends its record to `out`, which is later written to the file. `before`: see
   * `OpenIndex.add`.
   */
  append(
    out: GrowingBytes,
    position: number,
    key: Key,
    entry: Entry,
    changes: readonly AppendedChange[],
    body: Uint8Array,
    before: () => EntityState | null | undefined,
  ): void {
    const standing = { position, previous: this.appended, previousRunning: this.appendedRunning }
    const at = out.length
    const { secret } = this.header
    const write = (preambles: GrowingBytes) => {
      const from = preambles.length
      writePreamble(preambles, standing, key, entry, changes)
      packRecord(out, secret, preambles.bytes, from, body)
    }
    try {
      this.index.add(write, this.#end, before)
    } catch (error) {
      out.length = at
      throw error
    }
    this.#end += out.length - at
  }

  /** Adds a record of `length` bytes that was found in the file at `offset`. `found`: the record's preamble. */
  load(found: Buffer, offset: number, length: number): void {
    const copy = (preambles: GrowingBytes) => {
      const at = preambles.reserve(found.length)
      found.copy(preambles.bytes, at)
    }
    this.index.add(copy, offset, () => undefined)
    this.#flushed = this.index.count
    this.index.keep(this.#flushed)
    this.size = this.#end = offset + length
  }

  /** Drops the records that are not flushed. */
  rollBack(): void {
    this.index.cut()
    this.#end = this.size
  }

  // ── on the disk ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes the file ready for a write: its name is durable, it has its header, and it ends after the flushed records.
   */
  async prepare(): Promise<void> {
    if (this.#file && this.#made && !this.#torn) return
    // Only the first segment makes the folder. If a later segment's folder is missing, somebody has removed it together
    // with the earlier segments, so the write must fail.
    if (!this.#made && this.header.previous === 0) await this.#folder.make()
    this.#file ??= await this.#folder.disk.open(this.path)
    const header = encodeHeader(this.#folder.workspace, this.header)
    if (!this.#made) {
      await this.#file.truncate(0)
      await this.#file.write(0, header)
      await this.#file.sync()
      await this.#folder.disk.syncFolder(this.#folder.path)
      this.#made = true
    } else {
      await this.#file.truncate(this.size)
      await this.#mendHeader(this.#file, header)
      await this.#file.sync()
    }
    this.#torn = false
  }

  /**
   * Writes the copies of the header that are damaged. If the disk fails to write one copy, the other copy is enough.
   */
  async #mendHeader(file: DiskFile, header: Buffer): Promise<void> {
    const found = asBuffer(await readAround(file, 0, HEADER_BYTES))
    for (const { at, copy } of differences(found, header)) {
      await file.write(at, copy).catch((error) => {
        if (!isBadSector(error)) throw error
        this.#folder.report({ level: "warn", event: "log.header", segment: this.header.number, at, error })
      })
    }
  }

  /**
   * Makes the content of the file durable without writing to the file, because a part of it may be impossible to write.
   * `size`: the bytes of the file that are kept.
   */
  async settle(size: number): Promise<void> {
    this.#file ??= await this.#folder.disk.open(this.path)
    if ((await this.#file.size()) > size) await this.#file.truncate(size)
    await this.#file.sync()
    this.size = size
  }

  /** Writes `records` records, durably. If the write fails, it is unknown which bytes the file has after `size`. */
  async write(bytes: Buffer, records: number): Promise<void> {
    this.#torn = true
    await this.#file!.write(this.size, bytes)
    await this.#file!.sync()
    this.#torn = false
    this.size += bytes.length
    this.#flushed += records
    this.index.keep(this.#flushed)
  }

  /**
   * Closes the file. Cuts off the bytes of a failed flush, if the disk allows it. Otherwise the next opening would take
   * these bytes for records, although a power cut could still lose them.
   */
  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (file && this.#made && this.#torn) await file.truncate(this.size).catch(() => {})
    await file?.close()
  }

  // ── flushed records ────────────────────────────────────────────────────────────────────────────────────────────────

  /** The position of the last flushed record, and the running hash there. */
  get last(): number {
    return this.#flushed > 0 ? this.index.position(this.#flushed - 1) : this.header.base
  }
  get running(): Buffer {
    return this.#flushed > 0 ? this.index.running(this.#flushed - 1) : this.header.baseRunning
  }

  /** Returns the running hash after the record with this position. */
  runningAt(position: number): Buffer | undefined {
    const n = this.index.countTo(position)
    return n > 0 && n <= this.#flushed && this.index.position(n - 1) === position
      ? this.index.running(n - 1)
      : undefined
  }

  /**
   * Returns the offsets of the first records after this position, and the offset at which the last of these records
   * ends.
   */
  offsetsAfter(position: number): { readonly offsets: readonly number[]; readonly end: number } {
    const from = this.index.countTo(position)
    const to = Math.min(from + this.#folder.sizes.offsets, this.#flushed)
    const offsets: number[] = []
    for (let i = from; i < to; i++) offsets.push(this.index.offset(i))
    return { offsets, end: to < this.#flushed ? this.index.offset(to) : this.size }
  }

  bytesAfter(position: number): number {
    const n = this.index.countTo(position)
    return n < this.#flushed ? this.size - this.index.offset(n) : 0
  }
}
