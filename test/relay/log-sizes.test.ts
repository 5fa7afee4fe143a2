import { describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { Blocks } from "../../relay/log/files/blocks.ts"
import { OpenFiles } from "../../relay/log/files/open-files.ts"
import type { LogSizes } from "../../relay/log/log-sizes.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { pages, type Sample, sample } from "../../relay/log/samples.ts"
import { decodeHeader, HEADER_BYTES } from "../../relay/log/segment/header.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { type SimDisk, simDisk } from "../support/disk.ts"

const openWith = (disk: SimDisk, sizes: Partial<LogSizes>) =>
  openLogs({ folder: "/data", disk: disk.disk, clock: nodeClock, report() {}, sizes })

/** An entry with two changes. */
function pair(i: number): Sample {
  const [one, two] = [sample(`one ${i}`, { entity: `e${i}` }), sample(`two ${i}`, { entity: `e${i}`, seq: 2 })]
  const chunks = [...one.entry.chunks, ...two.entry.chunks]
  return { entry: { ...one.entry, chunks }, changes: [...one.changes, ...two.changes] }
}

/**
 * Appends entries one by one. Each is flushed, and each segment that it fills is sealed, before the next entry is
 * appended.
 */
async function fill(disk: SimDisk, log: Log, entries: number, from = 0): Promise<void> {
  for (let i = from; i < entries; i++) {
    const { entry, changes } = pair(i)
    await log.flushed(log.append(entry, changes))
    const count = (ending: string) => [...disk.files().keys()].filter((path) => path.endsWith(ending)).length
    while (count(".idx") < count(".log") - 1) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** The positions after which the segments begin, read from their headers. */
function basesOf(disk: SimDisk): number[] {
  const segments = [...disk.files()].filter(([path]) => path.endsWith(".log")).sort(([a], [b]) => (a < b ? -1 : 1))
  return segments.map(([, bytes]) => decodeHeader(Buffer.from(bytes.subarray(0, HEADER_BYTES)))!.base)
}

describe("a segment is full", () => {
  const basesWith = async (sizes: Partial<LogSizes>, reopen: boolean) => {
    const disk = simDisk({ random: dice(1) })
    let logs = await openWith(disk, sizes)
    await fill(disk, await logs.open("w"), 7)
    if (reopen) {
      await logs.close()
      logs = await openWith(disk, sizes)
    }
    await fill(disk, await logs.open("w"), 13, 7)
    await logs.close()
    return basesOf(disk)
  }

  it.each([false, true])(
    "at its limit of entries, changes or bytes, whichever comes first (opened again: %s)",
    async (reopen) => {
      expect(await basesWith({}, reopen)).toEqual([0])
      expect(await basesWith({ segmentEntries: 5 }, reopen)).toEqual([0, 5, 10])
      // Each entry has two changes, so a segment with a limit of 8 or 7 changes is full with four entries.
      expect(await basesWith({ segmentChanges: 8 }, reopen)).toEqual([0, 4, 8, 12])
      expect(await basesWith({ segmentChanges: 7 }, reopen)).toEqual([0, 4, 8, 12])
      expect(await basesWith({ segmentEntries: 6, segmentChanges: 7 }, reopen)).toEqual([0, 4, 8, 12])
      // A segment is full once its file has `segmentBytes` bytes, all records and the header counted.
      const disk = simDisk({ random: dice(1) })
      const logs = await openWith(disk, {})
      await fill(disk, await logs.open("w"), 3)
      await logs.close()
      const three = [...disk.files().values()][0]!.length
      expect((await basesWith({ segmentBytes: three }, reopen))[1]).toBe(3)
      expect((await basesWith({ segmentBytes: three + 1 }, reopen))[1]).toBe(4)
      expect((await basesWith({ segmentBytes: three - 1 }, reopen))[1]).toBe(3)
      expect((await basesWith({ segmentBytes: HEADER_BYTES + 1 }, reopen)).slice(0, 4)).toEqual([0, 1, 2, 3])
    },
  )
})

describe("descriptors", () => {
  it("stay within their limit whatever is read, and all of them are closed in the end", async () => {
    let open = 0
    let most = 0
    const disk = simDisk({
      random: dice(1),
      before({ kind }) {
        if (kind === "open") most = Math.max(most, ++open)
        if (kind === "close") open--
      },
    })
    const limit = 3
    const logs = await openWith(disk, { segmentEntries: 2, openFiles: limit, blockBytes: 0 })
    const log = await logs.open("w")
    await fill(disk, log, 20)
    for (let times = 0; times < 3; times++) {
      expect((await pages(log, 0, 300)).flatMap(({ entries }) => entries)).toHaveLength(20)
      for (let i = 0; i < 20; i++) expect(await log.known(`e${i}`, pair(i).changes[0]!.hash)).toBeDefined()
    }
    // `limit` does not count the file of the current read, the files of the open segment, and a file that is being
    // sealed.
    expect(most).toBeLessThanOrEqual(limit + 4)
    await log.close()
    await logs.close()
    expect(open).toBe(0)
  })

  it("of files that are being read are not closed to make room for others", async () => {
    const disk = simDisk({ random: dice(1), before: ({ kind }) => (kind === "read" ? turn() : undefined) })
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
    await disk.disk.makeFolder("/f")
    for (const name of ["a", "b", "c"]) await (await disk.disk.open(`/f/${name}`)).write(0, Buffer.from(name))
    let closed = 0
    const watched = {
      ...disk.disk,
      async read(path: string) {
        const file = await disk.disk.read(path)
        let reading = 0
        const read: typeof file.read = async (...args) => {
          reading++
          const bytes = await file.read(...args)
          reading--
          return bytes
        }
        const close = () => {
          expect(reading).toBe(0)
          closed++
          return file.close()
        }
        return { ...file, read, close }
      },
    }
    const files = new OpenFiles(watched, 1)
    const all = ["a", "b", "c", "a"].map((name) => files.read(`/f/${name}`, 0, 1))
    expect((await Promise.all(all)).map(String)).toEqual(["a", "b", "c", "a"])
    expect(closed).toBe(2)
    await files.close()
    expect(closed).toBe(3)
  })
})

describe("blocks", () => {
  const BLOCK = 4096
  async function blocksOf(bytes: number) {
    const disk = simDisk({ random: dice(1) })
    await disk.disk.makeFolder("/f")
    for (const name of ["a", "b"]) {
      const file = await disk.disk.open(`/f/${name}`)
      for (let n = 0; n < 20; n++) await file.write(n * BLOCK, Buffer.alloc(BLOCK, `${name}${n % 10}`))
    }
    const files = new OpenFiles(disk.disk, 8)
    const readFor = async (read: () => Promise<unknown>) => {
      const before = disk.bytesRead
      await read()
      return (disk.bytesRead - before) / BLOCK
    }
    return { disk, blocks: new Blocks(files, bytes), readFor }
  }

  it("are kept until they exceed the limit of bytes; then the block that was used longest ago goes first", async () => {
    const { blocks, readFor } = await blocksOf(10 * BLOCK)
    const read = (n: number) => readFor(() => blocks.read("/f/a", n))
    for (let n = 0; n < 10; n++) expect(await read(n)).toBe(1)
    for (let n = 0; n < 10; n++) expect(await read(n)).toBe(0)
    expect(await read(10)).toBe(1)
    expect(await read(1)).toBe(0)
    expect(await read(0)).toBe(1)
    expect(await read(1)).toBe(0)
    expect(await read(2)).toBe(1)
  })

  it("are kept by file and place, and are read again after `forget`", async () => {
    const { disk, blocks, readFor } = await blocksOf(50 * BLOCK)
    const first = async (path: string, n: number) => (await blocks.read(path, n)).toString("latin1", 0, 2)
    for (let n = 0; n < 20; n++) {
      expect(await first("/f/a", n)).toBe(`a${n % 10}`)
      expect(await first("/f/b", n)).toBe(`b${n % 10}`)
    }
    await (await disk.disk.open("/f/a")).write(0, Buffer.alloc(BLOCK, "new"))
    expect(await first("/f/a", 0)).toBe("a0")
    blocks.forget("/f/a")
    expect(await first("/f/a", 0)).toBe("ne")
    expect(await readFor(() => blocks.read("/f/b", 3))).toBe(0)
  })

  it("that are read with `pass` push no others out", async () => {
    const { blocks, readFor } = await blocksOf(8 * BLOCK)
    for (let n = 0; n < 8; n++) await blocks.read("/f/a", n)
    for (let n = 0; n < 20; n++) {
      const pass = () => blocks.pass("/f/b", n, () => {})
      expect(await readFor(pass)).toBe(1)
      expect(await readFor(pass)).toBe(0)
    }
    for (let n = 0; n < 8; n++) expect(await readFor(() => blocks.read("/f/a", n))).toBe(0)
  })

  it("are not kept when their check throws, and a range may cross several", async () => {
    const { blocks, readFor } = await blocksOf(50 * BLOCK)
    const bad = () => {
      throw new Error("bad")
    }
    await expect(blocks.read("/f/a", 0, bad)).rejects.toThrow("bad")
    expect(await readFor(() => blocks.read("/f/a", 0))).toBe(1)
    await expect(blocks.pass("/f/a", 1, bad)).rejects.toThrow("bad")
    expect(await readFor(() => blocks.pass("/f/a", 1, () => {}))).toBe(1)
    const range = async (at: number, length: number) => (await blocks.range("/f/b", at, length)).toString("latin1")
    expect(await range(BLOCK - 2, 4)).toBe("b0b1")
    expect(await range(2 * BLOCK - 2, BLOCK + 4)).toBe(`b1${"b2".repeat(BLOCK / 2)}b3`)
    expect(await range(BLOCK, BLOCK)).toBe("b1".repeat(BLOCK / 2))
    expect(await readFor(() => range(BLOCK, BLOCK))).toBe(0)
    expect(await range(20 * BLOCK - 2, 10)).toBe("b9")
  })
})
