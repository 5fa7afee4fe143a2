/** Opens what is on the disk as a log: whole, or without what is damaged, and then so that everybody notices. */
import { dirname } from "node:path"
import { HeadwaterError } from "../../src/base/errors.ts"
import { asBuffer } from "./cache.ts"
import { Damage, type Folder, indexPath, segmentPath } from "./folder.ts"
import { History } from "./sealed-segments.ts"
import { change, decodeHeader, HEADER, type Marks, record } from "./segment/format.ts"
import { OpenSegment } from "./segment/open-segment.ts"
import type { RecordHeads } from "./segment/record-heads.ts"
import { scan } from "./segment/scan.ts"
import { Sealed } from "./segment/sealed-segment.ts"
import { seal } from "./segment/write-index.ts"
import { breathe, Slice } from "./slices.ts"

/** Entities that are looked up before others get their turn. */
const MANY = 1024

/** What a crash leaves of what was being written, and nobody was told of. */
const TORN = { level: "info", event: "log.torn" } as const
const DAMAGED = { level: "error", event: "log.damaged" } as const

export interface Recovered {
  readonly history: History
  readonly active: OpenSegment
  /** Something is lost that was there when the log was opened the last time; a new running hash has begun. */
  readonly broken: boolean
}

/** What was true before, when a log that is in use is opened again: its last flushed position, and one not given out yet. */
export interface Before {
  readonly end: number
  readonly next: number
}

/**
 * Reads the indexes of the sealed segments and scans the last one. A segment whose index is missing, damaged or made
 * on top of something else is scanned, too, and gets a new one. If a damaged or missing record comes to light, the log
 * goes on in a new segment with a running hash of its own, and whatever rests on what is lost is served, but not known:
 * so whoever holds it gives all of that back.
 */
export async function recover(folder: Folder, before?: Before, damage?: Damage): Promise<Recovered> {
  // What the index of a damaged segment claims may be lost, so it goes first.
  const dropped = new Set<number>()
  for (let found = damage; ; ) {
    if (found) {
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

async function dropIndex(folder: Folder, number: number): Promise<void> {
  const index = indexPath(folder, number)
  folder.cache.forget(index)
  folder.cache.forget(segmentPath(folder, number))
  const names = await folder.disk.list(folder.path)
  if (!names.some((name) => `${folder.path}/${name}` === index)) return
  await folder.disk.remove(index)
  await folder.disk.syncFolder(folder.path)
}

async function open(folder: Folder, before?: Before): Promise<Recovered> {
  const { disk, clock } = folder
  const { numbers, indexed } = await tidy(folder)
  const random = asBuffer(clock.random(16))
  const seed = random.subarray(8)
  let marks: Marks = { marker: random.readUInt32BE(0), salt: random.readUInt32BE(4) }
  if (numbers.length > 0) {
    // Names that a process made before it was killed may not be durable yet.
    await disk.syncFolder(dirname(folder.path))
    await disk.syncFolder(folder.path)
    marks = (await findMarks(folder, numbers)) ?? marks
  }
  const history = new History(marks)
  const next = (numbers.at(-1) ?? 0) + 1
  let newest: OpenSegment | undefined
  let lost = false

  for (const number of numbers) {
    const ready = indexed.has(number) ? await Sealed.open(folder, number, history.newest) : undefined
    if (ready && (ready.brokenBy === 0 || numbers.includes(ready.brokenBy))) {
      history.segments.push(ready)
      continue
    }
    const last = number === numbers.at(-1)
    const scanned = await scanSegment(folder, number, history, last)
    lost ||= scanned.lost
    if (last) newest = scanned.segment
    else if (scanned.segment) history.segments.push(await sealOnTop(folder, history, scanned.segment, lost ? next : 0))
  }

  const last = newest?.last ?? history.newest?.last ?? 0
  if (before && last < before.end) lost = true
  if (newest) {
    await newest.prepare()
    if (!lost) return { history, active: newest, broken: false }
    const sealing = sealOnTop(folder, history, newest, next)
    history.segments.push(await sealing.finally(() => newest.close()))
  }
  const origin = {
    number: next,
    after: history.newest?.origin.number ?? 0,
    base: Math.max(last, lost ? (before?.next ?? 0) : 0),
    start: lost ? seed : (history.newest?.running ?? seed),
    fresh: lost || history.newest === undefined,
    marks,
  }
  const active = new OpenSegment(folder, origin, history.actors)
  if (lost) {
    await active.prepare()
    folder.report({ level: "error", event: "log.broken", segment: next, position: active.origin.base })
  }
  return { history, active, broken: lost }
}

/** Removes what was being made when a process died. Says which segments there are, and which have an index. */
async function tidy(folder: Folder): Promise<{ readonly numbers: number[]; readonly indexed: ReadonlySet<number> }> {
  const names = await folder.disk.list(folder.path)
  for (const name of names) if (name.endsWith(".tmp")) await folder.disk.remove(`${folder.path}/${name}`)
  const numbersOf = (ending: string) => {
    const files = names.filter((name) => /^\d{8}\.[a-z]+$/.test(name) && name.endsWith(ending))
    return files.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b)
  }
  const numbers = numbersOf(".log")
  const newest = numbers.at(-1)
  if (newest !== undefined && !(await isBegun(folder, newest))) numbers.pop()
  return { numbers, indexed: new Set(numbersOf(".idx")) }
}

/** Removes a segment of which not even the header was finished, so that nothing believes in what it was to begin. */
async function isBegun(folder: Folder, number: number): Promise<boolean> {
  const path = segmentPath(folder, number)
  const header = await folder.cache.read(path, 0, HEADER + 1)
  if (header.length > HEADER || decodeHeader(header)) return true
  folder.cache.forget(path)
  await folder.disk.remove(path)
  await folder.disk.syncFolder(folder.path)
  return false
}

async function findMarks(folder: Folder, numbers: readonly number[]): Promise<Marks | undefined> {
  for (const number of numbers) {
    const header = decodeHeader(await folder.cache.read(segmentPath(folder, number), 0, HEADER))
    if (header) return header.marks
  }
  return undefined
}

interface Scanned {
  /** Undefined: nobody can say any more what was in it. */
  readonly segment?: OpenSegment
  readonly lost: boolean
}

/** `newest`: its end may have been torn by a crash. */
async function scanSegment(folder: Folder, number: number, history: History, newest: boolean): Promise<Scanned> {
  const path = segmentPath(folder, number)
  const size = await sizeOf(folder, path)
  const origin = decodeHeader(await folder.cache.read(path, 0, HEADER))
  if (origin?.number !== number) {
    await setAside(folder, number)
    return { lost: true }
  }

  const previous = history.newest
  const last = previous?.last ?? 0
  if (origin.base < last) {
    throw new HeadwaterError("LOG_FAILED", `${path} does not follow what is before it: put back all files of one copy`)
  }
  const follows = origin.after === (previous?.origin.number ?? 0)
  const goesOn = origin.fresh || previous?.running.equals(origin.start) === true
  let missing = !follows || !goesOn
  if (missing) folder.report({ level: "error", event: "log.missing", segment: number, position: origin.base })

  const segment = new OpenSegment(folder, origin, history.actors, size)
  const read = (at: number, length: number, into: Buffer) => folder.cache.read(path, at, length, into)
  const damage = await scan(read, size, origin.marks, async (bytes, at, offset) => {
    if (record.previous(bytes, at) !== segment.last) missing = true
    if (missing || previous?.lost) await markOrphans(bytes, at, segment.records, history)
    segment.load(bytes, at, offset)
  })
  for (const { from, to } of damage) {
    const torn = newest && to === size
    missing ||= !torn
    folder.report({ ...(torn ? TORN : DAMAGED), segment: number, from, to })
  }
  if (!newest) segment.size = size
  return { segment, lost: missing }
}

/** A segment without a header is past help: nobody can say what it continues. */
async function setAside(folder: Folder, number: number): Promise<void> {
  const path = segmentPath(folder, number)
  folder.cache.forget(path)
  await folder.disk.rename(path, `${path}.lost`)
  await folder.disk.syncFolder(folder.path)
  folder.report({ ...DAMAGED, segment: number, from: 0, to: HEADER })
}

/** Marks the changes that rest on something which is not known, so that whoever has that brings them with it. */
async function markOrphans(bytes: Buffer, at: number, records: RecordHeads, history: History): Promise<void> {
  const entity = record.entity(bytes, at)
  const here = new Set<string>()
  const isKnown = async (hash: string) =>
    here.has(hash) || records.known(entity, hash) !== undefined || (await history.known(entity, hash)) !== undefined
  let c = change.first(at)
  for (let left = record.changes(bytes, at); left > 0; left--, c = change.next(bytes, c)) {
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

/** Seals a segment that is full and on the disk, as the next one of the history. `brokenBy`: something is lost (`Foundation`). */
export async function sealOnTop(
  folder: Folder,
  history: History,
  segment: OpenSegment,
  brokenBy: number,
): Promise<Sealed> {
  await fillIn(folder, segment.records, history)
  const previous = history.newest
  const lost = brokenBy > 0 || previous?.lost === true
  return seal(folder, segment, { previous, lost, brokenBy })
}

/** Looks up how every entity was before the segment, where nobody has asked yet. */
async function fillIn({ clock }: Folder, records: RecordHeads, history: History): Promise<void> {
  const slice = new Slice(MANY)
  for (let e = 0; e < records.entities; e++) {
    if (slice.isFull()) await breathe(clock)
    if (records.before(e) === undefined) records.setBefore(e, (await history.state(records.keyOf(e))) ?? null)
  }
}
