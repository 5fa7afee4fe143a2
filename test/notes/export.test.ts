import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { exportNotes } from "../../examples/notes/export.ts"
import { importNotes } from "../../examples/notes/import.ts"
import { notes as definition, fieldsOf } from "../../examples/notes/notes.ts"

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

describe("exporting", () => {
  it.each([
    ["a field of the front matter", `title: T\nsummary: ${"word ".repeat(1000).trim()}`],
    ["a title", `title: ${"word ".repeat(1000).trim()}`],
  ])("keeps %s that is too long for a row", async (_, front) => {
    await importNotes(ws.notes, [file("a.md", `---\n${front}\n---\nshort body\n`)])
    const written: string[] = []
    const target = {
      read: async () => undefined,
      write: async (_path: string, text: string) => void written.push(text),
    }
    expect(await exportNotes(ws.notes, target)).toMatchObject({ exported: 1, problems: [] })
    expect(written[0]).toContain("word ".repeat(1000).trim())
  })

  /** Makes a folder in memory whose file names are not case-sensitive. */
  function folder(files: Record<string, string | Uint8Array<ArrayBuffer>> = {}) {
    const held = new Map(Object.entries(files).map(([path, content]) => [path.toLowerCase(), { path, content }]))
    return {
      get files() {
        return Object.fromEntries([...held.values()].map(({ path, content }) => [path, content as string]))
      },
      read: async (path: string) => {
        const file = held.get(path.toLowerCase())
        return file && new Blob([file.content])
      },
      write: async (path: string, content: string) => {
        if (path.startsWith("locked")) throw new Error("not allowed")
        held.set(path.toLowerCase(), { path: held.get(path.toLowerCase())?.path ?? path, content })
      },
    }
  }
  /** Creates notes in this order. Their ids are given, because generated ids of one millisecond have no order. */
  const typed = (...titles: string[]) =>
    Promise.all(titles.map((title, n) => ws.notes.create({ title, body: title }, { id: `n${n}` })))
  const imported = (path: string, text: string) => importNotes(ws.notes, [file(path, text)])

  it("writes files that become the same notes elsewhere, and that change nothing when imported here", async () => {
    await imported("work/a.md", "---\ntags: [x]\nrating: 4.5\n---\n# A\n---\nrest")
    await imported("long.md", "y".repeat(20_000))
    await ws.notes.create({ title: "Typed here: a/b", body: "" })
    const to = folder()
    expect(await exportNotes(ws.notes, to)).toEqual({ exported: 3, problems: [] })
    expect(Object.keys(to.files).sort()).toEqual(["Typed here- a-b.md", "long.md", "work/a.md"])
    const files = Object.entries(to.files).map(([path, text]) => file(path, text))
    const cameFromFiles = files.filter(({ path }) => !path.startsWith("Typed"))
    expect(await importNotes(ws.notes, cameFromFiles)).toEqual({ ...nothing, unchanged: 2 })

    const other = await open()
    try {
      expect((await importNotes(other.notes, files)).created).toBe(3)
      const whole = async (of: typeof ws) => {
        const rows = await Promise.all(of.notes.all().map((row) => of.notes.read(row.id)))
        // the other device imported all its notes from files with ids, so these fields differ
        const origin = { file: undefined, fileHash: undefined, fileFront: undefined }
        return rows.map((row) => ({ id: row?.id, ...fieldsOf(row!), ...origin }))
      }
      expect(await whole(other)).toEqual(await whole(ws))
    } finally {
      await other.close()
    }
  })

  it("names the notes that cannot be written or read, and exports the others", async () => {
    await typed("one", "locked", "two")
    await ws.notes.create({ title: "lost", body: "y".repeat(20_000) }, { id: "z" })
    const unreadable = { ...ws.notes, read: () => Promise.reject(new Error("the disk is gone")) }
    const to = folder()
    expect(await exportNotes(unreadable, to)).toEqual({
      exported: 2,
      problems: [
        { path: "locked.md", why: "not allowed" },
        { path: "lost", why: "the disk is gone" },
      ],
    })
    expect(Object.keys(to.files)).toEqual(["one.md", "two.md"])
  })

  it("leaves other files alone, and a second export writes the same files again", async () => {
    const strange = {
      "README.md": "precious",
      "plan.md": "---\nid: another\n---\n",
      "old.md": "---\nid: [\n---\n",
      "Long.md": "x".repeat(2_000_000),
      "bytes.md": new Uint8Array([0xff]),
    }
    const to = folder(strange)
    const titles = ["readme", "plan", "old", "long", "bytes"]
    await typed(...titles, "same", "Same")
    expect(await exportNotes(ws.notes, to)).toEqual({ exported: 7, problems: [] })
    const names = [...Object.keys(strange), ...titles.map((title) => `${title} 2.md`), "same.md", "Same 2.md"]
    expect(Object.keys(to.files)).toEqual(names)
    expect(to.files).toMatchObject(strange)

    for (const { id } of ws.notes.all()) await ws.notes.update(id, (draft) => void (draft.body += ", edited"))
    const before = to.files
    await exportNotes(ws.notes, to)
    expect(Object.keys(to.files)).toEqual(names)
    for (const name of names) expect(to.files[name] !== before[name], name).toBe(!(name in strange))
  })

  it("keeps the order of the file's front matter, also after edits, and an import of it changes nothing", async () => {
    const front = "tags: [x, y] # two\ntitle: T\nnested: { z: 1, a: 2 }\ncreated: 2020-01-02\n"
    await imported("a.md", `---\n${front}---\nbody`)
    const { id } = ws.notes.all()[0]!
    const to = folder()
    await exportNotes(ws.notes, to)
    expect(to.files["a.md"]).toBe(`---\nid: ${id}\n${front}---\nbody`)
    await ws.notes.update(id, (draft) => {
      draft.title = "New"
      draft.body = "new body"
      delete draft.fileDate
    })
    await exportNotes(ws.notes, to)
    expect(to.files["a.md"]).toBe(`---\nid: ${id}\n${front.replace("T", "New")}---\nnew body`)
    expect(await imported("a.md", to.files["a.md"]!)).toEqual({ ...nothing, unchanged: 1 })
    expect(await imported("a.md", to.files["a.md"]!.replace("# two", "# 2"))).toEqual({ ...nothing, updated: 1 })
    await exportNotes(ws.notes, to)
    expect(to.files["a.md"]).toContain("tags: [x, y] # 2\ntitle: New\n")
  })

  const [composed, decomposed] = ["caf\u00e9", "cafe\u0301"]
  /** Returns every combination of the two spellings for a path of `names` names. */
  const spellings = (names: number): string[][] =>
    names === 0 ? [[]] : spellings(names - 1).flatMap((all) => [composed, decomposed].map((name) => [...all, name]))

  it("gives different file names to two notes whose titles differ only in Unicode spelling (NFC, NFD)", async () => {
    await typed(composed, decomposed, composed.toUpperCase())
    const to = folder()
    expect(await exportNotes(ws.notes, to)).toEqual({ exported: 3, problems: [] })
    const names = Object.keys(to.files).map((name) => name.normalize("NFC"))
    expect(names).toEqual([`${composed}.md`, `${composed} 2.md`, `${composed.toUpperCase()} 3.md`])
  })

  it("writes one file for a note, in the spelling that the folder already has", async () => {
    for (const [here, there] of [
      [composed, decomposed],
      [decomposed, composed],
    ] as const) {
      const [text] = [`# ${here}\n`]
      await imported(`${here}.md`, text)
      expect(await imported(`${there}.md`, text)).toEqual({ ...nothing, unchanged: 1 })
      const to = folder({ [`${there}.md`]: text })
      await exportNotes(ws.notes, to)
      await exportNotes(ws.notes, to)
      expect(Object.keys(to.files)).toEqual([`${there}.md`])
      expect(to.files[`${there}.md`]).toMatch(/^---\nid:/)
      for (const { id } of ws.notes.all()) await ws.notes.delete(id)
    }
  })

  it("writes one file for a note if folders and file have different spellings on the disk", async () => {
    const texts: Record<string, string> = {}
    for (const [n, spelled] of spellings(4).entries()) texts[`${n}/${spelled.join("/")}.md`] = `# ${n}\n`
    for (const [path, text] of Object.entries(texts)) await imported(path, text)
    const to = folder(texts)
    expect(await exportNotes(ws.notes, to)).toEqual({ exported: 16, problems: [] })
    expect(Object.keys(to.files)).toEqual(Object.keys(texts))
    for (const text of Object.values(to.files)) expect(text).toMatch(/^---\nid:/)
  })

  it("tries only a limited number of spellings of a path", async () => {
    const path = `${Array(40).fill(composed).join("/")}.md`
    await imported(path, "text")
    const to = folder({ [path.normalize("NFD")]: "text" })
    await exportNotes(ws.notes, to)
    expect(Object.keys(to.files)).toEqual([path.normalize("NFD")])
  })

  it("does not overwrite a file of something else whose name has the other spelling", async () => {
    await typed(composed)
    const to = folder({ [`${decomposed}.md`]: "precious" })
    await exportNotes(ws.notes, to)
    expect(Object.keys(to.files)).toEqual([`${decomposed}.md`, `${composed} 2.md`])
    expect(to.files[`${decomposed}.md`]).toBe("precious")
  })

  it("overwrites the file that the note came from, whatever its name, and an import of it changes nothing", async () => {
    const names = ["a.markdown", "B.MD", "c.txt", "d.TXT", `${"long ".repeat(40)}name.md`, `${"e\u0301".repeat(80)}.md`]
    const to = folder(Object.fromEntries(names.map((name) => [name, `text of ${name}`])))
    for (const [path, text] of Object.entries(to.files)) await imported(path, text)
    for (let times = 0; times < 2; times++) {
      expect(await exportNotes(ws.notes, to)).toEqual({ exported: 6, problems: [] })
      expect(Object.keys(to.files)).toEqual(names)
      const files = Object.entries(to.files).map(([path, text]) => file(path, text))
      expect(await importNotes(ws.notes, files)).toEqual({ ...nothing, unchanged: 6 })
    }
  })

  it("does not overwrite the file that the note came from if that file was changed since", async () => {
    const came = { "a.md": "A", "b.md": "B" }
    for (const [path, text] of Object.entries(came)) await imported(path, text)
    const to = folder({ ...came, "b.md": "B, edited in the folder" })
    await exportNotes(ws.notes, to)
    expect(Object.keys(to.files)).toEqual([...Object.keys(came), "b 2.md"])
    expect(to.files["a.md"]).toMatch(/^---\nid: \S+\ntitle: a\n---\nA$/)
    expect(to.files["b.md"]).toBe("B, edited in the folder")
  })
})
