/** Checks that memory does not grow with 100,000 acknowledged writes on one device. A short run makes 2,000 writes. */

import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { collection, openWorkspace, shape, text } from "headwater"
import { nodeStore } from "headwater/node"
import { afterEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { endAll, startRelay } from "../support/processes.ts"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"

const WRITES = process.env["HEADWATER_LONG"] === "1" ? 100_000 : 2000
/** Number of writes that begin together, as in an import. */
const AT_ONCE = 100
/**
 * Number of notes. Each batch of writes goes to one note. If each write went to another note, each would hydrate a
 * document.
 */
const NOTES = 200
/** Bytes by which the heap may grow: 64 MiB for live documents, and 32 MiB for the rest, which needs far less. */
const MOST_GROWTH = 96 * 2 ** 20

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

const notes = collection("notes", shape<{ title: string; body: string }>(), { fields: { body: text() } })
const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

test(`${WRITES} writes, each acknowledged, leave the heap as small as it was`, async () => {
  const folder = await newFolder()
  ends.push(() => removeFolder(folder))
  ends.push(async () => endAll())
  const relay = await startRelay(`${folder}/relay`, { seconds: 3600 }) // another process, so its memory does not count
  const ws = await openWorkspace({
    id: "w",
    collections: { notes },
    store: nodeStore(`${folder}/device`),
    relay: { url: relay.url },
  })
  ends.push(() => ws.close())
  const ids: string[] = []
  for (let i = 0; i < NOTES; i++) ids.push((await ws.notes.create({ title: "T", body: "hello" })).id)
  const write = (n: number) =>
    ws.notes.update(ids[Math.floor(n / AT_ONCE) % NOTES] as string, (draft, edit) => {
      draft.title = `T${n}`
      if (n % 3 === 0) edit.splice("body", 0, 1, "h")
    })
  let before = 0
  for (let n = 0; n < WRITES; n += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => write(n + i)))
    await ws.whenStored()
    if (n === 1000) before = heap()
  }
  const after = heap()
  console.log(`heap ${mib(before)} MiB after 1,000 writes, ${mib(after)} MiB after ${WRITES}`)
  expect(ws.status).toMatchObject({ pending: 0, error: null })
  expect([...replicaOf(ws).outbox]).toEqual([])
  expect(ws.notes.all().length).toBe(NOTES)
  expect(after - before).toBeLessThan(MOST_GROWTH)
})

function heap(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0)
