import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import { logConformance } from "../../relay/log/conformance.ts"
import { type LogsOptions, openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"
import { tinySizes } from "../support/log-workload.ts"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

const quiet = { clock: nodeClock, report: () => {} }
/** Sizes with which every test's log has many segments. */
const small = { sizes: { segmentEntries: 17, segmentBytes: 20_000, blockBytes: 64 * 1024 } }

describe.each<[string, Partial<LogsOptions>]>([
  ["with segments of the usual size", {}],
  ["with many segments and a small cache", small],
  ["with every size as small as it may be", { sizes: tinySizes }],
])("the log %s", (_, options) => {
  describe("on the real disk", () => {
    it.each(logConformance)("$name", async ({ run }) => {
      const folder = mkdtempSync(join(tmpdir(), "log-"))
      folders.push(folder)
      await run(() => openLogs({ ...quiet, ...options, folder: join(folder, "data"), disk: nodeDisk }))
    })
  })

  describe("on the simulated disk", () => {
    it.each(logConformance)("$name", async ({ run }) => {
      const { disk } = simDisk({ random: dice(1) })
      await run(() => openLogs({ ...quiet, ...options, folder: "/data", disk }))
    })
  })
})

describe("logs that nobody has borrowed", () => {
  /** A disk that records the folders that are listed, because a log lists its folder when it is opened. */
  const listingDisk = () => {
    const listed: string[] = []
    const { disk } = simDisk({
      random: dice(1),
      before: ({ kind, path }) => void (kind === "list" && listed.push(path)),
    })
    return { disk, listed }
  }

  it("stay open up to a limit; past it, the one that was borrowed longest ago is closed first", async () => {
    const { disk, listed } = listingDisk()
    const logs = await openLogs({ ...quiet, folder: "/data", disk, sizes: { logs: 2 } })
    const use = async (workspace: string) => {
      const log = await logs.open(workspace)
      const { entry, changes } = sample(`of ${workspace}`)
      if (log.appended === 0) await log.flushed(log.append(entry, changes))
      expect((await log.since(0, 1)).entries[0]!.entry).toEqual(entry)
      await log.close()
      return listed.splice(0).length
    }
    expect([await use("a"), await use("b"), await use("a"), await use("b")]).toEqual([1, 1, 0, 0])
    expect([await use("c"), await use("b"), await use("c"), await use("a")]).toEqual([1, 0, 0, 1])
    const held = await logs.open("b")
    expect([await use("c"), await use("d"), await use("e"), await use("b")]).toEqual([1, 1, 1, 0])
    expect((await held.since(0, 1)).entries).toHaveLength(1)
    await logs.close()
  })

  it("are closed when they keep too much in memory, even if they are few", async () => {
    const { disk, listed } = listingDisk()
    const logs = await openLogs({ ...quiet, folder: "/data", disk, sizes: { idleBytes: 500_000 } })
    const use = async (workspace: string, entries = 0) => {
      const log = await logs.open(workspace)
      for (let i = 0; i < entries; i++) {
        const { entry, changes } = sample(`${i} of ${workspace}`, { entity: `e${i}` })
        log.append(entry, changes)
      }
      await log.flushed(log.appended)
      await log.close()
      return listed.splice(0).length
    }
    expect([await use("small"), await use("large", 1000), await use("larger", 1000)]).toEqual([1, 1, 1])
    expect([await use("larger"), await use("small"), await use("large")]).toEqual([0, 1, 1])
    expect([await use("small"), await use("large")]).toEqual([0, 0])
    await logs.close()
  })
})

/** How many elements of maps are visited while `act` runs. */
async function visited(act: () => Promise<void>): Promise<number> {
  const { prototype } = Map
  const iterate = prototype[Symbol.iterator]
  let visits = 0
  prototype[Symbol.iterator] = function* (this: Map<unknown, unknown>) {
    for (const element of { [Symbol.iterator]: () => iterate.call(this) }) {
      visits++
      yield element as [unknown, unknown]
    }
  } as typeof iterate
  try {
    await act()
  } finally {
    prototype[Symbol.iterator] = iterate
  }
  return visits
}

describe("closing a borrowed log", () => {
  it("leaves it open for the next borrower, however many others are in use", async () => {
    const { disk } = simDisk({ random: dice(1) })
    const logs = await openLogs({ ...quiet, folder: "/data", disk, sizes: { logs: 2 } })
    for (const workspace of ["a", "b", "c"]) await logs.open(workspace)
    const lent = await logs.open("d")
    await lent.close()
    const again = await logs.open("d")
    expect(again).toBe(lent)
    await logs.close()
  })

  it("costs the same with 500 others as with none", async () => {
    const { disk } = simDisk({ random: dice(1) })
    const logs = await openLogs({ ...quiet, folder: "/data", disk, sizes: { logs: 10 } })
    const lent = await Promise.all(Array.from({ length: 500 }, (_, i) => logs.open(`w${i}`)))
    const visits = await visited(async () => {
      for (const log of lent) await log.close()
    })
    expect(visits).toBeLessThan(4 * lent.length)
    await logs.close()
  })
})

describe("an entry that no record can hold", () => {
  it("is refused, and leaves the log as it was", async () => {
    const { disk } = simDisk({ random: dice(1) })
    const logs = await openLogs({ ...quiet, folder: "/data", disk })
    const log = await logs.open("w")
    const one = sample("one")
    const { entry, changes } = sample("two", { entity: "two", seq: 2 ** 32 })
    const first = log.append(one.entry, one.changes)
    expect(() => log.append(entry, changes)).toThrow(RangeError)
    const backwards = { ...one.changes[0]!, startOp: 12, maxOp: 10 }
    expect(() => log.append(entry, [backwards])).toThrow(RangeError)
    expect(() => log.append(entry, [], new Uint8Array(9 * 2 ** 20))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
    expect(await log.entity("two")).toBeUndefined()
    await log.flushed(first)
    const last = sample("three", { entity: "three" })
    await log.flushed(log.append(last.entry, last.changes))
    await logs.close()
    const again = await (await openLogs({ ...quiet, folder: "/data", disk })).open("w")
    expect((await again.since(0, 10_000)).entries.map(({ entry }) => entry)).toEqual([one.entry, last.entry])
  })
})
