/**
 * Checks of a log whose files are damaged: which entries it must still serve, which changes it may call known, and that
 * it is whole again after a replica has pushed the missing changes again.
 */
import { expect } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { pages } from "../../relay/log/samples.ts"
import { position } from "../../src/wire/protocol.ts"
import { dice } from "./dice.ts"
import { type Files, type SimDisk, simDisk } from "./disk.ts"
import { Journal, openSmall } from "./log-workload.ts"

const ENTITIES = ["a", "b", "c"]

export interface Written {
  readonly disk: SimDisk
  readonly files: Files
  readonly journal: Journal
}

/**
 * Writes a log with segments of four entries, in which three entities are edited in turn. With ten entries it has two
 * sealed segments and an open one.
 */
export async function write(entries = 10): Promise<Written> {
  const disk = simDisk({ random: dice(1) })
  const logs = await openSmall(disk)
  const log = await logs.open("w")
  const journal = new Journal()
  for (let i = 0; i < entries; i++) await journal.append(log, ENTITIES[i % 3]!)
  await logs.close()
  return { disk, files: disk.snapshot(), journal }
}

/** The path that ends with `end`, such as `1.idx`. */
export const pathOf = (files: Files, end: string): string => [...files.keys()].find((path) => path.endsWith(end))!

export const flipped = (files: Files, path: string, at: number): Files =>
  new Map(files).set(
    path,
    files.get(path)!.map((byte, i) => (i === at ? byte ^ 0xff : byte)),
  )

export const cut = (files: Files, path: string, size: number): Files =>
  new Map(files).set(path, files.get(path)!.slice(0, size))

export const without = (files: Files, gone: string): Files => new Map([...files].filter(([path]) => path !== gone))

/** The names of the entries that the log serves. None may be there twice. */
export async function served(log: Log, ...journals: readonly Journal[]): Promise<Set<string>> {
  const appended = journals.flatMap((journal) => [...journal.appended])
  const byChunk = new Map(appended.map(([name, { entry }]) => [entry.chunks.join(), name]))
  const names = (await pages(log, 0, 700)).flatMap(({ entries }) =>
    entries.map(({ entry }) => byChunk.get(entry.chunks.join())),
  )
  expect(names).not.toContain(undefined)
  expect(new Set(names).size).toBe(names.length)
  return new Set(names as string[])
}

/**
 * The names of the entries that a log may call known when it serves the entries in `there`: entries of which it serves
 * all ancestors too.
 */
function whole(journal: Journal, there: ReadonlySet<string>): Set<string> {
  const names = new Map([...journal.appended].map(([name, { changes }]) => [changes[0]!.hash, name]))
  const known = new Set<string>()
  for (const [name, { changes }] of journal.appended) {
    if (there.has(name) && changes[0]!.deps.every((dep) => known.has(names.get(dep)!))) known.add(name)
  }
  return known
}

/**
 * Checks that the log serves only what was appended. If an entry is missing, the log must not know changes that depend
 * on it. From the entry's place on, it must not hold the undamaged log's cursors, and must give out other cursors.
 * Returns the missing entries. `later`: the entries that were appended after the damage was found.
 */
export async function checkDamaged(log: Log, { journal }: Written, later = new Journal()): Promise<string[]> {
  const there = await served(log, journal, later)
  const known = whole(journal, there)
  const missing = [...journal.appended.keys()].filter((name) => !there.has(name))
  for (const [name, { entry, changes }] of journal.appended) {
    const [{ hash, actor } = { hash: "", actor: "" }] = changes
    expect((await log.known(entry.entity, hash)) !== undefined, name).toBe(known.has(name))
    const tail = await log.tail(entry.entity, actor)
    expect(tail?.hash, name).toBe(known.has(name) ? hash : undefined)
    expect(await log.binding(actor), name).toBe(known.has(name) ? entry.by : undefined)
  }
  for (const entity of ENTITIES) {
    const of = [...journal.appended].filter(([name, { entry }]) => known.has(name) && entry.entity === entity)
    const rested = new Set(of.flatMap(([, { changes }]) => changes[0]!.deps))
    const heads = of.map(([, { changes }]) => changes[0]!.hash).filter((hash) => !rested.has(hash))
    expect([...((await log.entity(entity))?.heads ?? [])].sort()).toEqual(heads.sort())
    const orphans = [...there].filter((name) => journal.appended.get(name)?.entry.entity === entity && !known.has(name))
    expect(log.hasOrphans(entity), `orphans of ${entity}`).toBe(orphans.length > 0)
  }
  for (const [name, cursor] of journal.acked) {
    const first = missing[0]
    const after = first !== undefined && position(cursor) >= position(journal.acked.get(first)!)
    if (after) expect(await log.holds(cursor), `${name}, ${first} is missing`).toBe(false)
    if (missing.length === 0) expect(await log.holds(cursor), name).toBe(true)
  }
  if (missing.length > 0) await checkCursors(log, position(journal.acked.get(missing[0]!)!), journal)
  return missing
}

/**
 * Checks that the log gives out no cursor of the undamaged log from the first missing entry on (`lost`). If it did, an
 * undamaged copy that is put back would hold the cursor of a replica that was never sent the missing entry.
 */
async function checkCursors(log: Log, lost: number, journal: Journal): Promise<void> {
  const undamaged = new Set([...journal.acked.values()].map((cursor) => Buffer.from(cursor).toString("hex")))
  for (const { cursor, entries } of await pages(log, 0, 1)) {
    const places = [cursor, await log.flushed(entries.at(-1)!.position)].filter((place) => position(place) >= lost)
    for (const place of places) expect(undamaged).not.toContain(Buffer.from(place).toString("hex"))
  }
}

/**
 * Appends again every change that the log does not know, in causal order, as a replica that holds all of them would.
 * Then all must be known.
 */
export async function heal(log: Log, { journal }: Written): Promise<void> {
  for (const { entry, changes } of journal.appended.values()) {
    const known = await log.known(entry.entity, changes[0]!.hash)
    if (!known) await log.flushed(log.append({ ...entry, adopted: true }, changes))
  }
  await checkHealed(log, journal)
}

export async function checkHealed(log: Log, journal: Journal): Promise<void> {
  for (const [name, { entry, changes }] of journal.appended) {
    const { hash, binds: _, ...change } = changes[0]!
    expect(await log.known(entry.entity, hash), name).toMatchObject(change)
    expect(await log.tail(entry.entity, change.actor), name).toMatchObject({ hash })
  }
  for (const entity of ENTITIES) {
    const last = [...journal.appended.values()].findLast(({ entry }) => entry.entity === entity)!
    expect((await log.entity(entity))?.heads).toEqual([last.changes[0]!.hash])
    expect(log.hasOrphans(entity), `orphans of ${entity}`).toBe(false)
  }
  expect(await log.holds(log.end)).toBe(true)
}

/** Opens the log on these files, checks what is left, appends the missing entries again and reopens the log. */
export function survive(written: Written, files: Files): Promise<{ missing: string[]; events: string[] }> {
  written.disk.restore(files)
  return surviveHere(written)
}

export async function surviveHere(written: Written): Promise<{ missing: string[]; events: string[] }> {
  const { disk } = written
  const events: string[] = []
  const logs = await openSmall(disk, ({ event }) => events.push(event))
  const log = await logs.open("w")
  const missing = await checkDamaged(log, written)
  // A power cut now must not bring back an outdated index, or a segment that was set aside.
  expect(disk.unsyncedNames().filter((path) => !path.endsWith(".tmp"))).toEqual([])
  await heal(log, written)
  const { end } = log
  await logs.close()

  const again = await openSmall(disk, ({ event }) => events.push(event))
  const reopened = await again.open("w")
  expect(reopened.end).toEqual(end)
  await checkHealed(reopened, written.journal)
  await again.close()
  return { missing, events }
}

/** Resolves when the condition is true. It is checked at once, and then once in each turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}
