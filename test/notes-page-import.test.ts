import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { exportNotes } from "../examples/notes/export.ts"
import { importNotes } from "../examples/notes/import.ts"
import { notes as definition, fieldsOf } from "../examples/notes/notes.ts"

const open = () => openWorkspace({ id: "notes", collections: { notes: definition }, store: memoryStore() })
let ws: Awaited<ReturnType<typeof open>>
beforeEach(async () => {
  ws = await open()
})
afterEach(() => ws.close())

const file = (path: string, content: string | Uint8Array) => ({
  path,
  bytes: async () => (typeof content === "string" ? new TextEncoder().encode(content) : content),
})
const nothing = { created: 0, updated: 0, unchanged: 0, problems: [] }

describe("importing", () => {
  it("makes a note of every file and names those that it cannot", async () => {
    const report = await importNotes(ws.notes, [
      file("work/a.md", "---\ntags: [x]\nnested: { deep: [1, null, true] }\n---\n# A\n"),
      file("bad.md", new Uint8Array([0xff])),
      file("empty.md", ""),
      file("infinite.md", "---\nn: .inf\n---\n"),
      { path: "gone.md", bytes: () => Promise.reject(new Error("no such file")) },
      file("b.md", "B"),
    ])
    expect(report).toEqual({
      ...nothing,
      created: 2,
      problems: expect.arrayContaining([
        { path: "bad.md", why: "it is not UTF-8" },
        { path: "empty.md", why: "it is empty" },
        { path: "infinite.md", why: expect.stringContaining("VALUE_UNSUPPORTED") },
        { path: "gone.md", why: "it could not be read: no such file" },
      ]),
    })
    expect(report.problems.length).toBe(4)
    const a = ws.notes.all().find((row) => row.title === "A")
    expect(a && fieldsOf(a)).toEqual({
      title: "A",
      body: "# A\n",
      file: "work/a.md",
      tags: ["x"],
      nested: { deep: [1, null, true] },
    })
  })

  it("the same files again changes nothing, with and without ids", async () => {
    const files = [file("a.md", "A"), file("long.md", "y".repeat(20_000)), file("c.md", "---\nid: c1\n---\nC")]
    await importNotes(ws.notes, files)
    const before = ws.notes.all()
    expect(await importNotes(ws.notes, files)).toEqual({ ...nothing, unchanged: 3 })
    expect(ws.notes.all()).toBe(before)
  })

  it("a file with the id of a note becomes its content, and brings a deleted one back", async () => {
    await ws.notes.create({ title: "Old", body: "one two", tags: ["gone"] }, { id: "n1" })
    await ws.notes.create({ title: "Deleted", body: "" }, { id: "n2" })
    await ws.notes.delete("n2")
    const report = await importNotes(ws.notes, [
      file("n1.md", "---\nid: n1\ntitle: New\n---\none and two"),
      file("n2.md", "---\nid: n2\ntitle: Back\n---\nagain"),
      file("twice.md", "---\nid: n1\n---\n"),
    ])
    const problems = [{ path: "twice.md", why: "it has the same id as n1.md" }]
    expect(report).toEqual({ ...nothing, updated: 2, problems })
    expect(fieldsOf(ws.notes.get("n1")!)).toEqual({ title: "New", body: "one and two", file: "n1.md" })
    expect(fieldsOf(ws.notes.get("n2")!)).toEqual({ title: "Back", body: "again", file: "n2.md" })
  })
})

it("what is exported imports elsewhere as the same notes, and here as no change", async () => {
  await importNotes(ws.notes, [
    file("work/a.md", "---\ntags: [x]\nrating: 4.5\n---\n# A\n---\nrest"),
    file("long.md", "y".repeat(20_000)),
  ])
  await ws.notes.create({ title: "Typed here: a/b", body: "" })
  const exported = await exportNotes(ws.notes)
  expect(exported.map(({ path }) => path).sort()).toEqual(["Typed here- a-b.md", "long.md", "work/a.md"])
  const files = exported.map(({ path, text }) => file(path, text))
  expect(await importNotes(ws.notes, files.slice(0, 2))).toEqual({ ...nothing, unchanged: 2 })

  const other = await open()
  try {
    expect((await importNotes(other.notes, files)).created).toBe(3)
    const whole = async (of: typeof ws) => {
      const rows = await Promise.all(of.notes.all().map((row) => of.notes.read(row.id)))
      // a note that came from no file has come from one now
      return rows.map((row) => ({ id: row?.id, ...fieldsOf(row!), file: undefined }))
    }
    expect(await whole(other)).toEqual(await whole(ws))
  } finally {
    await other.close()
  }
})
