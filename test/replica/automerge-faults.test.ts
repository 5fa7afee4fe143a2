/**
 * Automerge fails as it does when WebAssembly has no memory left. The scenario runs once for each call of Automerge
 * that it makes, and this call fails, alone or with all later calls. Afterwards Automerge works again, and no saved or
 * received change may be missing or marked as bad.
 */
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/automerge.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { failAt } from "../support/failing-automerge.ts"
import { at, first, item, next, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

interface Outcome {
  /** Number of calls of Automerge while `failAt` was in effect. */
  readonly calls: number
  /** Number of writes that failed with `DOCUMENT_FAILED`. */
  readonly refused: number
}

async function scenario(nth: number, on: boolean): Promise<Outcome> {
  const disk = memoryStore()
  const relay = new ScriptedRelay()
  // Creations and projections call Automerge, so that it can fail in them, too.
  const env = { ...relay.env, sizes: { encodeWrites: false, readRows: false } }
  const level = async (items: Parameters<typeof item>[1][], position: number) => {
    const entries = items.map((changes, i) => item(["a", "f"][i]!, changes))
    relay.say({ t: "entries", w, items: entries, cursor: at(position), level: true, ...first })
    await relay.pass(300)
  }
  const before = await open({ url }, disk, env)
  await relay.settle()
  await level([], 1)
  await before.notes.create({ title: "one" }, { id: "a" })
  await before.notes.create({ title: "two" }, { id: "b" })
  await relay.pass(100)
  const ours = relay.heard.flatMap((message) => (message.t === "push" ? message.entries : []))
  const last = ours
    .filter(({ entity }) => entity === "a")
    .flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk)))
    .at(-1) as Change
  await before.close()

  const ws = await open({ url }, disk, env)
  await relay.settle()
  const faults = failAt(nth, on)
  let refused = 0
  const refuses = async (edit: Promise<unknown>): Promise<boolean> => {
    const code = await edit.then(
      () => undefined,
      (error: { code?: string }) => String(error.code),
    )
    if (code !== undefined) expect(code).toBe("DOCUMENT_FAILED")
    refused += Number(code !== undefined)
    return code !== undefined
  }
  const genesis = genesisOf("f", "notes")
  let updateRefused: boolean
  let removeRefused: boolean
  let createRefused: boolean
  try {
    await level([[next(last, 5)], [genesis, next(genesis, 7)]], 2)
    updateRefused = await refuses(ws.notes.update("a", (draft) => void (draft.title = "new")))
    removeRefused = await refuses(ws.notes.delete("b"))
    createRefused = await refuses(ws.notes.create({ title: "three" }, { id: "c" }))
  } finally {
    faults.restore()
  }
  const { calls } = faults
  await relay.pass(20_000)
  const expected = [
    { id: "a", title: updateRefused ? "one" : "new", n: 5 },
    ...(removeRefused ? [{ id: "b", title: "two", n: undefined }] : []),
    ...(createRefused ? [] : [{ id: "c", title: "three", n: undefined }]),
    { id: "f", title: undefined, n: 7 },
  ]
  const shown = (of: typeof ws) => of.notes.all().map(({ id, title, n }) => ({ id, title, n }))
  expect(shown(ws)).toEqual(expected)
  expect(replicaOf(ws).bad.size).toBe(0)
  expect(ws.status.error).toBe(null)
  await ws.notes.update("a", (draft) => void (draft.title = "goes on"))
  await ws.close()
  const again = await open(undefined, disk)
  expect(shown(again)).toEqual(expected.map((row) => (row.id === "a" ? { ...row, title: "goes on" } : row)))
  expect(await again.notes.read("a")).toMatchObject({ title: "goes on", n: 5 })
  await again.close()
  return { calls, refused }
}

test.each([
  { what: "once", on: false },
  { what: "from there on", on: true },
])("a failure of Automerge at any call, $what, loses no change and marks none as bad", async ({ on }) => {
  const { calls, refused } = await scenario(Number.POSITIVE_INFINITY, on)
  expect([calls > 20, refused]).toEqual([true, 0])
  let hurt = 0
  for (let nth = 1; nth <= calls; nth++) {
    const outcome = await scenario(nth, on).catch((error: unknown) => {
      throw new Error(`at call ${nth}`, { cause: error })
    })
    hurt += Number(outcome.refused > 0)
  }
  expect(hurt).toBeGreaterThan(10)
})
