import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, shape } from "headwater"
import { nodeStore } from "headwater/node"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { type Change, deriveChange, isDerived, readChange } from "../../src/wire/chunk.ts"
import { forged, type Op, put } from "../support/hostile.ts"
import { startRelay, type TestRelay } from "../support/relay.ts"

// Each test pushes one entity with unusual changes. A replica must not rely on a relay to refuse such changes, so the
// relay of these tests accepts all of them, even a forged genesis. The replica sets the bad changes aside, and goes on
// with all other changes.
vi.mock("../../src/wire/named-changes.ts", async (original) => ({
  ...(await original<typeof import("../../src/wire/named-changes.ts")>()),
  derivation: (entity: string, _: string, change: Change) => (isDerived(entity, change) ? "derived" : undefined),
}))
const notes = collection("notes", shape<{ title: string }>())
const ODD = "odd"
const NOBODY = "0".repeat(32)

let folder: string
let relay: TestRelay
beforeEach(async () => {
  await loadAutomerge()
  folder = mkdtempSync(path.join(tmpdir(), "headwater-poison-"))
  relay = await startRelay()
})
afterEach(async () => {
  await relay[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const open = () =>
  openWorkspace({ id: "w", collections: { notes }, store: nodeStore(folder), relay: { url: relay.url } })

/** Pushes changes of the entity `ODD`, as any program that speaks the protocol could. The relay accepts all of them. */
async function push(changes: readonly Change[], of = "notes"): Promise<void> {
  const wire = await relay.dial()
  wire.pull()
  await wire.level()
  const entry = { entity: ODD, collection: of, kind: "change" as const, chunks: changes.map(({ chunk }) => chunk) }
  await wire.ack(wire.push([entry]))
  expect(wire.received.filter(({ t }) => t === "reject")).toEqual([])
}

/** Makes a change without deps, under its derived actor. */
const root = (...ops: Op[]): Change => readChange(deriveChange(ODD, forged({ actor: NOBODY, ops }).chunk))
const edit = (on: Change, ...ops: Op[]): Change => editOf(on, ops)
const editOf = ({ hash, maxOp }: Change, ops: Op[]): Change => forged({ deps: [hash], startOp: maxOp + 1, ops })
const type = (action: string, more: Record<string, unknown> = {}): Op => ({
  action,
  obj: "_root",
  key: "@type",
  pred: [],
  ...more,
})

const genesis = () => genesisOf(ODD, "notes")
const odd: [string, () => Change[]][] = [
  ["no @type", () => [root(put())]],
  ["no @type, and an edit of it", () => [root(put()), edit(root(put()), put({ key: "title" }))]],
  ["the name Büro", () => [genesisOf(ODD, "Büro")]],
  ["an empty name", () => [genesisOf(ODD, "")]],
  ["a name of 300 characters", () => [genesisOf(ODD, "n".repeat(300))]],
  ["a number for a name", () => [root(type("set", { value: 5, datatype: "int" }))]],
  [
    "a text object for a name",
    () => [
      root(type("makeText"), {
        action: "set",
        obj: `1@${NOBODY}`,
        elemId: "_head",
        insert: true,
        value: "ü",
        pred: [],
      }),
    ],
  ],
  ["a map for a name", () => [root(type("makeMap"))]],
  ["a list for a name", () => [root(type("makeList"))]],
  ["a name that is changed later", () => [genesis(), edit(genesis(), type("set", { value: "Büro" }))]],
  ["a name that becomes a text", () => [genesis(), edit(genesis(), type("makeText"))]],
  [
    "a name that is taken away later",
    () => [genesis(), edit(genesis(), type("del", { pred: [`1@${genesis().actor}`] }))],
  ],
]

for (const [what, changes] of odd) {
  test(`an entity with ${what} stops nobody: its bad change is set aside, also after a restart`, async () => {
    await push(changes())
    let ws = await open()
    const written: Promise<unknown>[] = []
    for (let i = 0; i < 20; i++) {
      written.push(ws.notes.create({ title: `${i}` }))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await ws.whenSynced()
    await Promise.all(written)
    const sound = changes().length > 1 && changes()[0]?.hash === genesis().hash ? [ODD] : []
    for (let session = 0; session < 2; session++) {
      expect(ws.status).toMatchObject({ phase: "live", error: { code: "CHUNK_BAD", entity: ODD } })
      expect([...replicaOf(ws).bad.keys()]).toEqual([ODD])
      expect([...replicaOf(ws).rows.names()]).toEqual(["notes"])
      expect(ws.notes.all()).toHaveLength(20 + sound.length)
      expect(ws.notes.all().flatMap(({ id }) => (id === ODD ? [id] : []))).toEqual(sound)
      await ws.whenStored()
      await ws.close()
      ws = await open()
      await ws.whenSynced()
      await ws.notes.update(ws.notes.all().find(({ id }) => id !== ODD)!.id, (draft) => void (draft.title = "again"))
    }
    await ws.close()
  })
}

test("an entity is shown in the collection of its genesis, whatever collection its entry names", async () => {
  await push([genesis(), edit(genesis(), put({ key: "title", value: 5 }))], "tasks")
  const ws = await open()
  await ws.whenSynced()
  await ws.notes.create({ title: "here" }, { id: "here" })
  await ws.whenStored()
  expect(ws.notes.all().map(({ id }) => id)).toEqual(["here", ODD])
  // The relay has the entity in "tasks", so it refuses this edit, and the edit goes to the rejected list.
  await ws.notes.update(ODD, (draft) => void (draft.title = "mine"))
  await expect(ws.whenStored()).rejects.toMatchObject({ code: "REJECTED" })
  expect(ws.status).toMatchObject({ phase: "live", error: { code: "REJECTED", entity: ODD }, pending: 0 })
  await ws.notes.update("here", (draft) => void (draft.title = "goes on"))
  await ws.whenStored()
  await ws.close()
})

/** Makes maps nested `levels` deep. Automerge accepts them, but a recursive walk could overflow the stack. */
function deep(levels: number): Op[] {
  const first = genesis().maxOp + 1
  return Array.from({ length: levels }, (_, level) => {
    const obj = level === 0 ? "_root" : `${first + level - 1}@${"f".repeat(32)}`
    return { action: "makeMap", obj, key: "d", pred: [] }
  })
}

for (const levels of [64, 65, 5000, 20_000]) {
  test(`an entity of ${levels} levels is shown down to 64 levels, the limit for values written here`, async () => {
    await push([genesis(), editOf(genesis(), deep(levels))])
    for (let session = 0; session < 2; session++) {
      const ws = await open()
      await ws.whenSynced()
      await ws.notes.update(ODD, (draft) => void (draft.title = "mine"))
      let shown = 0
      for (let at: any = ws.notes.get(ODD); at?.d; at = at.d) shown++
      expect(shown).toBe(Math.min(levels, 64))
      await ws.whenStored()
      await ws.close()
    }
  })
}
