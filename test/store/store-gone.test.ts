import { mkdir, rename, rm, writeFile } from "node:fs/promises"
import path from "node:path"
import { collection, openWorkspace, shape } from "headwater"
import { nodeStore } from "headwater/node"
import { afterEach, beforeEach, expect, test } from "vitest"
import { systemEnv } from "../../src/sync/system.ts"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string }>())
let parent: string
let folder: string
beforeEach(async () => {
  parent = await newFolder()
  folder = path.join(parent, "data")
})
afterEach(() => removeFolder(parent))

/** A clock whose timers in the background are let go by hand. */
function slowClock() {
  const waiting = new Map<() => void, number>()
  const after: typeof systemEnv.after = (ms, f, background) => {
    if (!background) return systemEnv.after(ms, f)
    waiting.set(f, ms)
    return () => void waiting.delete(f)
  }
  return {
    env: { ...systemEnv, after },
    waiting,
    pass() {
      for (const f of [...waiting.keys()]) {
        waiting.delete(f)
        f()
      }
    },
  }
}
const opened = (env: object = systemEnv) =>
  openWorkspace({ id: "w", collections: { notes }, store: nodeStore(folder), env })

const removals: [string, () => Promise<void>][] = [
  ["removed", () => rm(folder, { recursive: true })],
  ["moved", () => rename(folder, path.join(parent, "elsewhere"))],
  [
    "replaced",
    async () => {
      await rm(folder, { recursive: true })
      await mkdir(folder)
      await writeFile(path.join(folder, "LOCK"), "")
    },
  ],
]

test.each(removals)("a folder that was %s is noticed within 5 s where nobody writes", async (_, remove) => {
  const clock = slowClock()
  const ws = await opened(clock.env)
  await ws.notes.create({ title: "saved" })
  expect([...clock.waiting.values()]).toEqual([5000])
  clock.pass()
  await until(() => clock.waiting.size === 1) // looked at, found, and looked at again later
  expect(ws.status.error).toBe(null)
  await remove()
  const told: (string | undefined)[] = []
  ws.onStatus(({ phase, error }) => told.push(`${phase} ${error?.code}`))
  clock.pass()
  await until(() => told.length > 0)
  expect(told).toEqual(["error STORE_GONE"])
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  expect(ws.notes.all().map(({ title }) => title)).toEqual(["saved"])
  await ws.close()
  expect(clock.waiting.size).toBe(0)
})

test.each(removals)("no write counts as saved in a folder that was %s", async (_, remove) => {
  const ws = await opened(slowClock().env)
  await ws.notes.create({ title: "saved" })
  await remove()
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  expect(ws.status.error?.code).toBe("STORE_GONE")
  await ws.close()
})

test("opened again after that, it is an empty store that works", async () => {
  let ws = await opened()
  await rm(folder, { recursive: true })
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  await ws.close()
  ws = await opened()
  await ws.notes.create({ title: "anew" })
  expect(ws.status.error).toBe(null)
  await ws.close()
})
