import { beforeAll, describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { pages, sample } from "../../relay/log/samples.ts"
import { HEADER_BYTES } from "../../relay/log/segment/header.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"
import { dice } from "../support/dice.ts"
import { type Files, type SimDisk, simDisk } from "../support/disk.ts"
import { smallSizes } from "../support/log-workload.ts"

const SECTOR = 4096
/** Each entry takes less than a sector, so that a sector of a segment has parts of one or two entries. */
const ENTRIES = 10
const entry = (i: number) => sample(`${i}`, { entity: `e${i}`, size: 3000 })

/** The files of a log: two sealed segments of four entries, their indexes, and an open segment. */
async function write(): Promise<Files> {
  const disk = simDisk({ random: dice(1) })
  const logs = await openOn(disk.disk)
  const log = await logs.open("w")
  for (let i = 0; i < ENTRIES; i++) await log.flushed(log.append(entry(i).entry, entry(i).changes))
  await logs.close()
  return disk.snapshot()
}

const events: string[] = []
const openOn = (disk: Disk) => {
  events.length = 0
  const report = ({ event }: { event: string }) => void events.push(event)
  return openLogs({ folder: "/data", disk, clock: nodeClock, report, sizes: smallSizes })
}

const eio = (what: string) => Object.assign(new Error(`EIO: i/o error, ${what}`), { code: "EIO" })

/**
 * A disk with bad sectors, named by path and number. Reading a bad sector fails. Writing to it makes it good again,
 * because a drive then uses a spare sector in its place.
 * `stuck`: only writing the whole sector makes it good. Writing or cutting off a part of it fails, because the system
 * must read the sector first.
 */
function withBadSectors({ disk }: SimDisk, bad: Set<string>, stuck = false): Disk {
  const wrapped = (path: string, file: DiskFile): DiskFile => ({
    ...file,
    async read(at, length, into) {
      const end = Math.min(at + length, await file.size())
      for (let n = Math.floor(at / SECTOR); n * SECTOR < end; n++) {
        if (bad.has(`${path} ${n}`)) throw eio("read")
      }
      return file.read(at, length, into)
    },
    async write(at, bytes) {
      const [from, to] = [at, at + bytes.length]
      for (let n = Math.floor(from / SECTOR); stuck && n * SECTOR < to; n++) {
        const whole = from <= n * SECTOR && to >= (n + 1) * SECTOR
        if (!whole && bad.has(`${path} ${n}`)) throw eio("write")
      }
      await file.write(at, bytes)
      for (let n = Math.floor(at / SECTOR); n * SECTOR < at + bytes.length; n++) bad.delete(`${path} ${n}`)
    },
    async truncate(size) {
      if (stuck && size % SECTOR > 0 && bad.has(`${path} ${Math.floor(size / SECTOR)}`)) throw eio("ftruncate")
      await file.truncate(size)
    },
  })
  const moved = (from: string) => {
    for (const name of bad) if (name.startsWith(`${from} `)) bad.delete(name)
  }
  return {
    ...disk,
    open: async (path) => wrapped(path, await disk.open(path)),
    read: async (path) => wrapped(path, await disk.read(path)),
    rename: async (from, to) => {
      await disk.rename(from, to)
      moved(to)
    },
    remove: async (path) => {
      await disk.remove(path)
      moved(path)
    },
  }
}

/** The entries that have at least a part of their bytes in this sector of a file. */
function entriesIn(bytes: Uint8Array, sector: number): number[] {
  const file = Buffer.from(bytes)
  const inside: number[] = []
  for (let i = 0; i < ENTRIES; i++) {
    const chunk = Buffer.from(entry(i).entry.chunks[0]!)
    const at = file.indexOf(chunk, HEADER_BYTES) // not in the header, whose zeros may look like a chunk
    // The record's preamble and the fields of the entry take up to 200 bytes before the chunk.
    if (at >= 0 && at - 200 < (sector + 1) * SECTOR && at + chunk.length > sector * SECTOR) inside.push(i)
  }
  return inside
}

const servedBy = async (log: Log) =>
  (await pages(log, 0, 10_000)).flatMap(({ entries }) => entries.map(({ entry }) => Number(entry.entity.slice(1))))

let files: Files
beforeAll(async () => {
  files = await write()
})

/** Every sector of every file, each with the entries that are lost with it. */
const sectors = async () => {
  const all: [path: string, sector: number, lost: number[]][] = []
  for (const [path, bytes] of files) {
    for (let n = 0; n * SECTOR < bytes.length; n++)
      all.push([path, n, path.endsWith(".log") ? entriesIn(bytes, n) : []])
  }
  return all
}

/**
 * Checks that only entries of `lost` are missing, that the log does not know the changes of missing entries, and that
 * it accepts these entries again.
 */
async function check(log: Log, lost: readonly number[], name: string): Promise<void> {
  const served = new Set(await servedBy(log))
  for (let i = 0; i < ENTRIES; i++) {
    if (!lost.includes(i)) expect(served, name).toContain(i)
    const known = await log.known(`e${i}`, entry(i).changes[0]!.hash)
    expect(known !== undefined, `${name}: entry ${i}`).toBe(served.has(i))
  }
  const missing = Array.from({ length: ENTRIES }, (_, i) => i).filter((i) => !served.has(i))
  if (missing.length > 0) expect(events, name).toEqual(expect.arrayContaining(["log.damaged", "log.broken"]))
  else if (!events.includes("log.damaged")) expect(events, name).not.toContain("log.broken")
  expect(events, name).not.toContain("log.torn")
  for (const i of missing) await log.flushed(log.append(entry(i).entry, entry(i).changes))
  expect(new Set(await servedBy(log)).size, name).toBe(ENTRIES)
}

describe("a sector that cannot be read costs the entries in it and nothing else", () => {
  it.each([
    ["is good again once any part of it is written", false],
    ["is good again only once all of it is written", true],
  ])("when the log is opened, and it %s", async (_how, stuck) => {
    let lostSome = 0
    for (const [path, sector, lost] of await sectors()) {
      const name = `${path} ${sector}`
      const disk = simDisk({ random: dice(2) })
      disk.restore(files)
      const bad = new Set([name])
      const logs = await openOn(withBadSectors(disk, bad, stuck))
      await check(await logs.open("w"), lost, name)
      await logs.close()
      const again = await openOn(withBadSectors(disk, bad, stuck))
      expect(new Set(await servedBy(await again.open("w"))).size, name).toBe(ENTRIES)
      await again.close()
      if (lost.length > 0) lostSome++
    }
    expect(lostSome).toBeGreaterThan(5)
  })

  it("when it turns bad while the log is in use", async () => {
    for (const [path, sector, lost] of await sectors()) {
      const name = `${path} ${sector}`
      const disk = simDisk({ random: dice(2) })
      disk.restore(files)
      const bad = new Set<string>()
      const logs = await openOn(withBadSectors(disk, bad))
      const log = await logs.open("w")
      bad.add(name)
      await check(log, lost, name)
      await logs.close()
    }
  })
})

describe("an index of which nothing can be read", () => {
  const indexOf = async (number: number) =>
    (await sectors()).map(([path, sector]) => `${path} ${sector}`).filter((name) => name.includes(`${number}.idx `))

  it.each([1, 2])("is made again when the log is opened: of segment %i", async (number) => {
    const disk = simDisk({ random: dice(2) })
    disk.restore(files)
    const bad = new Set(await indexOf(number))
    expect(bad.size).toBeGreaterThan(0)
    const logs = await openOn(withBadSectors(disk, bad, true))
    await check(await logs.open("w"), [], `index ${number}`)
    expect(bad.size).toBe(0)
    await logs.close()
  })

  it.each([1, 2])("is made again when that is found while the log is in use: of segment %i", async (number) => {
    const disk = simDisk({ random: dice(2) })
    disk.restore(files)
    const bad = new Set<string>()
    const logs = await openOn(withBadSectors(disk, bad, true))
    const log = await logs.open("w")
    for (const name of await indexOf(number)) bad.add(name)
    await check(log, [], `index ${number}`)
    expect(bad.size).toBe(0)
    await logs.close()
  })
})

describe("a disk of which nothing can be read", () => {
  it("makes opening a log fail, and sets no file aside: once it can be read, every entry is served", async () => {
    const disk = simDisk({ random: dice(2) })
    disk.restore(files)
    const bad = new Set((await sectors()).map(([path, sector]) => `${path} ${sector}`))
    const logs = await openOn(withBadSectors(disk, bad))
    await expect(logs.open("w")).rejects.toMatchObject({ code: "LOG_FAILED" })
    bad.clear()
    expect(await servedBy(await logs.open("w"))).toHaveLength(ENTRIES)
    expect(events).toEqual([])
    await logs.close()
  })
})
