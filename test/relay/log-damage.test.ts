import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { pages, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { position } from "../../src/wire/protocol.ts"
import { dice } from "../support/dice.ts"
import { type Files, simDisk } from "../support/disk.ts"
import {
  checkDamaged,
  cut,
  flipped,
  pathOf,
  survive,
  surviveHere,
  until,
  without,
  write,
} from "../support/harmed-log.ts"
import { FOLDER, Journal, openSmall, smallSizes } from "../support/log-workload.ts"

const long = process.env["HEADWATER_LONG"] === "1"

/**
 * Yields the offsets at which a file is damaged, one at a time. In a long run these are all offsets, but only every
 * eighth among zeros, because the log treats the zeros of its padding alike. In a short run it is one offset per step,
 * and fewer between the two copies of a header.
 */
function* places(path: string, bytes: Uint8Array, steps: Steps): Generator<number> {
  const step = path.endsWith(".idx") ? steps.index : steps.log
  const isEmpty = (at: number) => bytes.subarray(Math.max(0, at - 16), at + 16).every((byte) => byte === 0)
  for (let at = 0; at < bytes.length; at += long ? 1 : at > 128 && at < 4096 ? Math.max(64, step) : step)
    if (!long || at % 8 === 0 || !isEmpty(at)) yield at
}

interface Steps {
  readonly log: number
  readonly index: number
}

const FILES = ["1.log", "2.log", "3.log", "1.idx", "2.idx"]
const told = (events: readonly string[]) => events.some((event) => /^log\.(damaged|torn|missing)$/.test(event))

describe("a log of which", () => {
  it.each(FILES)("any one byte of %s is wrong loses at most one entry, and the loss is noticed", async (name) => {
    const written = await write()
    const path = pathOf(written.files, name)
    const losses = new Map<number, number>()
    for (const at of places(path, written.files.get(path)!, { log: 11, index: 97 })) {
      const { missing, events } = await survive(written, flipped(written.files, path, at)).catch((error) => {
        throw new Error(`byte ${at} of ${path}`, { cause: error })
      })
      losses.set(missing.length, (losses.get(missing.length) ?? 0) + 1)
      if (missing.length > 0) expect(told(events)).toBe(true)
    }
    expect([...losses.keys()].sort()).toEqual(name.endsWith(".log") ? [0, 1] : [0])
    if (name.endsWith(".log")) expect(losses.get(1)).toBeGreaterThan(40)
  })

  it.each(FILES)("%s is cut at any length serves the other segments, and the loss is noticed", async (name) => {
    const written = await write()
    const path = pathOf(written.files, name)
    for (const size of places(path, written.files.get(path)!, { log: 17, index: 997 })) {
      const { missing, events } = await survive(written, cut(written.files, path, size)).catch((error) => {
        throw new Error(`${path} cut to ${size}`, { cause: error })
      })
      if (name.endsWith(".idx")) expect(missing).toEqual([])
      // The last segment may be cut off where a record ends. The log then looks like a shorter log, so it reports
      // nothing. Only the cursors of clients show the loss.
      else if (name === "3.log") expect(missing.length).toBeGreaterThan(0)
      else expect(told(events)).toBe(true)
    }
  })

  it.each(["00000001.log", "00000002.log", "00000001.idx", "00000002.idx"])("%s is gone goes on", async (name) => {
    const written = await write()
    const { missing, events } = await survive(written, without(written.files, pathOf(written.files, name)))
    expect(missing.length).toBe(name.endsWith(".idx") ? 0 : 4)
    expect(told(events)).toBe(name.endsWith(".log"))
  })

  it("the last segment is gone ends earlier, and does not hold the cursors from behind its new end", async () => {
    const written = await write()
    const files = without(written.files, pathOf(written.files, "3.log"))
    expect((await survive(written, files)).missing.length).toBe(2)
  })

  it.each([1, 2, 3, 4])("the last segment is sealed makes its index anew when block %i of it is bad", async (block) => {
    const { disk, files, journal } = await write(9)
    const sealed = without(files, pathOf(files, "3.log"))
    const damaged = flipped(sealed, pathOf(sealed, "2.idx"), 4096 * block + 10)
    const { missing, events } = await survive({ disk, files: sealed, journal }, damaged)
    expect(missing).toHaveLength(1)
    expect(events).toContain("log.damage")
    expect(events).not.toContain("log.broken")
  })

  it("the end is torn reports that with level info, and damage elsewhere with level error", async () => {
    const { disk, files } = await write()
    const path = pathOf(files, "3.log")
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

  it("both copies of a segment's header are damaged sets the segment aside and goes on", async () => {
    const written = await write()
    const path = pathOf(written.files, "3.log")
    const { missing } = await survive(written, flipped(flipped(written.files, path, 20), path, 4096 + 20))
    expect(missing.length).toBe(2)
    expect([...written.disk.files().keys()]).toContain(`${path}.lost`)
  })

  it("the files come from two copies is not opened, and its files stay as they are", async () => {
    const { disk, files } = await write(3)
    const goOn = async (segmentEntries: number) => {
      disk.restore(files)
      const sizes = { ...smallSizes, segmentEntries }
      const logs = await openLogs({ folder: FOLDER, disk: disk.disk, clock: nodeClock, report() {}, sizes })
      const journal = new Journal()
      for (let i = 0; i < 6; i++) await journal.append(await logs.open("w"), "d")
      await logs.close()
      return disk.snapshot()
    }
    const [one, other] = [await goOn(4), await goOn(6)]
    const second = pathOf(one, "2.log")
    const mixed = new Map([...other].filter(([path]) => path.endsWith(".log"))).set(second, one.get(second)!)
    disk.restore(mixed)
    const logs = await openSmall(disk)
    await expect(logs.open("w")).rejects.toMatchObject({ code: "LOG_FAILED" })
    await logs.close()
    for (const [path, bytes] of mixed) expect(disk.files().get(path)).toEqual(bytes)
  })
})

describe("a log that is being mended", () => {
  const lastHarmed = (files: Files) => flipped(files, pathOf(files, "3.log"), 4224 + 20)
  const harms: [string, number, (files: Files) => Files][] = [
    ["an entry of the first segment", 1, (files) => flipped(files, pathOf(files, "1.log"), 4224 + 300)],
    ["a preamble of the second segment", 1, (files) => flipped(files, pathOf(files, "2.log"), 4224 + 20)],
    ["the last segment and an index", 1, (files) => flipped(lastHarmed(files), pathOf(files, "1.idx"), 5000)],
    ["the whole first segment", 4, (files) => without(files, pathOf(files, "1.log"))],
    ["an index", 0, (files) => flipped(files, pathOf(files, "1.idx"), 5000)],
    ...[2, 3, 4].map((block): (typeof harms)[0] => {
      const harm = (files: Files) => flipped(lastHarmed(files), pathOf(files, "2.idx"), 4096 * block + 10)
      return [`the last segment and block ${block} of the index before`, 1, harm]
    }),
  ]

  it.each(harms)("because of %s may be interrupted at any step, and is mended all the same", async (_, lost, harm) => {
    const written = await write()
    for (let n = 1, done = false; !done; n++) {
      let operations = 0
      const disk = simDisk({
        random: dice(n),
        names: "any",
        before: () => void (++operations === n && disk.crash()),
      })
      disk.restore(harm(written.files))
      const opened = openSmall(disk).then((logs) => logs.open("w"))
      const looked = opened.then((log) => checkDamaged(log, written))
      done = await Promise.race([looked.then(() => true), until(() => operations >= n).then(() => false)])
      disk.crash()
      operations = Infinity
      const { missing } = await surviveHere({ ...written, disk }).catch((error) => {
        throw new Error(`operation ${n}`, { cause: error })
      })
      expect(missing).toHaveLength(lost)
    }
  })
})

describe("a log that is damaged in several ways at once", () => {
  const harm = fc.record({
    file: fc.double({ min: 0, max: 0.999, noNaN: true }),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    how: fc.constantFrom("flip", "flip", "flip", "cut", "zero", "remove"),
  })

  it("serves undamaged entries, knows only changes with all their deps, and takes lost ones again", async () => {
    const written = await write(14)
    await fc.assert(
      fc.asyncProperty(fc.array(harm, { minLength: 1, maxLength: 5 }), async (harms) => {
        let files = written.files
        for (const { file, at, how } of harms) {
          const path = [...files.keys()][Math.floor(file * files.size)]
          if (path === undefined) break
          const bytes = files.get(path)!
          const place = Math.floor(at * bytes.length)
          const isZeroed = (i: number) => i >= place && i < place + 512
          if (how === "flip") files = flipped(files, path, place)
          else if (how === "cut") files = cut(files, path, place)
          else if (how === "zero") {
            files = new Map(files).set(
              path,
              bytes.map((byte, i) => (isZeroed(i) ? 0 : byte)),
            )
          } else files = without(files, path)
        }
        await survive(written, files)
      }),
      { numRuns: long ? 3000 : 150 },
    )
  })
})

describe("a log that was put back", () => {
  it("from an older copy holds no cursor from after the copy was made, whatever is appended later", async () => {
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
  it("is never taken for a record, even where damage makes the log search its bytes for the next record", async () => {
    const foreign = (await write()).files
    const record = foreign.get(pathOf(foreign, "3.log"))!.slice(4224)
    const disk = simDisk({ random: dice(1) })
    const log = await (await openSmall(disk)).open("w")
    const { entry, changes } = sample("trojan horse")
    await log.flushed(log.append({ ...entry, chunks: [record, record] }, changes))
    const honest = sample("honest", { entity: "b" })
    await log.flushed(log.append(honest.entry, honest.changes))
    disk.kill()
    disk.rot(pathOf(disk.files(), "1.log"), 4224 + 9)
    const again = await (await openSmall(disk)).open("w")
    const entities = (await pages(again, 0, 1000)).flatMap(({ entries }) => entries.map(({ entry }) => entry.entity))
    expect(entities).toEqual(["b"])
  })
})
