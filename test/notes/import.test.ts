import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { changedAt, createdAt, timeOf } from "../../examples/notes/dates.ts"
import { exportNotes } from "../../examples/notes/export.ts"
import { type FileToImport, importNotes } from "../../examples/notes/import.ts"
import { formatNote } from "../../examples/notes/markdown.ts"
import { notes as definition, fieldsOf } from "../../examples/notes/notes.ts"
import { PART } from "../../examples/notes/splice.ts"

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
const nothing = { created: 0, updated: 0, unchanged: 0, problems: [], remarks: [] }

describe("importing", () => {
  it("makes a note of every file, and names the files that cannot be imported", async () => {
    const report = await importNotes(ws.notes, [
      file("work/a.md", "---\ntags: [x]\nnested: { deep: [1, null, true] }\n---\n# A\n"),
      file("bad.md", new Uint8Array([0xff])),
      file("empty.md", ""),
      file("half.md", '---\nhalf: "\\ud800"\n---\n'),
      file("near.md", "---\ntitle: Meeting: sprint\n---\n"),
      { path: "gone.md", bytes: () => Promise.reject(new Error("no such file")) },
      file("b.md", "B"),
    ])
    expect(report).toEqual({
      ...nothing,
      created: 4,
      remarks: [
        {
          path: "near.md",
          what: "`title` of its front matter is not valid YAML, so the field has its text as it is written",
        },
      ],
      problems: expect.arrayContaining([
        { path: "bad.md", why: "it is not UTF-8 text; save it as UTF-8 and import it again" },
        { path: "empty.md", why: "it is empty" },
        { path: "gone.md", why: "it could not be read: no such file" },
      ]),
    })
    expect(report.problems.length).toBe(3)
    const a = ws.notes.all().find((row) => row.title === "A")
    expect(a && fieldsOf(a)).toEqual({
      fileHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      title: "A",
      body: "# A\n",
      file: "work/a.md",
      fileFront: "tags: [x]\nnested: { deep: [1, null, true] }\n",
      tags: ["x"],
      nested: { deep: [1, null, true] },
    })
  })

  it("changes nothing when the same files are imported again, with and without ids", async () => {
    const files = [file("a.md", "A"), file("long.md", "y".repeat(20_000)), file("c.md", "---\nid: c1\n---\nC")]
    await importNotes(ws.notes, files)
    const before = ws.notes.all()
    expect(await importNotes(ws.notes, files)).toEqual({ ...nothing, unchanged: 3 })
    expect(ws.notes.all()).toBe(before)
  })

  it("keeps edits of a note when the same file is imported again", async () => {
    const long = "y".repeat(200_000)
    const files = [file("a.md", "# A\n"), file("b.md", "---\ntags: [x]\n---\nB"), file("long.md", long)]
    await importNotes(ws.notes, files)
    for (const { id } of ws.notes.all()) {
      await ws.notes.update(id, (draft, edit) => {
        draft.title = `${draft.title}, edited`
        edit.splice("body", 0, 0, "edited ")
      })
    }
    const before = ws.notes.all()
    expect(await importNotes(ws.notes, files)).toEqual({ ...nothing, unchanged: 3 })
    expect(ws.notes.all()).toBe(before)
  })

  it("makes a second note of another file with the same path, and reports it", async () => {
    await importNotes(ws.notes, [file("README.md", "# One\n")])
    const report = await importNotes(ws.notes, [file("README.md", "# Two\n")])
    const remarks = [{ path: "README.md", what: "a note from another file of this path exists; this is a second note" }]
    expect(report).toEqual({ ...nothing, created: 1, remarks })
    expect(
      ws.notes
        .all()
        .map(({ title }) => title)
        .sort(),
    ).toEqual(["One", "Two"])
    for (const one of ["One", "Two"]) {
      expect((await importNotes(ws.notes, [file("README.md", `# ${one}\n`)])).unchanged).toBe(1)
    }
  })

  it("reports fields that its author may not expect", async () => {
    const foreign = file("intro.md", "---\nid: guides/intro\n---\ntext")
    const report = await importNotes(ws.notes, [foreign])
    const remarks = [{ path: "intro.md", what: "`id` of its front matter became the field `original-id`" }]
    expect(report).toEqual({ ...nothing, created: 1, remarks })
    expect(ws.notes.all()[0]).toMatchObject({ "original-id": "guides/intro", body: "text" })
    expect(await importNotes(ws.notes, [foreign])).toEqual({ ...nothing, unchanged: 1 })
  })

  it("writes a file with a note's id into that note, and restores a deleted note", async () => {
    await ws.notes.create({ title: "Old", body: "one two", tags: ["gone"] }, { id: "n1" })
    await ws.notes.create({ title: "Deleted", body: "" }, { id: "n2" })
    await ws.notes.delete("n2")
    const report = await importNotes(ws.notes, [
      file("n1.md", "---\nid: n1\ntitle: New\n---\none and two"),
      file("n2.md", "---\nid: n2\ntitle: Back\n---\nagain"),
      file("twice.md", "---\nid: n1\n---\n"),
    ])
    const problems = [{ path: "twice.md", why: "its id is also in n1.md; give one of the two files another id" }]
    expect(report).toEqual({ ...nothing, updated: 2, problems })
    expect(fieldsOf(ws.notes.get("n1")!)).toEqual({ title: "New", body: "one and two", file: "n1.md" })
    expect(fieldsOf(ws.notes.get("n2")!)).toEqual({ title: "Back", body: "again", file: "n2.md" })
  })

  it("removes a field that the file no longer has, whatever its name", async () => {
    for (const name of ["constructor", "toString", "valueOf", "hasOwnProperty", "other"]) {
      const of = (front: string) => [file("a.md", `---\nid: ${name}\ntitle: a\n${front}---\ntext`)]
      await importNotes(ws.notes, of(`${name}: x\n`))
      expect(fieldsOf(ws.notes.get(name)!), name).toMatchObject({ [name]: "x" })
      expect(await importNotes(ws.notes, of("")), name).toEqual({ ...nothing, updated: 1 })
      expect(fieldsOf(ws.notes.get(name)!), name).toEqual({ title: "a", body: "text", file: "a.md" })
      expect(await importNotes(ws.notes, of("")), name).toEqual({ ...nothing, unchanged: 1 })
    }
  })

  it("imports files up to the limit whole, although one change holds less, and reports longer files", async () => {
    const long = (length: number) => "0123456789 word\n".repeat(length / 16).padEnd(length, "x")
    const faces = `${"x".repeat(PART - 1)}${"🙂".repeat(120_000)}` // every cut would split a surrogate pair
    const files = [261_000, 300_000, 999_000].map((length) => file(`${length}.md`, long(length)))
    const report = await importNotes(ws.notes, [...files, file("faces.md", faces), file("5 MB.md", long(5_000_000))])
    const problems = [{ path: "5 MB.md", why: "it is 5.0 MB long; split it into files of at most 1 MB" }]
    expect(report).toEqual({ ...nothing, created: 4, problems })
    for (const row of ws.notes.all()) {
      const whole = (await ws.notes.read(row.id))?.body
      expect(whole === (row.file === "faces.md" ? faces : long(Number.parseInt(row.file ?? "", 10))), row.file).toBe(
        true,
      )
    }
    expect((await importNotes(ws.notes, files)).unchanged).toBe(3)
  })

  it("replaces the body of a note by a long or a short one, in several changes if necessary", async () => {
    await ws.notes.create({ title: "Short", body: "old" }, { id: "short" })
    const bodies = { first: "a".repeat(150_000), second: `🙂${"b🙂".repeat(50_000)}`, third: "c" }
    for (const body of Object.values(bodies)) {
      const report = await importNotes(ws.notes, [file("short.md", `---\nid: short\ntitle: Long\n---\n${body}`)])
      expect(report).toEqual({ ...nothing, updated: 1 })
      const whole = await ws.notes.read("short")
      expect(whole?.body === body && whole.title === "Long").toBe(true)
    }
  })
})

describe("an import that is interrupted", () => {
  const long = Array.from({ length: 30_000 }, (_, n) => `line ${n}\n`).join("")
  const twoParts = long.slice(0, PART + 1000)
  const parts = Math.ceil(long.length / PART)

  /** Imports on a disk that fails after `saved` writes. Then opens the notes again, as after a closed tab. */
  async function interrupted(saved: number, of: FileToImport) {
    let writes = 0
    const store = memoryStore({
      step: (name) => {
        if (name === "commit" && ++writes > saved) throw new Error("the quota is exceeded")
      },
    })
    const openHere = () => openWorkspace({ id: "notes", collections: { notes: definition }, store })
    const before = await openHere()
    const report = await importNotes(before.notes, [of])
    expect(report.problems).toEqual([{ path: of.path, why: expect.stringContaining("STORE_FAILED") }])
    await before.close()
    writes = Number.NEGATIVE_INFINITY
    return openHere()
  }

  it.each([
    ["without an id", file("long.md", `---\ntags: [x]\n---\n${long}`)],
    ["with an id", file("long.md", `---\nid: n1\ntags: [x]\n---\n${long}`)],
  ])("of a file %s is completed by importing the file again", async (_, of) => {
    for (let saved = 1; saved < parts; saved++) {
      const again = await interrupted(saved, of)
      try {
        const [half] = again.notes.all()
        expect(half).toMatchObject({ tags: ["x"], filePart: { length: saved * PART } })
        expect((await again.notes.read(half!.id))?.body).toBe(long.slice(0, saved * PART))
        await again.notes.update(half!.id, (_, edit) => edit.splice("body", 0, 0, "edited here, "))

        const report = await importNotes(again.notes, [of])
        const remarks = [{ path: "long.md", what: complete }]
        expect(report).toEqual({ ...nothing, updated: 1, remarks })
        expect(again.notes.all().length).toBe(1)
        const whole = await again.notes.read(half!.id)
        expect(whole?.body === `edited here, ${long}`).toBe(true)
        expect(whole?.filePart).toBe(undefined)
        if (half!.id !== "n1") expect(await importNotes(again.notes, [of])).toEqual({ ...nothing, unchanged: 1 })
      } finally {
        await again.close()
      }
    }
  })

  const complete = "its last import was interrupted; the note is complete now"
  const edited = long.replace("line 13000", "line 13,000")

  it.each([
    ["without an id", ""],
    ["with an id", "id: n1\n"],
  ])("of a file %s is completed by the file after its author has edited it", async (_, id) => {
    const again = await interrupted(2, file("long.md", `---\n${id}tags: [x]\n---\n${long}`))
    try {
      const [half] = again.notes.all()
      const now = file("long.md", `---\n${id}title: Edited\n---\n${edited}`)
      const failing = { ...again.notes, update: vi.fn(again.notes.update) }
      failing.update.mockImplementationOnce(again.notes.update).mockRejectedValueOnce(new Error("gone"))
      expect((await importNotes(failing, [now])).problems.length).toBe(1) // this import is interrupted, too
      expect((await again.notes.read(half!.id))?.filePart).toMatchObject({ length: 0 })
      const remarks = [{ path: "long.md", what: complete }]
      expect(await importNotes(again.notes, [now])).toEqual({ ...nothing, updated: 1, remarks })
      const whole = await again.notes.read(half!.id)
      expect(whole).toMatchObject({ title: "Edited" })
      expect([whole?.body === edited, whole?.filePart, whole?.tags]).toEqual([true, undefined, undefined])
      expect(await importNotes(again.notes, [now])).toEqual({ ...nothing, unchanged: 1 })
      const to = { read: async () => undefined, write: async () => {} }
      expect(await exportNotes(again.notes, to)).toEqual({ exported: 1, problems: [] })
    } finally {
      await again.close()
    }
  })

  it("is completed by a moved file, but not by a copy beside the file", async () => {
    const of = file("long.md", twoParts)
    const again = await interrupted(1, of)
    try {
      const [half] = again.notes.all()
      expect(await importNotes(again.notes, [file("copy.md", twoParts), of])).toMatchObject({ created: 1, updated: 1 })
      expect((await again.notes.read(half!.id))?.file).toBe("long.md")
    } finally {
      await again.close()
    }
    const moved = file("folder/moved.md", twoParts)
    const later = await interrupted(1, of)
    try {
      const remarks = [{ path: "folder/moved.md", what: complete }]
      expect(await importNotes(later.notes, [moved])).toEqual({ ...nothing, updated: 1, remarks })
      const whole = await later.notes.read(later.notes.all()[0]!.id)
      expect([whole?.body === twoParts, whole?.file]).toEqual([true, "folder/moved.md"])
      expect(await importNotes(later.notes, [moved])).toEqual({ ...nothing, unchanged: 1 })
    } finally {
      await later.close()
    }
  })

  it("is not completed by another file of the same path in the same import", async () => {
    const of = file("long.md", twoParts)
    const again = await interrupted(1, of)
    try {
      const report = await importNotes(again.notes, [file("long.md", "# Other\n"), of])
      expect(report).toMatchObject({ created: 1, updated: 1, problems: [] })
      const bodies = await Promise.all(again.notes.all().map(async ({ id }) => (await again.notes.read(id))?.body))
      expect(bodies.sort()).toEqual(["# Other\n", twoParts])
    } finally {
      await again.close()
    }
  })

  it("of a file that replaces a note stays incomplete until the last part is written", async () => {
    const of = file("n1.md", `---\nid: n1\ntitle: T\n---\n${long}`)
    const fails = { ...ws.notes, update: vi.fn(ws.notes.update) }
    await ws.notes.create({ title: "T", body: "old" }, { id: "n1" })
    fails.update.mockImplementationOnce(ws.notes.update).mockRejectedValueOnce(new Error("gone"))
    expect((await importNotes(fails, [of])).problems.length).toBe(1)
    expect((await ws.notes.read("n1"))?.filePart).toMatchObject({ length: 0 })
    expect(await importNotes(ws.notes, [of])).toMatchObject({ updated: 1, problems: [] })
    const whole = await ws.notes.read("n1")
    expect([whole?.body === long, whole?.filePart]).toEqual([true, undefined])
    expect(await importNotes(ws.notes, [of])).toEqual({ ...nothing, unchanged: 1 })
  })

  it("is not exported over its file, and the export reports it", async () => {
    const of = file("long.md", long)
    const again = await interrupted(1, of)
    try {
      const written: string[] = []
      const to = { read: async () => new Blob([long]), write: async (path: string) => void written.push(path) }
      const why = "its import was interrupted; import the file again, then export"
      expect(await exportNotes(again.notes, to)).toEqual({ exported: 0, problems: [{ path: "long.md", why }] })
      expect(written).toEqual([])
    } finally {
      await again.close()
    }
  })

  it("is completed only once by two imports of the file at the same time", async () => {
    const of = file("long.md", long)
    const again = await interrupted(1, of)
    try {
      await Promise.all([importNotes(again.notes, [of]), importNotes(again.notes, [of])])
      expect((await again.notes.read(again.notes.all()[0]!.id))?.body === long).toBe(true)
    } finally {
      await again.close()
    }
  })
})

describe("the dates of an imported note", () => {
  it.each([
    ["created: 2020-01-02\ndate: 2021-01-02\nupdated: 2022-01-02", "2022-01-02"],
    ["created: 2020-01-02\ndate: 2021-01-02T10:30:00+01:00", "2021-01-02T10:30:00+01:00"],
    ["created: 2020-01-02", "2020-01-02"],
    ["updated: soon\ncreated: 1577923200", "1577923200"],
    ["date: 2021-02-30", undefined],
    ["dated: 2020-01-02", undefined],
  ])("come from its front matter: %j", async (front, date) => {
    await importNotes(ws.notes, [file("a.md", `---\n${front}\n---\ntext`)])
    const [row] = ws.notes.all()
    expect(row?.fileDate).toBe(date)
    expect(changedAt(row!)).toBe(date === undefined ? row!.$updatedAt : timeOf(date))
  })

  it("are exported unchanged, whatever the page shows", async () => {
    const front = "title: T\ncreated: 2020-01-02\nupdated: 2022-01-02 08:00\n"
    await importNotes(ws.notes, [file("a.md", `---\n${front}---\ntext`)])
    const [row] = ws.notes.all()
    expect(formatNote("n1", fieldsOf(row!))).toBe(`---\nid: n1\n${front}---\ntext`)
    expect(createdAt(row!)).toBe(new Date(2020, 0, 2).getTime())
  })

  it("are read in the forms that occur in front matter", () => {
    const local = new Date(2026, 10, 2, 9, 5, 7).getTime()
    for (const text of [
      "2026-11-02 09:05:07",
      "2026-11-2T9:05:07.123",
      "2026/11/02 09:05:07",
      "2026-11-02, 9:05:07 AM",
      "20261102T090507",
      20261102090507,
    ]) {
      expect(timeOf(text), String(text)).toBe(local)
    }
    const utc = Date.UTC(2026, 10, 2, 9, 5, 7)
    for (const text of [
      "2026-11-02T09:05:07Z",
      "2026-11-02 10:05:07 +01:00",
      "2026-11-02T05:35:07-0330",
      "2026-11-02 10:05:07 pm +13:00",
      "20261102T090507Z",
      "20261102T100507+0100",
      utc,
      utc / 1000,
    ]) {
      expect(timeOf(text), String(text)).toBe(utc)
    }
    expect(timeOf(`2026-11-02 12:05${" ".repeat(60_000)}x`)).toBe(undefined) // in linear time
    expect(timeOf("2026-11-02 12:05 am")).toBe(new Date(2026, 10, 2, 0, 5).getTime())
    expect(timeOf("2026-11-02 12:05pm")).toBe(new Date(2026, 10, 2, 12, 5).getTime())
    expect(timeOf(202611020905)).toBe(new Date(2026, 10, 2, 9, 5).getTime())
    expect(timeOf(20261102)).toBe(new Date(2026, 10, 2).getTime())
    for (const text of [
      "0001-01-01T00:00:00Z",
      "0000-00-00",
      20261131,
      20261302,
      202611022505,
      202611020,
      "20261102T09",
    ]) {
      expect(timeOf(text), String(text)).toBe(undefined)
    }
    for (const text of ["", "2026", "2026-13-01", "2026-11-31", "11/02/2026", "tomorrow", null, true, {}, 12]) {
      expect(timeOf(text), String(text)).toBe(undefined)
    }
  })
})
