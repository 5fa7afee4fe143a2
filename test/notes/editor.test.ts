import { beforeEach, describe, expect, it } from "vitest"
import { showEditor } from "../../examples/notes/editor.ts"
import { PART } from "../../examples/notes/splice.ts"
import { untilPasses } from "../support/until.ts"
import { asksBeforeItGoes, at, gone, notice, onDisk, tryAgain, type, usePage, ws } from "./editor-page.ts"

usePage()

it("says that typed text is not saved until it is, even if the note cannot be read either", async () => {
  const { id } = await ws.notes.create({ title: "Kept", body: "one" })
  const unreadable = { ...ws.notes, read: async () => gone() }
  const editor = showEditor(unreadable, () => {})
  await editor.open(id)
  onDisk(gone)
  type("one two")
  await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
  await tryAgain()
  expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/)

  onDisk(undefined)
  await tryAgain()
  expect(notice()).toBe(undefined)
  expect(ws.notes.get(id)?.body).toBe("one two")
})

it("text that others wrote while a save failed appears once, and so does the typed text", async () => {
  const { id } = await ws.notes.create({ title: "Kept", body: "one" })
  let fails = true
  const failing: typeof ws.notes = {
    ...ws.notes,
    read: async () => gone(),
    /** Before the failing write, a change of another device arrives. */
    async update(id, f) {
      if (fails) await ws.notes.update(id, (draft) => void (draft.body = `zero ${draft.body}`))
      if (fails) onDisk(gone)
      return ws.notes.update(id, f)
    },
  }
  const editor = showEditor(failing, () => {})
  await editor.open(id)
  type("one two")
  await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
  fails = false
  onDisk(undefined)
  await tryAgain()
  expect(at("body").value).toBe("zero one two")
  expect(ws.notes.get(id)?.body).toBe("zero one two")
})

it("a text that is too long for one change is written, and replaced, in several changes", async () => {
  const long = `${"word ".repeat(54_000)}${"🙂".repeat(20_000)}`
  const stored = async (id: string) => (await ws.notes.read(id))?.body
  const editor = showEditor(ws.notes, () => {})
  editor.create("n1")
  for (const text of [long, "x".repeat(PART + 1)]) {
    type(text)
    await untilPasses(async () => expect((await stored("n1")) === text).toBe(true))
    expect(notice()).toBe(undefined)
  }
})

it("edits of others stay in their place while a long text is written in several changes", async () => {
  const { id } = await ws.notes.create({ title: "Long", body: "start end" })
  let theirs = "zero "
  const shared: typeof ws.notes = {
    ...ws.notes,
    async update(id, f) {
      await ws.notes.update(id, (_, edit) => edit.splice("body", 0, 0, theirs))
      theirs = ""
      return ws.notes.update(id, f)
    },
  }
  const editor = showEditor(shared, () => {})
  await editor.open(id)
  const long = "word ".repeat(60_000)
  type(`start ${long}end`)
  const merged = `zero start ${long}end`
  await untilPasses(() => expect(at("body").value === merged).toBe(true))
  expect((await ws.notes.read(id))?.body === merged).toBe(true)
})

describe("a note with line breaks that the inputs cannot show", () => {
  const title = "Two\nlines"
  const text = "one\rtwo\r\nthree\rfour"
  let id: string
  let editor: ReturnType<typeof showEditor>
  let written: string[]
  beforeEach(async () => {
    id = (await ws.notes.create({ title, body: text })).id
    written = []
    ws.notes.subscribe((_, { changed }) => written.push(...changed))
    editor = showEditor(ws.notes, () => {})
    await editor.open(id)
  })

  it("is not changed when it is only opened", async () => {
    expect(at("body").value).toBe("one\ntwo\nthree\nfour")
    expect(asksBeforeItGoes()).toBe(false)
    const other = await ws.notes.create({ title: "Other", body: "" })
    await editor.open(other.id)
    await editor.open(id)
    editor.close()
    await ws.notes.update(id, () => {}) // resolves after all earlier writes
    expect(written).toEqual([])
  })

  it("keeps them, except in the line that is typed in", async () => {
    type("one\ntwo\nthree and more\nfour")
    await untilPasses(() => expect(ws.notes.get(id)?.body).toBe("one\rtwo\r\nthree and more\rfour"))
    await ws.notes.update(id, (draft) => void (draft.body = `zero\r\n${draft.body}`))
    await untilPasses(() => expect(at("body").value).toBe("zero\none\ntwo\nthree and more\nfour"))
    type("zero\none\n\ntwo\nthree and more\nfour")
    await untilPasses(() => expect(at("body").value).toBe("zero\none\n\ntwo\nthree and more\nfour"))
    await untilPasses(() => expect(ws.notes.get(id)?.body).toBe("zero\r\none\n\rtwo\r\nthree and more\rfour"))
    expect(ws.notes.get(id)?.title).toBe(title)
    expect(asksBeforeItGoes()).toBe(false)
  })

  it("keeps them when the first save of typed text fails", async () => {
    onDisk(gone)
    type("one\ntwo\nthree\nfour five")
    await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
    onDisk(undefined)
    await tryAgain()
    expect(ws.notes.get(id)).toMatchObject({ title, body: `${text} five` })
  })
})

describe("a note that was deleted elsewhere while something was typed into it", () => {
  it("is saved as soon as it is restored, and the message about the deletion goes away", async () => {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    await showEditor(ws.notes, () => {}).open(id)
    await ws.notes.delete(id)
    type("one two")
    await untilPasses(() => expect(notice()).toMatch(/^This note was deleted. Your text is still here/))
    await ws.notes.restore(id) // as another device or the button of the message would
    await untilPasses(() => expect(ws.notes.get(id)?.body).toBe("one two"))
    await untilPasses(() => expect(notice()).toBe(undefined))
    expect(asksBeforeItGoes()).toBe(false)
  })

  it("shows the message again when it is deleted again", async () => {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    await showEditor(ws.notes, () => {}).open(id)
    for (let n = 0; n < 2; n++) {
      await ws.notes.delete(id)
      await untilPasses(() => expect(notice()).toBe("This note was deleted."))
      await ws.notes.restore(id)
      await untilPasses(() => expect(notice()).toBe(undefined))
    }
  })
})

it("the first edit of an imported note removes the date of its file; opening the note does not", async () => {
  const { id } = await ws.notes.create({ title: "T", body: "one", fileDate: "2001-02-03" })
  const editor = showEditor(ws.notes, () => {})
  await editor.open(id)
  await untilPasses(() => expect(at("dates").textContent).toMatch(/2001/))
  expect(ws.notes.get(id)?.fileDate).toBe("2001-02-03")
  type("one two")
  await untilPasses(() => expect(ws.notes.get(id)).toMatchObject({ body: "one two" }))
  expect(ws.notes.get(id)).not.toHaveProperty("fileDate")
  await untilPasses(() => expect(at("dates").textContent).not.toMatch(/changed .*2001/))
})

it("a long paste stays in one piece while others write before and after it", async () => {
  const { id } = await ws.notes.create({ title: "Long", body: "start end" })
  let parts = 0
  const theirs = (at: (body: string) => number, insert: string) =>
    ws.notes.update(id, (draft, edit) => edit.splice("body", at(draft.body ?? ""), 0, insert))
  const shared: typeof ws.notes = {
    ...ws.notes,
    async update(id, write) {
      parts++
      if (parts === 2) await theirs(() => 0, "zero ")
      if (parts === 3) await theirs((body) => body.length, " last")
      return ws.notes.update(id, write)
    },
  }
  const editor = showEditor(shared, () => {})
  await editor.open(id)
  const long = "word ".repeat(60_000)
  at("body").selectionEnd = `start ${long}`.length
  type(`start ${long}end`)
  await untilPasses(() => expect(parts).toBe(Math.ceil(long.length / PART)))
  await untilPasses(() => expect(editor.written(id)).toBe(undefined))
  const body = (await ws.notes.read(id))?.body ?? ""
  expect([body.length, body === `zero start ${long}end last`]).toEqual([long.length + 19, true])
}, 60_000)
