/**
 * Opens the files on the disk as a log. When records are damaged or missing, the log goes on without them, with a fresh
 * running hash. It then holds no replica's cursor, so every replica heals.
 */
import { dirname } from "node:path"
import { HeadwaterError } from "../../src/base/errors.ts"
import { asBuffer, GrowingBytes } from "./bytes.ts"
import { Damage } from "./damage.ts"
import { type Folder, indexPath, segmentPath } from "./folder.ts"
import { SealedSegments } from "./sealed-segments.ts"
import { sealOnTop } from "./sealing.ts"
import { decodeHeader, HEADER_BYTES, type Secret } from "./segment/header.ts"
import type { OpenIndex } from "./segment/open-index.ts"
import { OpenSegment } from "./segment/open-segment.ts"
import { change, preamble } from "./segment/preamble.ts"
import { record, unpackRecord } from "./segment/record.ts"
import { scan } from "./segment/scan.ts"
import { SealedSegment } from "./segment/sealed-segment.ts"

/** Reported when a crash has cut off a write. The records of that write were never acknowledged. */
const TORN = { level: "info", event: "log.torn" } as const
const DAMAGED = { level: "error", event: "log.damaged" } as const

export interface Recovered {
  readonly sealed: SealedSegments
  readonly active: OpenSegment
  /** Whether the log has lost records, so that a fresh running hash has begun. */
  readonly broken: boolean
}

/**
 * The state of a log that is opened again while it is in use. `end`: the position of its last flushed entry. `given`: a
 * position that is not lower than the position of any appended entry, and that belongs to no entry whose flush has
 * failed. `flushed`: for each open segment, by its number, the flushed bytes of its file. Later bytes of the file
 * belong to a failed flush: they may be in the system's memory only, so that a power cut would lose them.
 */
export interface Before {
  readonly end: number
  readonly given: number
  readonly flushed: ReadonlyMap<number, number>
}

/**
 * Opens the log from the indexes of its sealed segments and a scan of its last segment. A sealed segment is scanned as
 * well, and gets a new index, if its index is missing, is damaged, or depends on another index of the segment before
 * it. If a record is damaged or missing, the log goes on in a new segment with a fresh running hash. A change that
 * depends on a lost change is served but does not count as known, so a replica that holds both changes gives both back.
 */
export async function recover(folder: Folder, before?: Before, damage?: Damage): Promise<Recovered> {
  const dropped = new Set<number>()
  for (let found = damage; ; ) {
    if (found) {
      // Remove the index of the damaged segment, because the index may name records that are lost.
      dropped.add(found.segment)
      await dropIndex(folder, found.segment)
    }
    try {
      return await open(folder, before)
    } catch (error) {
      if (!(error instanceof Damage) || dropped.has(error.segment)) throw error
      found = error
    }
  }
}

/** Removes the index of a segment. `open` makes the removal durable. */
async function dropIndex(folder: Folder, number: number): Promise<void> {
  const index = indexPath(folder, number)
  folder.reader.forget(index)
  folder.reader.forget(segmentPath(folder, number))
  const names = await folder.disk.list(folder.path)
  if (!names.some((name) => `${folder.path}/${name}` === index)) return
  await folder.disk.remove(index)
}

async function open(folder: Folder, before?: Before): Promise<Recovered> {
  const { disk, clock } = folder
  const { numbers, indexed } = await tidy(folder)
  const random = asBuffer(clock.random(16))
  const freshRunning = random.subarray(8)
  let secret: Secret = { marker: random.readUInt32BE(0), salt: random.readUInt32BE(4) }
  if (numbers.length > 0) {
    // Make the names of the log's files durable, because the log relies on them from here on. The process that made,
    // removed or copied the files may not have synced the folders.
    await disk.syncFolder(dirname(folder.path))
    await disk.syncFolder(folder.path)
    secret = (await findSecret(folder, numbers)) ?? secret
  }
  const sealed = new SealedSegments(secret, folder.sizes.recentActors)
  const next = (numbers.at(-1) ?? 0) + 1
  const freshStart = { number: next, running: freshRunning }
  let newest: OpenSegment | undefined
  let newestSize = 0
  let lost = false

  for (const number of numbers) {
    const ready = indexed.has(number) ? await SealedSegment.open(folder, number, sealed.newest) : undefined
    // An index that names a fresh segment is valid only while that segment exists.
    if (ready && (!ready.freshStart || numbers.includes(ready.freshStart.number))) {
      sealed.oldestFirst.push(ready)
      continue
    }
    const isLast = number === numbers.at(-1)
    const scanned = await scanSegment(folder, number, sealed, isLast, before?.flushed.get(number))
    lost ||= scanned.lost
    // A scan finds no damage in a segment that was cut off between two records, and no gap before the next segment if
    // that one begins a fresh running hash. So compare the segment with its old index, if it has one.
    const indexedLast = indexed.has(number) ? await SealedSegment.lastIndexed(folder, number) : undefined
    if (!lost && scanned.segment && indexedLast !== undefined && scanned.segment.appended < indexedLast) {
      lost = true
      folder.report({ ...DAMAGED, segment: number, from: scanned.size, to: scanned.size })
    }
    if (isLast) {
      newest = scanned.segment
      newestSize = scanned.size
    } else if (scanned.segment) {
      sealed.oldestFirst.push(await sealOnTop(folder, sealed, scanned.segment, lost ? freshStart : undefined))
    }
  }

  const last = newest?.last ?? sealed.newest?.last ?? 0
  if (before && last < before.end) lost = true
  if (newest && !lost) {
    await newest.prepare()
    return { sealed, active: newest, broken: false }
  }
  if (newest) {
    try {
      await newest.settle(newestSize)
      sealed.oldestFirst.push(await sealOnTop(folder, sealed, newest, freshStart))
    } finally {
      await newest.close()
    }
  }
  const header = {
    number: next,
    previous: sealed.newest?.header.number ?? 0,
    base: Math.max(last, lost ? (before?.given ?? 0) : 0),
    baseRunning: lost ? freshRunning : (sealed.newest?.running ?? freshRunning),
    fresh: lost || sealed.newest === undefined,
    secret,
  }
  const active = new OpenSegment(folder, header, sealed.actors)
  if (lost) {
    await active.prepare()
    folder.report({ level: "error", event: "log.broken", segment: next, position: header.base })
  }
  return { sealed, active, broken: lost }
}

/**
 * Removes the unfinished files of a process that died. Returns the numbers of all segments, and the numbers of those
 * that have an index.
 */
async function tidy(folder: Folder): Promise<{ readonly numbers: number[]; readonly indexed: ReadonlySet<number> }> {
  const names = await folder.disk.list(folder.path)
  for (const name of names) if (name.endsWith(".tmp")) await folder.disk.remove(`${folder.path}/${name}`)
  const numbersOf = (ending: string) => {
    const files = names.filter((name) => /^\d{8}\.[a-z]+$/.test(name) && name.endsWith(ending))
    return files.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b)
  }
  const numbers = numbersOf(".log")
  const newest = numbers.at(-1)
  if (newest !== undefined && !(await keepIfBegun(folder, newest))) numbers.pop()
  return { numbers, indexed: new Set(numbersOf(".idx")) }
}

/**
 * Removes the segment's file unless it has an intact header, or more bytes than a header. Returns whether the file is
 * kept. An index may name this segment as the fresh one after a loss. Without the file that index is invalid, so the
 * loss is found again and a new fresh segment begins.
 */
async function keepIfBegun(folder: Folder, number: number): Promise<boolean> {
  const path = segmentPath(folder, number)
  const header = await folder.reader.files.read(path, 0, HEADER_BYTES + 1)
  if (header.length > HEADER_BYTES || decodeHeader(header)) return true
  folder.reader.forget(path)
  await folder.disk.remove(path)
  await folder.disk.syncFolder(folder.path)
  return false
}

/** Returns the log's secret, from the first segment with a whole header. All segments of a log have the same secret. */
async function findSecret(folder: Folder, numbers: readonly number[]): Promise<Secret | undefined> {
  for (const number of numbers) {
    const header = decodeHeader(await folder.reader.files.read(segmentPath(folder, number), 0, HEADER_BYTES))
    if (header) return header.secret
  }
  return undefined
}

interface Scanned {
  /** Undefined: the segment is set aside (`setAside`). */
  readonly segment?: OpenSegment
  /** Bytes of the segment's file, without the bytes of a failed flush. */
  readonly size: number
  readonly lost: boolean
}

/**
 * Reads the records of a segment's file into an `OpenSegment`. `isLast`: whether this is the last segment. A crash may
 * have torn the end of the last segment, which is not a loss. `flushed`: the flushed bytes of the file, if known.
 */
async function scanSegment(
  folder: Folder,
  number: number,
  sealed: SealedSegments,
  isLast: boolean,
  flushed = Number.POSITIVE_INFINITY,
): Promise<Scanned> {
  const path = segmentPath(folder, number)
  const size = Math.min(flushed, await sizeOf(folder, path))
  const header = decodeHeader(await folder.reader.files.read(path, 0, HEADER_BYTES))
  if (header?.number !== number) {
    await setAside(folder, number)
    return { size, lost: true }
  }

  const previous = sealed.newest
  if (header.base < (previous?.last ?? 0)) {
    throw new HeadwaterError(
      "LOG_FAILED",
      `${path} does not follow the segment before it: restore all files of the folder from one backup`,
    )
  }
  const follows = header.previous === (previous?.header.number ?? 0)
  const goesOn = header.fresh || previous?.running.equals(header.baseRunning) === true
  let lost = !follows || !goesOn
  if (lost) folder.report({ level: "error", event: "log.missing", segment: number, position: header.base })

  const segment = new OpenSegment(folder, header, sealed.actors, size)
  const read = (at: number, length: number, into: Buffer) => folder.reader.files.read(path, at, length, into)
  const found = new GrowingBytes(2 ** 12)
  const damage = await scan(read, size, header.secret, folder.sizes.scanBytes, async (bytes, at, offset) => {
    const length = record.length(bytes, at)
    if (record.previous(bytes, at) !== segment.last) lost = true
    found.length = 0
    unpackRecord(bytes, at, found)
    if (lost || previous?.lost) await markOrphans(found.bytes, segment.index, sealed)
    segment.load(found.filled, offset, length)
  })
  for (const { from, to } of damage) {
    // Bad sectors are not a torn end, because the records in them may have been acknowledged.
    const torn = isLast && to === size && !folder.reader.files.isBad(path, from, to)
    lost ||= !torn
    folder.report({ ...(torn ? TORN : DAMAGED), segment: number, from, to })
  }
  if (!isLast) segment.size = size
  return { segment, size, lost }
}

/**
 * Renames the file of a segment whose header is damaged or has another number, because the segment's place in the log
 * is then unknown. The new name becomes durable when the fresh segment is made, which syncs the folder.
 */
async function setAside(folder: Folder, number: number): Promise<void> {
  const path = segmentPath(folder, number)
  folder.reader.forget(path)
  await folder.disk.rename(path, `${path}.lost`)
  folder.report({ ...DAMAGED, segment: number, from: 0, to: HEADER_BYTES })
}

/** Marks each change of the preamble in `bytes` that depends on an unknown change. */
async function markOrphans(bytes: Buffer, index: OpenIndex, sealed: SealedSegments): Promise<void> {
  const entity = preamble.entity(bytes, 0)
  const here = new Set<string>()
  const isKnown = async (hash: string) =>
    here.has(hash) || index.known(entity, hash) !== undefined || (await sealed.known(entity, hash)) !== undefined
  let c = change.first(0)
  for (let left = preamble.changes(bytes, 0); left > 0; left--, c = change.next(bytes, c)) {
    let known = true
    for (const dep of change.deps(bytes, c)) known &&= await isKnown(dep)
    if (known) here.add(change.hash(bytes, c))
    else change.setOrphan(bytes, c)
  }
}

async function sizeOf(folder: Folder, path: string): Promise<number> {
  const file = await folder.disk.read(path)
  try {
    return await file.size()
  } finally {
    await file.close()
  }
}
