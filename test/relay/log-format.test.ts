import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import { sample } from "../../relay/log/samples.ts"
import { closeBlock } from "../../relay/log/segment/sealed-index-format.ts"
import { dice } from "../support/dice.ts"
import { type Files, simDisk } from "../support/disk.ts"
import { openSmall } from "../support/log-workload.ts"

/** The files of a log: sealed segments of four entries each, and an open segment. */
async function filesOfLog(entries = 6): Promise<Map<string, Uint8Array>> {
  const disk = simDisk({ random: dice(1) })
  const logs = await openSmall(disk)
  const log = await logs.open("w")
  for (let i = 0; i < entries; i++) {
    const { entry, changes } = sample(`${i}`, { entity: `e${i}` })
    await log.flushed(log.append(entry, changes))
  }
  await logs.close()
  return new Map([...disk.snapshot()].map(([path, bytes]) => [path, bytes.slice()]))
}

const fileOf = (files: Files, ending: string): Buffer => {
  const bytes = [...files].find(([path]) => path.endsWith(ending))![1]
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Opens a log with these files. Returns the entities of its entries, its events, and a look-up of e0's change. */
async function openWith(files: Files) {
  const disk = simDisk({ random: dice(2) })
  disk.restore(files)
  const events: string[] = []
  const logs = await openSmall(disk, ({ event }) => events.push(event))
  try {
    const log = await logs.open("w")
    const entities = (await log.since(0, 10_000)).entries.map(({ entry }) => entry.entity)
    return { entities, events, lookUp: await log.known("e0", sample("0").changes[0]!.hash) }
  } finally {
    await logs.close()
  }
}

const ALL = ["e0", "e1", "e2", "e3", "e4", "e5"]

describe("flags that this relay does not know", () => {
  it.each(["1.log", "2.log"])("in the header of segment %s make the log refuse to open", async (ending) => {
    const files = await filesOfLog()
    const file = fileOf(files, ending)
    for (const at of [0, 4096]) {
      file.writeUInt16BE(file.readUInt16BE(at + 10) | 2, at + 10)
      file.writeUInt32BE(crc32(file.subarray(at, at + 124)), at + 124)
    }
    await expect(openWith(files)).rejects.toMatchObject({
      code: "LOG_FAILED",
      message: expect.stringMatching(/flags [23], which this relay does not know/),
    })
  })

  it("in the header of a later sealed segment with a whole index make the log refuse to open", async () => {
    const files = await filesOfLog(10)
    expect([...files.keys()].some((path) => path.endsWith("2.idx"))).toBe(true)
    const file = fileOf(files, "2.log")
    for (const at of [0, 4096]) {
      file.writeUInt16BE(file.readUInt16BE(at + 10) | 2, at + 10)
      file.writeUInt32BE(crc32(file.subarray(at, at + 124)), at + 124)
    }
    await expect(openWith(files)).rejects.toMatchObject({
      code: "LOG_FAILED",
      message: expect.stringMatching(/flags 2, which this relay does not know/),
    })
  })

  it("in an index make the log write a new index", async () => {
    const files = await filesOfLog()
    expect(await openWith(files)).toMatchObject({ entities: ALL, events: [] })
    const index = fileOf(files, ".idx")
    index.writeUInt16BE(index.readUInt16BE(10) | 4, 10)
    closeBlock(index, 0)
    const disk = simDisk({ random: dice(2) })
    disk.restore(files)
    const logs = await openSmall(disk)
    const log = await logs.open("w")
    expect((await log.since(0, 10_000)).entries).toHaveLength(ALL.length)
    expect(fileOf(disk.files(), ".idx").readUInt16BE(10)).toBe(1)
    await logs.close()
  })
})
