import { describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { pages } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"
import { position } from "../../src/wire/protocol.ts"
import {
  checkDamaged,
  checkHealed,
  flipped,
  heal,
  pathOf,
  served,
  until,
  type Written,
  without,
  write,
} from "../support/harmed-log.ts"
import { FOLDER, Journal, openSmall, smallSizes } from "../support/log-workload.ts"

const long = process.env["HEADWATER_LONG"] === "1"
/** Offset of the first record in a segment's file: the length of the header before it. */
const RECORDS = 4224

describe("damage that comes while a log is open", () => {
  it("is found by a read: the other entries are served, and followers hear that the log broke", async () => {
    const { files } = await write()
    let breaks = 0
    let found = 0
    for (const [path, bytes] of files) {
      const step = long ? 1 : path.endsWith(".idx") ? 397 : 29
      for (let at = RECORDS; at < bytes.length; at += step) {
        // Of the zeros that pad a block, damage only every eighth, because the log treats them all alike.
        if (long && at % 8 > 0 && bytes.subarray(at - 16, at + 16).every((byte) => byte === 0)) continue
        const broke = await liveThrough(await write(), path, at).catch((error) => {
          throw new Error(`byte ${at} of ${path}`, { cause: error })
        })
        if (broke) breaks++
        found++
      }
    }
    expect(breaks).toBeGreaterThan(50)
    expect(found).toBeGreaterThan(breaks)
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
    // `served` finds no damage in a preamble whose undamaged block is still in memory. The look-ups of `checkDamaged`
    // read the preambles from the disk.
    const missing = await checkDamaged(log, written)
    expect(broken).toBe(missing.length > 0 ? 1 : 0)
    expect(await log.holds(end)).toBe(missing.length === 0)
    await heal(log, written)
    await logs.close()
    const again = await openSmall(disk)
    const reopened = await again.open("w")
    await checkHealed(reopened, journal)
    await again.close()
    return broken > 0
  }

  it("is noticed by a look-up that read its answer before the log was mended and returns it afterwards", async () => {
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
    const path = pathOf(files, "2.log")
    sim.rot(path, Buffer.from(files.get(path)!).indexOf(entry.chunks[0]!) + 1)
    expect(await served(log, journal)).toEqual(new Set([...journal.appended.keys()].filter((other) => other !== name)))
    open()
    expect(await looked).toBeUndefined()
    await logs.close()
  })

  it("makes appends fail until the log is mended, and no position is given to two entries", async () => {
    const { disk, journal } = await write()
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    disk.rot(pathOf(disk.files(), "1.log"), RECORDS + 200)
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

  it("is mended once, though many reads meet it at the same time, and all of them are answered", async () => {
    const { disk, journal } = await write()
    const events: string[] = []
    const logs = await openSmall(disk, ({ event }) => events.push(event))
    const log = await logs.open("w")
    let broken = 0
    log.onBreak(() => broken++)
    disk.rot(pathOf(disk.files(), "1.log"), RECORDS + 200)
    disk.rot(pathOf(disk.files(), "2.log"), RECORDS + 200)
    const readers = Array.from({ length: 5 }, () => log.since(0, 10_000))
    const looks = [...journal.appended.values()].map(({ entry, changes }) => log.known(entry.entity, changes[0]!.hash))
    for (const { entries } of await Promise.all(readers)) expect(entries).toHaveLength(8)
    await Promise.all(looks)
    expect(broken).toBe(1)
    expect(events.filter((event) => event === "log.damage")).toHaveLength(1)
    await logs.close()
  })
})

describe("a log that has gone on after damage", () => {
  /** The segments in which the body of a record is damaged, one in each test: 1 and 2 are sealed, 3 is not. */
  const harmed = ["1.log", "2.log", "3.log"]

  /**
   * Checks a log that was damaged and then appended to: one entry is missing, and the log holds only cursors that it
   * gave after it found the damage. `later` has the entries that were appended after that.
   */
  async function checkGoneOn(log: Log, written: Written, later: Journal): Promise<void> {
    const missing = await checkDamaged(log, written, later)
    expect(missing).toHaveLength(1)
    for (const [name, cursor] of written.journal.acked) expect(await log.holds(cursor), name).toBe(false)
    const there = await served(log, written.journal, later)
    for (const [name, cursor] of later.acked) {
      expect(there.has(name)).toBe(true)
      expect(await log.holds(cursor), name).toBe(true)
    }
    for (const { cursor } of await pages(log, 0, 1)) {
      const before = position(cursor) < Math.min(...[...later.acked.values()].map(position)) - 1
      if (!before) expect(await log.holds(cursor)).toBe(true)
    }
  }

  /** Damages a file, has the log find the damage, and appends until two more segments are sealed. */
  async function goOn(written: Written, file: string): Promise<{ log: Log; later: Journal; close(): Promise<void> }> {
    const { disk, files } = written
    disk.restore(flipped(files, pathOf(files, file), RECORDS + 300))
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    await served(log, written.journal)
    const later = new Journal()
    for (let i = 0; i < 10; i++) await later.append(log, "later")
    await until(() => [...disk.files().keys()].filter((path) => path.endsWith(".idx")).length === 5)
    return { log, later, close: () => logs.close() }
  }

  it.each(harmed)("in %s keeps the rules of cursors and look-ups when segments are sealed afterwards", async (file) => {
    const written = await write()
    const { log, later, close } = await goOn(written, file)
    await checkGoneOn(log, written, later)
    await close()
    for (let times = 0; times < 2; times++) {
      const logs = await openSmall(written.disk)
      const reopened = await logs.open("w")
      await checkGoneOn(reopened, written, later)
      await later.append(reopened, "later")
      await logs.close()
    }
  })

  it.each(harmed)("in %s keeps these rules when the index of any other segment is lost or damaged", async (file) => {
    for (const index of ["1.idx", "2.idx", "3.idx", "4.idx", "5.idx"]) {
      const written = await write()
      const { later, close } = await goOn(written, file)
      await close()
      const files = written.disk.snapshot()
      const path = pathOf(files, index)
      // Only the index of the damaged segment says at which segment the log went on. The next test loses that index.
      if (index[0] === file[0]) continue
      for (const damaged of [without(files, path), flipped(files, path, 100), flipped(files, path, 4096 + 100)]) {
        written.disk.restore(damaged)
        const logs = await openSmall(written.disk)
        await checkGoneOn(await logs.open("w"), written, later).catch((error) => {
          throw new Error(`without ${index}`, { cause: error })
        })
        await logs.close()
      }
    }
  })

  it.each(harmed)("in %s makes its cursors unknown when that index is lost, but loses no entry", async (file) => {
    const written = await write()
    const { later, close } = await goOn(written, file)
    await close()
    const files = written.disk.snapshot()
    written.disk.restore(without(files, pathOf(files, file.replace("log", "idx"))))
    const logs = await openSmall(written.disk)
    const log = await logs.open("w")
    expect(await checkDamaged(log, written, later)).toHaveLength(1)
    const there = await served(log, written.journal, later)
    for (const [name, cursor] of later.acked) {
      expect(there.has(name)).toBe(true)
      expect(await log.holds(cursor), name).toBe(false)
    }
    await heal(log, written)
    await logs.close()
  })

  it("lists no orphan that was given back, though later segments are sealed and indexes are made again", async () => {
    const written = await write()
    const { log, later, close } = await goOn(written, "1.log")
    await heal(log, written)
    for (let i = 0; i < 10; i++) await later.append(log, "later")
    await until(() => [...written.disk.files().keys()].some((path) => path.endsWith("8.idx")))
    await close()
    const files = written.disk.snapshot()
    for (const index of [...files.keys()].filter((path) => path.endsWith(".idx"))) {
      written.disk.restore(without(files, index))
      const logs = await openSmall(written.disk)
      await heal(await logs.open("w"), written)
      await logs.close()
    }
  })

  it("says of every entity that it may have orphans once there are more orphans than its list may hold", async () => {
    const { disk, files, journal } = await write()
    disk.restore(flipped(files, pathOf(files, "1.log"), RECORDS + 300))
    // The list of orphans may hold one. One of the three entities loses its first change, and three changes depend on
    // the lost change.
    const sizes = { ...smallSizes, orphans: 1 }
    for (let times = 0; times < 2; times++) {
      const logs = await openLogs({ folder: FOLDER, disk: disk.disk, clock: nodeClock, report: () => {}, sizes })
      const log = await logs.open("w")
      await served(log, journal)
      for (const entity of ["a", "b", "c", "never heard of"]) expect(log.hasOrphans(entity), entity).toBe(true)
      await logs.close()
    }
  })

  it.each(harmed)("in %s can be damaged a second time, in an entry appended after the first damage", async (file) => {
    const written = await write()
    const { later, close } = await goOn(written, file)
    await close()
    const files = written.disk.snapshot()
    written.disk.restore(flipped(files, pathOf(files, "5.log"), RECORDS + 300))
    const logs = await openSmall(written.disk)
    const log = await logs.open("w")
    const there = await served(log, written.journal, later)
    expect(later.appended.size - [...later.appended.keys()].filter((name) => there.has(name)).length).toBe(1)
    for (const [name, cursor] of later.acked) expect(await log.holds(cursor), name).toBe(false)
    await checkDamaged(log, written, later)
    await later.append(log, "more")
    expect(await log.holds(log.end)).toBe(true)
    await logs.close()
  })
})
