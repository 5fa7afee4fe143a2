/**
 * A `nodeStore` on a full disk: all saved records can be read, none is lost, and no failed write counts as saved.
 */
import { randomBytes } from "node:crypto"
import path from "node:path"
import { collection, openWorkspace, shape } from "headwater"
import { nodeStore } from "headwater/node"
import { describe, expect, test } from "vitest"
import { keys } from "../../src/replica/disk/records.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { SmallDisk, whyNoSmallDisk } from "../support/full-disk.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string; more?: string }>())
/** The library's timers run 20 times as fast here, so that it checks the store four times a second. */
const env = { ...systemEnv, after: (ms: number, f: () => void, b?: boolean) => systemEnv.after(ms / 20, f, b) }
const open = (disk: SmallDisk, id = "w") =>
  openWorkspace({ id, collections: { notes }, store: nodeStore(path.join(disk.path, "data")), env })
const full = { code: "STORE_FAILED", message: expect.stringMatching(/no space left/i) }
const titles = (ws: Awaited<ReturnType<typeof open>>) => ws.notes.all().map(({ title }) => title)

const why = whyNoSmallDisk()
describe.skipIf(why !== undefined)(`a full disk${why === undefined ? "" : ` (none here: ${why})`}`, () => {
  test.each([0, 4096, 12_288, 16_384, 20_480, 32_768, 65_536])(
    "with %d bytes left is opened and read, and takes writes again once there is room",
    async (left) => {
      using disk = new SmallDisk(8)
      let ws = await open(disk)
      for (let i = 0; i < 20; i++) await ws.notes.create({ title: `${i} `.padEnd(2000, "x") }, { id: `n${i}` })
      await ws.close()
      disk.fill(left)
      for (let opening = 0; opening < 3; opening++) {
        ws = await open(disk)
        expect(titles(ws)).toHaveLength(20)
        expect(await ws.notes.read("n7")).toMatchObject({ title: expect.stringMatching(/^7 x/) })
        if (left > 0) disk.fill()
        await expect(ws.notes.create({ title: "y".repeat(100_000) })).rejects.toMatchObject(full)
        expect(ws.status).toMatchObject({ phase: "error", error: full })
        expect(titles(ws)).toHaveLength(20)
        await ws.close()
      }
      ws = await open(disk)
      expect(titles(ws)).toHaveLength(20)
      disk.makeRoom()
      await ws.notes.create({ title: "saved" })
      expect(ws.status).toMatchObject({ phase: "local", error: null })
      await ws.close()
      ws = await open(disk)
      expect(titles(ws)).toHaveLength(21)
      await ws.close()
    },
  )

  test("on which a record is damaged is opened and read, and the record is made again once there is room", async () => {
    using disk = new SmallDisk(8)
    let ws = await open(disk)
    for (let i = 0; i < 20; i++) await ws.notes.create({ title: `${i}` }, { id: `n${i}` })
    await ws.close()
    const store = nodeStore(path.join(disk.path, "data"))
    const release = await store.claim("w")
    await store.commit([[keys.row("w", "notes", "n7"), "{damaged"]])
    await release()
    disk.fill()
    ws = await open(disk)
    expect(titles(ws)).toHaveLength(19)
    expect(ws.status).toMatchObject({ phase: "error", error: full })
    expect(await ws.notes.read("n8")).toMatchObject({ title: "8" })
    await expect(ws.notes.create({ title: "y" })).rejects.toMatchObject(full)
    disk.makeRoom()
    await ws.notes.create({ title: "saved" })
    await until(() => titles(ws).length === 21 && ws.status.error === null, ws)
    expect(ws.notes.get("n7")).toMatchObject({ title: "7" })
    await ws.close()
  })

  test("that fills up in the middle of a session has all that was saved, readable at once", async () => {
    using disk = new SmallDisk(24)
    let ws = await open(disk)
    const saved: string[] = []
    for (let refused = 0, i = 0; refused < 3; i++) {
      const title = `${i}`
      const more = randomBytes(25_000).toString("hex") // compression could at most halve this text
      await ws.notes.create({ title, more }).then(
        () => saved.push(title),
        (error) => {
          expect(error).toMatchObject(full)
          refused++
        },
      )
      if (i === 50) disk.fill(6 * 2 ** 20) // by now, LevelDB's log has megabytes
    }
    expect(saved.length).toBeGreaterThan(50)
    expect(titles(ws).sort()).toEqual([...saved].sort())
    await ws.close()
    ws = await open(disk)
    expect(titles(ws).sort()).toEqual([...saved].sort())
    disk.makeRoom()
    await ws.notes.create({ title: "saved" })
    expect(titles(ws)).toHaveLength(saved.length + 1)
    await ws.close()
  })
})
