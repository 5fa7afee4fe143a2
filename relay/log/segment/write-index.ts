/** Writes the index of a full segment. */
import { HeadwaterError } from "../../../src/base/errors.ts"
import { GrowingBytes, writeU64 } from "../bytes.ts"
import { BLOCK_BYTES } from "../files/blocks.ts"
import { type Folder, indexPath } from "../folder.ts"
import { inSlices, Slice } from "../slices.ts"
import { addToBloom, bloomBlocks, probeOf } from "./bloom.ts"
import type { SegmentHeader } from "./header.ts"
import { writeKeyWithin } from "./keys.ts"
import type { OpenIndex } from "./open-index.ts"
import { ORPHAN_BYTES, type Orphans, orphansAfter } from "./orphans.ts"
import { change, preamble } from "./preamble.ts"
import {
  closeBlock,
  encodeIndexHeader,
  type FreshStart,
  KEY_BYTES,
  layout,
  NO_PREDECESSOR,
  OFFSET_BYTES,
  OFFSETS_PER_BLOCK,
  ORPHANS_PER_BLOCK,
  PAYLOAD_BYTES,
  POINTER_BYTES,
  POINTERS_PER_BLOCK,
  PointerKind,
  STATE_BYTES,
} from "./sealed-index-format.ts"
import { SealedSegment } from "./sealed-segment.ts"

export interface FullSegment {
  readonly header: SegmentHeader
  readonly index: OpenIndex
  /** Bytes of the segment's file. */
  readonly size: number
}

/**
 * The inputs of a new index besides its own segment: the segment before that one, and the known losses (`IndexHeader`).
 */
export interface Foundation {
  readonly previous: SealedSegment | undefined
  readonly lost: boolean
  readonly freshStart: FreshStart | undefined
}

/**
 * Writes the index of a full segment to the disk, durably, and opens the segment by the index. Call it only when the
 * segment is on the disk and the state before the segment is known for each of its entities. If the write fails,
 * nothing is lost: a segment without an index is scanned when the log is opened.
 */
export async function writeIndex(folder: Folder, full: FullSegment, foundation: Foundation): Promise<SealedSegment> {
  const path = indexPath(folder, full.header.number)
  const temporary = `${path}.tmp`
  const file = await folder.disk.open(temporary)
  try {
    await file.truncate(0)
    await file.write(0, await inSlices(folder.clock, encodeIndex(full, foundation, folder.sizes)))
    await file.sync()
  } finally {
    await file.close()
  }
  folder.reader.forget(path)
  await folder.disk.rename(temporary, path)
  await folder.disk.syncFolder(folder.path)
  const sealed = await SealedSegment.open(folder, full.header.number, foundation.previous)
  if (!sealed) throw new HeadwaterError("LOG_FAILED", `the index ${path} is not as it was written: check the disk`)
  return sealed
}

/** Encodes an index. Yields after every `sealSlice` steps. The segment must not change until the end. */
function* encodeIndex(
  { header, index, size }: FullSegment,
  { previous, lost, freshStart }: Foundation,
  { sealSlice: steps, orphans: most }: Folder["sizes"],
): Generator<void, Buffer> {
  const slice = new Slice(steps)
  const states = yield* statesOf(index, steps)
  const pointers = yield* pointersOf(index, states.starts, steps)
  const sorted = yield* sort(pointers, steps)
  const orphans = orphansAfter(previous?.orphans, index, most)
  const entries = index.count
  const indexHeader = {
    header,
    last: entries > 0 ? index.position(entries - 1) : header.base,
    running: entries > 0 ? index.running(entries - 1) : header.baseRunning,
    size,
    entries,
    lost,
    freshStart,
    predecessor: previous?.identity ?? NO_PREDECESSOR,
    pointers: sorted.length,
    bloom: bloomBlocks(sorted.length),
    orphans: orphans.count,
    orphansOverflowed: orphans.overflowed,
  }
  const parts = layout(indexHeader)
  const bytes = Buffer.alloc((parts.states + Math.ceil(states.bytes.length / PAYLOAD_BYTES)) * BLOCK_BYTES)
  encodeIndexHeader(indexHeader).copy(bytes, 0)
  for (let i = 0; i < entries; i++) {
    const block = parts.offsets + Math.floor(i / OFFSETS_PER_BLOCK)
    const at = block * BLOCK_BYTES + (i % OFFSETS_PER_BLOCK) * OFFSET_BYTES
    bytes.writeUInt32BE(index.position(i) - header.base, at)
    bytes.writeUInt32BE(index.offset(i), at + 4)
    if (slice.isFull()) yield
  }
  for (let i = 0; i < sorted.length; i++) {
    const from = sorted[i]! * FULL_POINTER_BYTES
    const block = parts.pointers + Math.floor(i / POINTERS_PER_BLOCK)
    const at = block * BLOCK_BYTES + (i % POINTERS_PER_BLOCK) * POINTER_BYTES
    pointers.copy(bytes, at, from, from + KEY_BYTES)
    pointers.copy(bytes, at + KEY_BYTES, from + 16, from + FULL_POINTER_BYTES)
    const probe = probeOf(pointers, from, pointers[from + 22] as PointerKind, header.secret.salt)
    addToBloom(bytes, (parts.bloom + (probe.block % indexHeader.bloom)) * BLOCK_BYTES, probe)
    if (slice.isFull()) yield
  }
  writeOrphans(bytes, parts.orphans, orphans)
  for (let from = 0; from < states.bytes.length; from += PAYLOAD_BYTES) {
    states.bytes.copy(bytes, (parts.states + from / PAYLOAD_BYTES) * BLOCK_BYTES, from, from + PAYLOAD_BYTES)
  }
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    closeBlock(bytes, at)
    if (slice.isFull(8)) yield
  }
  return bytes
}

/** `first`: the number of the first block of orphans. */
function writeOrphans(bytes: Buffer, first: number, orphans: Orphans): void {
  let i = 0
  for (const [entity, hash] of orphans) {
    const at = (first + Math.floor(i / ORPHANS_PER_BLOCK)) * BLOCK_BYTES + (i % ORPHANS_PER_BLOCK) * ORPHAN_BYTES
    bytes.write(hash, at + entity.copy(bytes, at), 32, "hex")
    i++
  }
}

/** Returns the encoded states of all entities, one after the other, and the offset of each entity's state. */
function* statesOf(
  index: OpenIndex,
  steps: number,
): Generator<void, { bytes: Buffer; starts: ReadonlyMap<number, number> }> {
  const slice = new Slice(steps)
  const out = new GrowingBytes(2 ** 16)
  const starts = new Map<number, number>()
  for (let e = 0; e < index.entities; e++) {
    const state = index.state(e)
    if (!state) continue
    const collection = Buffer.from(state.collection)
    const at = out.reserve(STATE_BYTES + collection.length + 32 * state.heads.length)
    const { bytes } = out
    starts.set(e, at)
    bytes.writeUInt32BE(state.heads.length, at)
    bytes.writeUInt32BE(collection.length, at + 4)
    writeU64(bytes, state.purged ?? 0, at + 8)
    index.keyOf(e).copy(bytes, at + 16)
    let end = at + STATE_BYTES + collection.copy(bytes, at + STATE_BYTES)
    for (const head of state.heads) end += bytes.write(head, end, 32, "hex")
    if (slice.isFull(1 + state.heads.length)) yield
  }
  return { bytes: out.filled, starts }
}

/** Bytes of a pointer with the whole of its key, which the filter needs. */
const FULL_POINTER_BYTES = 16 + POINTER_BYTES - KEY_BYTES

/** Returns one pointer for everything that can be looked up, unsorted. `states`: the offset of each entity's state. */
function* pointersOf(index: OpenIndex, states: ReadonlyMap<number, number>, steps: number): Generator<void, Buffer> {
  const slice = new Slice(steps)
  const { bytes, actors } = index
  const tails = new Set<number>()
  const bindings = new Set<number>()
  for (const [, at] of index.tails) {
    tails.add(at)
    if (slice.isFull()) yield
  }
  for (const [, at] of index.bindings) bindings.add(at)
  const pointers = Buffer.alloc((states.size + index.changes + tails.size + bindings.size) * FULL_POINTER_BYTES)
  let end = 0
  /** Completes a pointer whose key is written already. */
  const add = (kind: PointerKind, value: number, number: number) => {
    pointers.writeUInt32BE(value, end + 16)
    pointers.writeUInt16BE(number, end + 20)
    pointers[end + 22] = kind
    end += FULL_POINTER_BYTES
  }
  for (const [e, at] of states) {
    index.keyOf(e).copy(pointers, end)
    add(PointerKind.entity, at, 0)
  }
  for (let i = 0; i < index.count; i++) {
    const recordAt = index.at(i)
    const entity = recordAt + preamble.entityAt
    const offset = index.offset(i)
    let at = change.first(recordAt)
    for (let n = 0; n < preamble.changes(bytes, recordAt); n++, at = change.next(bytes, at)) {
      if (slice.isFull()) yield
      if (change.isOrphan(bytes, at)) continue
      writeKeyWithin(pointers, end, bytes, entity, bytes, at)
      add(PointerKind.change, offset, n)
      if (tails.has(at)) {
        writeKeyWithin(pointers, end, bytes, entity, actors.of(change.actor(bytes, at)), 0)
        add(PointerKind.tail, offset, n)
      }
      if (bindings.has(at)) {
        actors.of(change.actor(bytes, at)).copy(pointers, end)
        add(PointerKind.binding, offset, n)
      }
    }
  }
  return pointers.subarray(0, end)
}

/**
 * Returns the pointers' numbers, sorted by key. Most keys are random, so the pointers are first distributed by the
 * first two bytes of their keys.
 */
function* sort(pointers: Buffer, steps: number): Generator<void, Uint32Array> {
  const slice = new Slice(steps)
  const count = pointers.length / FULL_POINTER_BYTES
  const firstBytes = (i: number) => pointers.readUInt16BE(i * FULL_POINTER_BYTES)
  const starts = new Uint32Array(2 ** 16 + 1)
  for (let i = 0; i < count; i++) starts[firstBytes(i) + 1]!++
  for (let i = 0; i < 2 ** 16; i++) starts[i + 1]! += starts[i]!
  const next = starts.slice()
  const sorted = new Uint32Array(count)
  for (let i = 0; i < count; i++) sorted[next[firstBytes(i)]!++] = i
  const compare = (a: number, b: number) => {
    const [atA, atB] = [a * FULL_POINTER_BYTES, b * FULL_POINTER_BYTES]
    return pointers.compare(pointers, atB, atB + 16, atA, atA + 16)
  }
  if (slice.isFull(count)) yield
  for (let i = 0; i < 2 ** 16; i++) {
    const equal = starts[i + 1]! - starts[i]!
    if (equal > 1) sorted.subarray(starts[i], starts[i + 1]).sort(compare)
    if (slice.isFull(equal)) yield
  }
  return sorted
}
