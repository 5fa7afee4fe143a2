/** Automerge's object of a handle, as the bindings of others use it. */
import * as A from "@automerge/automerge"
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import { untilPasses } from "../support/until.ts"

beforeAll(() => loadAutomerge())

interface Note {
  title?: string
  body?: string
  tags?: string[]
  meta?: { source: string }
}
const notes = collection("notes", shape<Note>(), { fields: { body: text() } })
const store = () => memoryStore()
let disk: ReturnType<typeof store>
const open = () => openWorkspace({ id: "w", collections: { notes }, store: disk })
let ws: Awaited<ReturnType<typeof open>>
beforeEach(async () => {
  disk = store()
  ws = await open()
  await ws.notes.create({ title: "T", body: "abc", meta: { source: "x" } }, { id: "a" })
})
afterEach(() => ws.close())

test("a change shows before it returns, and is saved behind that", async () => {
  const handle = await ws.notes.open("a")
  const heard: unknown[] = []
  const spliced: unknown[] = []
  handle.on("change", ({ doc, patches, patchInfo: { before, after } }) =>
    heard.push([before.body, doc.body, after === doc, patches]),
  )
  handle.text("body").subscribe((splices, from) => spliced.push([splices, from]))
  handle.change((doc) => A.splice(doc, ["body"], 3, 0, "d"))
  expect([handle.row.body, (handle.doc() as Note).body]).toEqual(["abcd", "abcd"])
  expect(heard).toEqual([["abc", "abcd", true, [{ action: "splice", path: ["body", 3], value: "d" }]]])
  expect(spliced).toEqual([[[{ at: 3, remove: 0, insert: "d" }], "here"]])
  await handle.saved()
  expect(ws.notes.get("a")?.body).toBe("abcd")
})

test("edits of the handle and of the collection show in the object, with their patches", async () => {
  const handle = await ws.notes.open("a")
  const heard: string[] = []
  const listener = ({ doc, patches }: { doc: Note; patches: readonly A.Patch[] }) =>
    heard.push(`${doc.body} ${patches.map(({ action }) => action)}`)
  handle.on("change", listener)
  handle.text("body").splice(0, 1, "x")
  await handle.saved()
  await ws.notes.update("a", (_, edit) => edit.splice("body", 3, 0, "y"))
  await untilPasses(() => expect(heard).toEqual(["xbc splice,del", "xbcy splice"]))
  handle.off("change", listener)
  handle.text("body").splice(0, 1, "")
  expect(heard.length).toBe(2)
})

test("changes of two kinds alternate, and each follows the other", async () => {
  const handle = await ws.notes.open("a")
  for (let i = 0; i < 5; i++) {
    handle.change((doc) => A.splice(doc, ["body"], 0, 0, `${i}`))
    handle.text("body").splice(0, 0, "-")
  }
  await handle.saved()
  expect(ws.notes.get("a")?.body).toBe("-4-3-2-1-0abc")
  expect(A.getHeads(handle.doc() as A.Doc<Note>).length).toBe(1)
})

test("marks are kept in the text's history, and move with it", async () => {
  const handle = await ws.notes.open("a")
  handle.change((doc) => A.mark(doc, ["body"], { start: 0, end: 2, expand: "none" }, "strong", true))
  handle.text("body").splice(0, 0, "x")
  expect(A.marks(handle.doc() as A.Doc<Note>, ["body"])).toMatchObject([{ start: 1, end: 3, name: "strong" }])
  await handle.close()
  await ws.close()
  ws = await open()
  const again = await ws.notes.open("a")
  expect(A.marks(again.doc() as A.Doc<Note>, ["body"])).toMatchObject([{ start: 1, end: 3, name: "strong" }])
})

test("the values of registers are written whole, with scalar strings", async () => {
  const handle = await ws.notes.open("a")
  handle.change((doc) => {
    doc.title = "U"
    doc.tags = ["p", "q"]
    doc.meta.source = "y"
  })
  const doc = handle.doc() as { title: unknown; tags: unknown[]; meta: { source: unknown } }
  const strings = [doc.title, ...doc.tags, doc.meta.source]
  expect(strings.every((value) => A.isImmutableString(value))).toBe(true)
  expect(handle.row).toMatchObject({ title: "U", tags: ["p", "q"], meta: { source: "y" } })
  await handle.saved()
  expect(ws.notes.get("a")).toMatchObject({ title: "U", tags: ["p", "q"], meta: { source: "y" } })
  handle.change((d) => void delete d.meta)
  expect(Object.hasOwn(handle.row, "meta")).toBe(false)
})

test.each<[string, string, (doc: object) => void]>([
  ["a text in the place of a text", "FIELD_KIND", (doc) => Object.assign(doc, { body: "other" })],
  ["a key of the document", "FIELD_KIND", (doc) => Object.assign(doc, { "@type": "tasks" })],
  ["a key of the row", "FIELD_KIND", (doc) => Object.assign(doc, { $updatedAt: 1 })],
  ["a date", "VALUE_UNSUPPORTED", (doc) => Object.assign(doc, { title: new Date(0) })],
  ["a counter", "VALUE_UNSUPPORTED", (doc) => Object.assign(doc, { title: new A.Counter(1) })],
])("%s is refused, and nothing has changed", async (_, code, f) => {
  const handle = await ws.notes.open("a")
  const heard: unknown[] = []
  handle.on("change", (payload) => heard.push(payload))
  const row = handle.row
  expect(() => handle.change(f)).toThrow(expect.objectContaining({ code }))
  expect([handle.row, heard]).toEqual([row, []])
  handle.change((doc) => A.splice(doc, ["body"], 3, 0, "d"))
  await handle.saved()
  expect(ws.notes.get("a")).toMatchObject({ title: "T", body: "abcd" })
})

test("what the function throws is thrown, and nothing has changed", async () => {
  const handle = await ws.notes.open("a")
  const failing = (doc: A.Doc<Note>) => {
    A.splice(doc, ["body"], 0, 1, "x")
    throw new RangeError("no")
  }
  expect(() => handle.change(failing)).toThrow(RangeError)
  expect([handle.row.body, (handle.doc() as Note).body]).toEqual(["abc", "abc"])
  const mixed = () => handle.change(() => handle.text("body").splice(0, 0, "x"))
  expect(mixed).toThrow(expect.objectContaining({ code: "EDIT_MIXED" }))
  handle.change((doc) => A.splice(doc, ["body"], 0, 0, "x"))
  expect(handle.row.body).toBe("xabc")
})

test("a text that the document lacks is made for a binding, and saved with its first edit only", async () => {
  await ws.notes.create({ title: "no text" }, { id: "b" })
  const [one, changes] = [await ws.notes.open("b"), () => disk.list(["w", "change", "b"])]
  const before = (await changes()).length
  expect((one.doc() as Note).body).toBe("")
  await one.saved()
  expect((await changes()).length).toBe(before)
  one.change((doc) => A.splice(doc, ["body"], 0, 0, "x"))
  await one.close()
  expect(ws.notes.get("b")?.body).toBe("x")
})
