import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { pages, sample } from "../../relay/log/samples.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"
import { position } from "../../src/wire/protocol.ts"
import { dice } from "../support/dice.ts"
import { type Files, type SimDisk, simDisk } from "../support/disk.ts"
import { Journal, openSmall } from "../support/log-workload.ts"

const long = process.env["HEADWATER_LONG"] === "1"
const ENTITIES = ["a", "b", "c"]

interface Written {
  readonly disk: SimDisk
  readonly files: Files
  readonly journal: Journal
}

/** Two sealed segments and one that is not, in which three entities are edited in turn. */
async function write(entries = 10): Promise<Written> {
  const disk = simDisk({ random: dice(1) })
  const logs = await openSmall(disk)
  const log = await logs.open("w")
  const journal = new Journal()
  for (let i = 0; i < entries; i++) await journal.append(log, ENTITIES[i % 3]!)
  await logs.close()
  return { disk, files: disk.snapshot(), journal }
}

/**
 * In a long run every place that holds something, and of what only fills files up to the next block every eighth: there
 * one byte is like another. Else a share.
 */
function* places(path: string, bytes: Uint8Array, from: number, steps: Steps): Generator<number> {
  const step = path.endsWith(".idx") ? steps.index : steps.log
  const isEmpty = (at: number) => bytes.subarray(Math.max(0, at - 16), at + 16).every((byte) => byte === 0)
  for (let at = from; at < bytes.length; at += long ? 1 : at > 128 && at < 4096 ? Math.max(64, step) : step)
    if (!long || at % 8 === 0 || !isEmpty(at)) yield at
}

interface Steps {
  readonly log: number
  readonly index: number
}

const flipped = (files: Files, path: string, at: number): Files =>
  new Map(files).set(
    path,
    files.get(path)!.map((byte, i) => (i === at ? byte ^ 0xff : byte)),
  )
const cut = (files: Files, path: string, size: number): Files =>
  new Map(files).set(path, files.get(path)!.slice(0, size))

/** What is there, by name. */
async function served(log: Log, journal: Journal): Promise<Set<string>> {
  const byChunk = new Map([...journal.appended].map(([name, { entry }]) => [entry.chunks.join(), name]))
  const names = (await pages(log, 0, 700)).flatMap(({ entries }) =>
    entries.map(({ entry }) => byChunk.get(entry.chunks.join())),
  )
  expect(names).not.toContain(undefined)
  expect(new Set(names).size).toBe(names.length)
  return new Set(names as string[])
}

/** Which changes the log may claim: those that are there with all that they rest on. */
function whole(journal: Journal, there: ReadonlySet<string>): Set<string> {
  const names = new Map([...journal.appended].map(([name, { changes }]) => [changes[0]!.hash, name]))
  const known = new Set<string>()
  for (const [name, { changes }] of journal.appended) {
    if (there.has(name) && changes[0]!.deps.every((dep) => known.has(names.get(dep)!))) known.add(name)
  }
  return known
}

/**
 * Whatever is served is what was appended; if something is missing, every cursor from there on is unknown and what
 * rests on it as well, until a holder has given it back.
 */
async function checkDamaged(log: Log, { journal }: Written): Promise<{ missing: string[] }> {
  const there = await served(log, journal)
  const known = whole(journal, there)
  const missing = [...journal.appended.keys()].filter((name) => !there.has(name))
  for (const [name, { entry, changes }] of journal.appended) {
    expect((await log.known(entry.entity, changes[0]!.hash)) !== undefined, name).toBe(known.has(name))
  }
  for (const entity of ENTITIES) {
    const of = [...journal.appended].filter(([name, { entry }]) => known.has(name) && entry.entity === entity)
    const rested = new Set(of.flatMap(([, { changes }]) => changes[0]!.deps))
    const heads = of.map(([, { changes }]) => changes[0]!.hash).filter((hash) => !rested.has(hash))
    expect([...((await log.entity(entity))?.heads ?? [])].sort()).toEqual(heads.sort())
  }
  for (const [name, cursor] of journal.acked) {
    const first = missing[0]
    const after = first !== undefined && position(cursor) >= position(journal.acked.get(first)!)
    if (after) expect(await log.holds(cursor), `${name}, ${first} is missing`).toBe(false)
    if (missing.length === 0) expect(await log.holds(cursor), name).toBe(true)
  }
  return { missing }
}

/** Whoever holds everything gives back what is not known, in causal order; then all is known again. */
async function heal(log: Log, { journal }: Written): Promise<void> {
  for (const { entry, changes } of journal.appended.values()) {
    const known = await log.known(entry.entity, changes[0]!.hash)
    if (!known) await log.flushed(log.append({ ...entry, adopted: true }, changes))
  }
  await checkHealed(log, { journal })
}

async function checkHealed(log: Log, { journal }: Pick<Written, "journal">): Promise<void> {
  for (const [name, { entry, changes }] of journal.appended) {
    const { hash, binds: _, ...change } = changes[0]!
    expect(await log.known(entry.entity, hash), name).toMatchObject(change)
    expect(await log.tail(entry.entity, change.actor), name).toMatchObject({ hash })
  }
  for (const entity of ENTITIES) {
    const last = [...journal.appended.values()].findLast(({ entry }) => entry.entity === entity)!
    expect((await log.entity(entity))?.heads).toEqual([last.changes[0]!.hash])
  }
  expect(await log.holds(log.end)).toBe(true)
}

/** Opens these files, checks what is left, heals it and opens it again. */
function survive(written: Written, files: Files): Promise<{ missing: string[]; events: string[] }> {
  written.disk.restore(files)
  return surviveHere(written)
}

async function surviveHere(written: Written): Promise<{ missing: string[]; events: string[] }> {
  const { disk } = written
  const events: string[] = []
  const logs = await openSmall(disk, (event) => events.push((event as { event: string }).event))
  const log = await logs.open("w")
  const { missing } = await checkDamaged(log, written)
  await heal(log, written)
  const { end } = log
  await logs.close()

  const again = await openSmall(disk, (event) => events.push((event as { event: string }).event))
  const reopened = await again.open("w")
  expect(reopened.end).toEqual(end)
  await checkHealed(reopened, written)
  await again.close()
  return { missing, events }
}

const told = (events: readonly string[]) => events.some((event) => /^log\.(damaged|torn|missing)$/.test(event))

describe("a log of which", () => {
  it("any one byte is wrong serves all but one entry, and everybody notices", async () => {
    const written = await write()
    const losses = new Map<number, number>()
    for (const [path, bytes] of written.files) {
      for (const at of places(path, bytes, 0, { log: 7, index: 197 })) {
        const { missing, events } = await survive(written, flipped(written.files, path, at)).catch((error) => {
          throw new Error(`byte ${at} of ${path}`, { cause: error })
        })
        losses.set(missing.length, (losses.get(missing.length) ?? 0) + 1)
        if (missing.length > 0) expect(told(events)).toBe(true)
      }
    }
    expect([...losses.keys()].sort()).toEqual([0, 1])
    expect(losses.get(1)).toBeGreaterThan(200)
  })

  it("a file is cut at any length serves what is before the cut and in other files, and everybody notices", async () => {
    const written = await write()
    for (const [path, bytes] of written.files) {
      const index = path.endsWith(".idx")
      for (const size of places(path, bytes, 0, { log: 11, index: 997 })) {
        const { missing, events } = await survive(written, cut(written.files, path, size)).catch((error) => {
          throw new Error(`${path} cut to ${size}`, { cause: error })
        })
        if (index) expect(missing).toEqual([])
        // An end that was torn off where a record ends is like one that never was: the cursors tell.
        else if (path.endsWith("3.log")) expect(missing.length).toBeGreaterThan(0)
        else expect(told(events)).toBe(true)
      }
    }
  })

  it.each(["00000001.log", "00000002.log", "00000001.idx", "00000002.idx"])("%s is gone goes on", async (name) => {
    const written = await write()
    const path = [...written.files.keys()].find((path) => path.endsWith(name))!
    const files = new Map(written.files)
    files.delete(path)
    const { missing, events } = await survive(written, files)
    expect(missing.length).toBe(name.endsWith(".idx") ? 0 : 4)
    expect(told(events)).toBe(name.endsWith(".log"))
  })

  it("the last segment is gone ends earlier, and nobody takes it for the same", async () => {
    const written = await write()
    const files = new Map([...written.files].filter(([path]) => !path.endsWith("00000003.log")))
    expect((await survive(written, files)).missing.length).toBe(2)
  })

  it("the end is torn tells so as nothing to worry about, and one that is harmed elsewhere as an error", async () => {
    const { disk, files } = await write()
    const path = [...files.keys()].find((path) => path.endsWith("00000003.log"))!
    const levels = async (harmed: Files) => {
      disk.restore(harmed)
      const told: object[] = []
      const logs = await openSmall(disk, ({ level, event }) => told.push({ [event]: level }))
      await logs.open("w")
      await logs.close()
      return told
    }
    expect(await levels(cut(files, path, files.get(path)!.length - 1))).toEqual([{ "log.torn": "info" }])
    const harmed = [{ "log.damaged": "error" }, { "log.broken": "error" }]
    expect(await levels(flipped(files, path, 4224 + 20))).toEqual(harmed)
  })

  it("both headers of a segment are gone sets it aside and goes on", async () => {
    const written = await write()
    const path = [...written.files.keys()].find((path) => path.endsWith("00000003.log"))!
    const { missing } = await survive(written, flipped(flipped(written.files, path, 20), path, 4096 + 20))
    expect(missing.length).toBe(2)
    expect([...written.disk.files().keys()]).toContain(`${path}.lost`)
  })
})

describe("a log that is being mended", () => {
  it("may be interrupted at any operation, and is mended all the same", async () => {
    const written = await write()
    const [first, second, third] = [...written.files.keys()].filter((path) => path.endsWith(".log")).sort()
    const index = [...written.files.keys()].find((path) => path.endsWith("1.idx"))!
    const harms: [Files, number][] = [
      [flipped(written.files, first!, 4224 + 300), 1],
      [flipped(written.files, second!, 4224 + 20), 1],
      [flipped(flipped(written.files, third!, 4224 + 20), index, 5000), 1],
      [new Map([...written.files].filter(([path]) => path !== first)), 4],
      [flipped(written.files, index, 5000), 0],
      ...[2, 3, 4].map((block): [Files, number] => {
        const newest = index.replace("1.idx", "2.idx")
        return [flipped(flipped(written.files, third!, 4224 + 20), newest, 4096 * block + 10), 1]
      }),
    ]
    for (const [files, lost] of harms) {
      for (let n = 1, done = false; !done; n++) {
        let operations = 0
        const disk = simDisk({
          random: dice(n),
          before: () => void (++operations === n && disk.crash()),
        })
        disk.restore(files)
        const opened = openSmall(disk).then((logs) => logs.open("w"))
        const looked = opened.then((log) => checkDamaged(log, written))
        done = await Promise.race([looked.then(() => true), until(() => operations >= n).then(() => false)])
        disk.crash()
        operations = Infinity
        const { missing } = await surviveHere({ ...written, disk }).catch((error) => {
          throw new Error(`${lost} lost, operation ${n}`, { cause: error })
        })
        expect(missing).toHaveLength(lost)
      }
    }
  })
})

/** Resolves some turns after the condition has come true: what a dead process can still do in memory is done. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

describe("a log that is damaged in several ways at once", () => {
  const harm = fc.record({
    file: fc.double({ min: 0, max: 0.999, noNaN: true }),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    how: fc.constantFrom("flip", "flip", "flip", "cut", "zero", "remove"),
  })

  it("serves what is whole, claims what rests on nothing that is lost, and can be given back the rest", async () => {
    const written = await write(14)
    await fc.assert(
      fc.asyncProperty(fc.array(harm, { minLength: 1, maxLength: 5 }), async (harms) => {
        let files = written.files
        for (const { file, at, how } of harms) {
          const path = [...files.keys()][Math.floor(file * files.size)]
          if (path === undefined) break
          const bytes = files.get(path)!
          const place = Math.floor(at * bytes.length)
          if (how === "flip") files = flipped(files, path, place)
          else if (how === "cut") files = cut(files, path, place)
          else if (how === "zero")
            files = new Map(files).set(
              path,
              bytes.map((b, i) => (i >= place && i < place + 512 ? 0 : b)),
            )
          else files = new Map([...files].filter(([name]) => name !== path))
        }
        await survive(written, files)
      }),
      { numRuns: long ? 3000 : 150 },
    )
  })
})

describe("damage that comes while a log is open", () => {
  it("is found when it is met, wherever it is: the rest is served, and whoever follows is told", async () => {
    const { files } = await write()
    let breaks = 0
    let found = 0
    for (const [path, bytes] of files) {
      for (const at of places(path, bytes, 4224, { log: 13, index: 211 })) {
        const written = await write()
        await liveThrough(written, path, at).then(
          (broke) => {
            if (broke) breaks++
            found++
          },
          (error) => {
            throw new Error(`byte ${at} of ${path}`, { cause: error })
          },
        )
      }
    }
    expect(breaks).toBeGreaterThan(100)
    expect(found).toBeGreaterThan(breaks)
  })

  it("is noticed by a look-up that had read its answer before the log was mended", async () => {
    const { disk: sim, files, journal } = await write()
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    let armed = false
    const disk: Disk = {
      ...sim.disk,
      async read(path) {
        const file = await sim.disk.read(path)
        const held = async (...args: Parameters<DiskFile["read"]>) => {
          const bytes = await file.read(...args)
          if (!armed || !path.endsWith("2.log")) return bytes
          armed = false
          await gate
          return bytes
        }
        return { ...file, read: held }
      },
    }
    const logs = await openSmall({ disk })
    const log = await logs.open("w")
    const [name, { entry, changes }] = [...journal.appended][5]!
    armed = true
    const looked = log.known(entry.entity, changes[0]!.hash)
    await until(() => !armed)
    const path = [...files.keys()].find((path) => path.endsWith("2.log"))!
    sim.rot(path, Buffer.from(files.get(path)!).indexOf(entry.chunks[0]!) + 1)
    expect(await served(log, journal)).toEqual(new Set([...journal.appended.keys()].filter((other) => other !== name)))
    open()
    expect(await looked).toBeUndefined()
    await logs.close()
  })

  async function liveThrough(written: Written, path: string, at: number): Promise<boolean> {
    const { disk, journal } = written
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    let broken = 0
    log.onBreak(() => broken++)
    const { end } = log
    disk.rot(path, at)
    await served(log, journal)
    // Cached blocks hide what is wrong in a head until somebody reads it; a look-up may be who meets it.
    const { missing } = await checkDamaged(log, written)
    expect(broken).toBe(missing.length > 0 ? 1 : 0)
    expect(await log.holds(end)).toBe(missing.length === 0)
    await heal(log, written)
    await logs.close()
    const again = await openSmall(disk)
    await checkHealed(await again.open("w"), written)
    await again.close()
    return broken > 0
  }

  it("fails what is appended until it is mended, and gives no position twice", async () => {
    const { disk, journal } = await write()
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    const path = [...disk.files().keys()].find((path) => path.endsWith("00000001.log"))!
    disk.rot(path, 4224 + 200)
    const before = log.appended
    const reading = log.since(0, 10_000)
    while (true) {
      try {
        await journal.append(log, "d")
      } catch (error) {
        expect(error).toMatchObject({ code: "LOG_FAILED" })
        break
      }
    }
    expect((await reading).entries.length).toBeGreaterThan(8)
    await journal.append(log, "e")
    expect(log.appended).toBeGreaterThan(before)
    const positions = (await pages(log, 0, 1000)).flatMap(({ entries }) => entries.map(({ position }) => position))
    expect([...new Set(positions)].sort((a, b) => a - b)).toEqual(positions)
    await logs.close()
  })
})

describe("a log that was put back", () => {
  it("to an older copy holds no cursor from after it, whatever is appended since", async () => {
    const { disk, files, journal } = await write()
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    const old = log.end
    for (let i = 0; i < 5; i++) await journal.append(log, "a")
    const lost = log.end
    await logs.close()
    disk.restore(files)
    const restored = await (await openSmall(disk)).open("w")
    expect(await restored.holds(old)).toBe(true)
    expect(await restored.holds(lost)).toBe(false)
    for (let i = 0; i < 5; i++) await journal.append(restored, "b")
    expect(position(restored.end)).toBe(position(lost))
    expect(await restored.holds(lost)).toBe(false)
  })
})

describe("what a client sends", () => {
  it("is never taken for a record, not even where a damaged one makes the log search for the next", async () => {
    const foreign = (await write()).files
    const record = [...foreign].find(([path]) => path.endsWith("00000003.log"))![1].slice(4224)
    const disk = simDisk({ random: dice(1) })
    const log = await (await openSmall(disk)).open("w")
    const { entry, changes } = sample("trojan horse")
    await log.flushed(log.append({ ...entry, chunks: [record, record] }, changes))
    await log.flushed(log.append(...pairOf("honest", "b")))
    disk.kill()
    const [path] = disk.files().keys()
    disk.rot(path!, 4224 + 9)
    const again = await (await openSmall(disk)).open("w")
    const entities = (await pages(again, 0, 1000)).flatMap(({ entries }) => entries.map(({ entry }) => entry.entity))
    expect(entities).toEqual(["b"])
  })

  const pairOf = (name: string, entity: string) => {
    const { entry, changes } = sample(name, { entity })
    return [entry, changes] as const
  }
})
