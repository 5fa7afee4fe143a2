/** Writes the index of a segment that is full. */
import { BLOCK } from "../cache.ts"
import { type Folder, indexPath } from "../folder.ts"
import { inSlices, Slice } from "../slices.ts"
import { change, type Origin, Output, record, writeKeyWithin, writeU64 } from "./format.ts"
import {
  bloomBlocks,
  closeBlock,
  encodeSummary,
  Kind,
  layout,
  mark,
  NOBODY,
  PAYLOAD,
  PLACE,
  PLACES,
  probeOf,
  ROW,
  ROWS,
  STATE,
} from "./index-format.ts"
import type { RecordHeads } from "./record-heads.ts"
import { Sealed } from "./sealed-segment.ts"

/** Rows and other small things that are encoded before others get their turn: a few ms. */
const SLICE = 2048

export interface Full {
  readonly origin: Origin
  readonly records: RecordHeads
  /** Bytes of its file. */
  readonly size: number
}

/** What it is built on, and what is known to be missing. */
export interface Foundation {
  readonly previous: Sealed | undefined
  readonly lost: boolean
  readonly brokenBy: number
}

/**
 * Makes the index durable and opens the segment by it. All of it is on the disk, and `before` of every entity that it
 * has touched is known. Without the index the segment is scanned when the log is opened next time: nothing is lost.
 */
export async function seal(folder: Folder, full: Full, foundation: Foundation): Promise<Sealed> {
  const path = indexPath(folder, full.origin.number)
  const temporary = `${path}.tmp`
  const file = await folder.disk.open(temporary)
  try {
    await file.truncate(0)
    await file.write(0, await inSlices(folder.clock, encodeIndex(full, foundation)))
    await file.sync()
  } finally {
    await file.close()
  }
  folder.cache.forget(path)
  await folder.disk.rename(temporary, path)
  await folder.disk.syncFolder(folder.path)
  const sealed = await Sealed.open(folder, full.origin.number, foundation.previous)
  if (!sealed) throw new Error(`the index ${path} is not what was written`)
  return sealed
}

/** Nothing is appended to the segment any more, nor taken from it. */
function* encodeIndex(
  { origin, records, size }: Full,
  { previous, lost, brokenBy }: Foundation,
): Generator<void, Buffer> {
  const { salt } = origin.marks
  const slice = new Slice(SLICE)
  const states = yield* statesOf(records)
  const rows = yield* rowsOf(records, states.starts)
  const sorted = yield* sort(rows)
  const entries = records.count
  const summary = {
    origin,
    last: entries > 0 ? records.position(entries - 1) : origin.base,
    running: entries > 0 ? records.running(entries - 1) : origin.start,
    size,
    entries,
    lost,
    brokenBy,
    predecessor: previous?.identity ?? NOBODY,
    rows: rows.length / ROW,
    bloom: bloomBlocks(rows.length / ROW),
  }
  const parts = layout(summary)
  const bytes = Buffer.alloc((parts.states + Math.ceil(states.bytes.length / PAYLOAD)) * BLOCK)
  encodeSummary(summary).copy(bytes, 0)
  for (let i = 0; i < entries; i++) {
    const at = (parts.places + Math.floor(i / PLACES)) * BLOCK + (i % PLACES) * PLACE
    bytes.writeUInt32BE(records.position(i) - origin.base, at)
    bytes.writeUInt32BE(records.offset(i), at + 4)
    if (slice.isFull()) yield
  }
  for (let i = 0; i < sorted.length; i++) {
    const from = sorted[i]! * ROW
    const at = (parts.rows + Math.floor(i / ROWS)) * BLOCK + (i % ROWS) * ROW
    rows.copy(bytes, at, from, from + ROW)
    const probe = probeOf(bytes, at, rows[from + 22] as Kind, salt)
    mark(bytes, (parts.bloom + (probe.where % summary.bloom)) * BLOCK, probe)
    if (slice.isFull()) yield
  }
  for (let from = 0; from < states.bytes.length; from += PAYLOAD) {
    states.bytes.copy(bytes, (parts.states + from / PAYLOAD) * BLOCK, from, from + PAYLOAD)
  }
  for (let at = 0; at < bytes.length; at += BLOCK) {
    closeBlock(bytes, at)
    if (slice.isFull(8)) yield
  }
  return bytes
}

/** The states one behind the other, and of each entity where it begins. */
function* statesOf(records: RecordHeads): Generator<void, { bytes: Buffer; starts: Map<number, number> }> {
  const slice = new Slice(SLICE)
  const out = new Output(2 ** 16)
  const starts = new Map<number, number>()
  for (let e = 0; e < records.entities; e++) {
    const state = records.state(e)
    if (!state) continue
    const collection = Buffer.from(state.collection)
    const at = out.reserve(STATE + collection.length + 32 * state.heads.length)
    const { bytes } = out
    starts.set(e, at)
    bytes.writeUInt32BE(state.heads.length, at)
    bytes.writeUInt32BE(collection.length, at + 4)
    writeU64(bytes, state.purged ?? 0, at + 8)
    let end = at + STATE + collection.copy(bytes, at + STATE)
    for (const head of state.heads) end += bytes.write(head, end, 32, "hex")
    if (slice.isFull(1 + state.heads.length)) yield
  }
  return { bytes: out.taken, starts }
}

/** One row for everything that can be looked up, in no order. */
function* rowsOf(records: RecordHeads, states: ReadonlyMap<number, number>): Generator<void, Buffer> {
  const slice = new Slice(SLICE)
  const { bytes, actors } = records
  const tails = new Set<number>()
  const bindings = new Set<number>()
  for (const [, at] of records.tails) {
    tails.add(at)
    if (slice.isFull()) yield
  }
  for (const [, at] of records.bindings) bindings.add(at)
  const rows = Buffer.alloc((states.size + records.changes + tails.size + bindings.size) * ROW)
  let end = 0
  const add = (kind: Kind, value: number, number: number) => {
    rows.writeUInt32BE(value, end + 16)
    rows.writeUInt16BE(number, end + 20)
    rows[end + 22] = kind
    end += ROW
  }
  for (const [e, at] of states) {
    records.keyOf(e).copy(rows, end)
    add(Kind.entity, at, 0)
  }
  for (let i = 0; i < records.count; i++) {
    const recordAt = records.at(i)
    const entity = recordAt + record.entityAt
    const offset = records.offset(i)
    let at = change.first(recordAt)
    for (let n = 0; n < record.changes(bytes, recordAt); n++, at = change.next(bytes, at)) {
      if (slice.isFull()) yield
      if (change.orphan(bytes, at)) continue
      writeKeyWithin(rows, end, bytes, entity, bytes, at)
      add(Kind.change, offset, n)
      if (tails.has(at)) {
        writeKeyWithin(rows, end, bytes, entity, actors.of(change.actor(bytes, at)), 0)
        add(Kind.tail, offset, n)
      }
      if (bindings.has(at)) {
        actors.of(change.actor(bytes, at)).copy(rows, end)
        add(Kind.binding, offset, n)
      }
    }
  }
  return rows.subarray(0, end)
}

/** The rows' numbers in the order of their keys. By the first two bytes at once, as most keys are evenly spread. */
function* sort(rows: Buffer): Generator<void, Uint32Array> {
  const slice = new Slice(SLICE)
  const count = rows.length / ROW
  const starts = new Uint32Array(2 ** 16 + 1)
  for (let i = 0; i < count; i++) starts[rows.readUInt16BE(i * ROW) + 1]!++
  for (let i = 0; i < 2 ** 16; i++) starts[i + 1]! += starts[i]!
  const next = starts.slice()
  const sorted = new Uint32Array(count)
  for (let i = 0; i < count; i++) sorted[next[rows.readUInt16BE(i * ROW)]!++] = i
  const compare = (a: number, b: number) => rows.compare(rows, b * ROW, b * ROW + 16, a * ROW, a * ROW + 16)
  if (slice.isFull(count)) yield
  for (let i = 0; i < 2 ** 16; i++) {
    const equal = starts[i + 1]! - starts[i]!
    if (equal > 1) sorted.subarray(starts[i], starts[i + 1]).sort(compare)
    if (slice.isFull(equal)) yield
  }
  return sorted
}
