/** The segment that is appended to. What look-ups ask of it is in memory; what is flushed is served from its file. */
import type { Entry } from "../../../src/wire/protocol.ts"
import type { DiskFile } from "../../machine/disk.ts"
import { asBuffer } from "../cache.ts"
import type { AppendedChange, EntityState } from "../contract.ts"
import { type Folder, segmentPath } from "../folder.ts"
import {
  type ActorKeys,
  differences,
  encodeHeader,
  HEADER,
  type Key,
  type Origin,
  type Output,
  record,
  writeRecord,
} from "./format.ts"
import { RecordHeads } from "./record-heads.ts"

/** Records whose offsets are given out at once. */
const MANY = 512

export class OpenSegment {
  readonly origin: Origin
  readonly records: RecordHeads
  readonly path: string
  /** Bytes of the file that are flushed. What may be behind them is not ours. */
  size = HEADER
  readonly #folder: Folder
  #flushed = 0
  /** Where the next record will begin. */
  #end = HEADER
  #file: DiskFile | undefined
  /** The file has its header, and its name is durable. */
  #made: boolean
  /** Something may be behind `size`. */
  #torn = false

  /** `made`: bytes of its file, when there is one already. */
  constructor(folder: Folder, origin: Origin, actors: ActorKeys, made = 0) {
    this.origin = origin
    this.path = segmentPath(folder, origin.number)
    this.records = new RecordHeads(origin.marks.salt, actors, made)
    this.#folder = folder
    this.#made = this.#torn = made > 0
  }

  // ── in memory ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The last appended record's position, and the running hash there. */
  get appended(): number {
    return this.records.count > 0 ? this.records.position(this.records.count - 1) : this.origin.base
  }
  get appendedRunning(): Buffer {
    return this.records.count > 0 ? this.records.running(this.records.count - 1) : this.origin.start
  }

  get full(): boolean {
    const { bytes, entries, changes } = this.#folder.full
    return this.#end >= bytes || this.records.count >= entries || this.records.changes >= changes
  }

  /** Adds a record to the end of `out`, which will be written here next. */
  append(
    out: Output,
    position: number,
    key: Key,
    entry: Entry,
    changes: readonly AppendedChange[],
    body: Uint8Array,
    before: () => EntityState | null | undefined,
  ): void {
    const place = { position, previous: this.appended, running: this.appendedRunning }
    const at = out.length
    try {
      writeRecord(out, this.origin.marks, place, key, entry, changes, body)
    } catch (error) {
      out.length = at
      throw error
    }
    this.records.add(out.bytes, at, this.#end, before)
    this.#end += out.length - at
  }

  /** A record that was found in the file at this offset. */
  load(bytes: Buffer, at: number, offset: number): void {
    this.records.add(bytes, at, offset, () => undefined)
    this.#flushed = this.records.count
    this.size = this.#end = offset + record.length(bytes, at)
  }

  /** Forgets what is not flushed. */
  rollBack(): void {
    this.records.cut(this.#flushed)
    this.#end = this.size
  }

  // ── on the disk ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes the file what it should be: there, with its header, and nothing behind what is flushed. */
  async prepare(): Promise<void> {
    if (this.#file && this.#made && !this.#torn) return
    if (!this.#made) await this.#folder.disk.makeFolder(this.#folder.path)
    this.#file ??= await this.#folder.disk.open(this.path)
    if (!this.#made) {
      await this.#file.truncate(0)
      await this.#file.write(0, encodeHeader(this.#folder.workspace, this.origin))
      await this.#file.sync()
      await this.#folder.disk.syncFolder(this.#folder.path)
      this.#made = true
    } else {
      const header = encodeHeader(this.#folder.workspace, this.origin)
      await this.#file.truncate(this.size)
      const found = asBuffer(await this.#file.read(0, HEADER))
      for (const { at, copy } of differences(found, header)) await this.#file.write(at, copy)
      await this.#file.sync()
    }
    this.#torn = false
  }

  /** Appends these records, durably. When that fails, nobody knows what the file has behind `size`. */
  async write(bytes: Buffer, records: number): Promise<void> {
    this.#torn = true
    await this.#file!.write(this.size, bytes)
    await this.#file!.sync()
    this.#torn = false
    this.size += bytes.length
    this.#flushed += records
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  // ── what is flushed ───────────────────────────────────────────────────────────────────────────────────────────────

  get last(): number {
    return this.#flushed > 0 ? this.records.position(this.#flushed - 1) : this.origin.base
  }
  get running(): Buffer {
    return this.#flushed > 0 ? this.records.running(this.#flushed - 1) : this.origin.start
  }

  /** The running hash at the end of the record with this position. */
  runningAt(position: number): Buffer | undefined {
    const n = this.records.countTo(position)
    return n > 0 && n <= this.#flushed && this.records.position(n - 1) === position
      ? this.records.running(n - 1)
      : undefined
  }

  /** Offsets of records after this position, and where the last of them ends; not all, when there are many. */
  after(position: number): { readonly offsets: readonly number[]; readonly end: number } {
    const from = this.records.countTo(position)
    const to = Math.min(from + MANY, this.#flushed)
    const offsets: number[] = []
    for (let i = from; i < to; i++) offsets.push(this.records.offset(i))
    return { offsets, end: to < this.#flushed ? this.records.offset(to) : this.size }
  }

  bytesAfter(position: number): number {
    const n = this.records.countTo(position)
    return n < this.#flushed ? this.size - this.records.offset(n) : 0
  }
}
