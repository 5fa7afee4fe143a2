import { beforeEach, describe, expect, it } from "vitest"
import { showEditor } from "../../examples/notes/editor.ts"
import { untilPasses } from "../support/until.ts"
import {
  asksBeforeItGoes,
  at,
  gone,
  goOn,
  notice,
  onDisk,
  slowDisk,
  tryAgain,
  type,
  usePage,
  ws,
} from "./editor-page.ts"

usePage()

describe("the page asks before it is closed", () => {
  let saidUnsaved: boolean
  const show = () =>
    showEditor(
      ws.notes,
      () => {},
      (is) => void (saidUnsaved = is),
    )
  const saving = () => new Promise((resolve) => setTimeout(resolve, 50))
  const expectUnsaved = (is: boolean) => expect([asksBeforeItGoes(), saidUnsaved]).toEqual([is, is])
  beforeEach(() => {
    saidUnsaved = false
  })

  /** Types into a note while the disk fails, and leaves the note. */
  async function leaveUnsaved() {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    const editor = show()
    await editor.open(id)
    onDisk(gone)
    type("one two")
    editor.close()
    return { id, editor }
  }

  it("while typed text is being saved", async () => {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    await show().open(id)
    await untilPasses(() => expect(at("saved").textContent).toBe("Saved on this device"))
    expectUnsaved(false)
    slowDisk()
    type("one two")
    expectUnsaved(true)
    await saving()
    expect(ws.notes.get(id)?.body).toBe("one")
    expectUnsaved(true)
    expect(at("saved").textContent).toBe("")
    goOn()
    await untilPasses(() => expect(at("saved").textContent).toBe("Saved on this device"))
    expectUnsaved(false)
    expect(ws.notes.get(id)?.body).toBe("one two")
  })

  it("while text typed in a note that was left is being saved", async () => {
    const editor = show()
    slowDisk()
    editor.create("n1")
    type("precious")
    editor.close()
    editor.create("n2")
    await saving()
    expect(ws.notes.get("n1")).toBe(undefined)
    expectUnsaved(true)
    const written = editor.written("n1")
    goOn()
    await written
    expect(ws.notes.get("n1")?.body).toBe("precious")
    expectUnsaved(false)
    expect([editor.written("n1"), editor.written("n2")]).toEqual([undefined, undefined])
  })

  it("until a note that was left is saved, even while a character is composed in another note", async () => {
    const editor = show()
    slowDisk()
    editor.create("n1")
    type("one")
    await saving()
    type("one two")
    editor.create("n2")
    at("body").dispatchEvent(new Event("compositionstart"))
    goOn()
    await untilPasses(() => expect(ws.notes.get("n1")?.body).toBe("one two"))
    expectUnsaved(false)
  })

  it("while a note that was left is not saved; when it is opened again, its text is there", async () => {
    const { id, editor } = await leaveUnsaved()
    await untilPasses(() =>
      expect(at("report").querySelector("h2").textContent).toMatch(/^"T" was not saved: .*STORE_FAILED/),
    )
    expectUnsaved(true)
    await editor.open(id)
    expect(at("body").value).toBe("one two")
    await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
    onDisk(undefined)
    await tryAgain()
    expect(ws.notes.get(id)?.body).toBe("one two")
    expectUnsaved(false)
  })

  it("no longer once the text of a deleted note was shown in a report", async () => {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    const editor = show()
    await editor.open(id)
    await ws.notes.delete(id)
    type("one two")
    await untilPasses(() => expect(notice()).toMatch(/^This note was deleted. Your text/))
    expectUnsaved(true)
    editor.close()
    await untilPasses(() =>
      expect(at("report").querySelector("h2").textContent).toMatch(/^"T" was not saved: .*DELETED/),
    )
    expectUnsaved(false)
  })

  it("no longer for a new note that failed to be saved, once another note was saved", async () => {
    const editor = show()
    onDisk(gone)
    editor.create("n1")
    type("precious")
    editor.close()
    await untilPasses(() => expect(at("report").querySelector("h2").textContent).toMatch(/not saved/))
    onDisk(undefined)
    editor.create("n2")
    type("other")
    await untilPasses(() => expect(ws.notes.get("n1")?.body).toBe("precious"))
    await untilPasses(() => expectUnsaved(false))
  })

  it("no longer for an unsaved note that was deleted afterwards", async () => {
    const { id } = await leaveUnsaved()
    await untilPasses(() => expect(at("report").querySelector("h2").textContent).toMatch(/not saved/))
    onDisk(undefined)
    await ws.notes.delete(id)
    await untilPasses(() => expectUnsaved(false))
  })
})

describe("a save that reports a failure although it reached the disk", () => {
  const failOnce = () => {
    onDisk((name) => {
      if (name !== "committed") return
      onDisk(undefined)
      gone()
    })
  }

  it("does not insert the text twice", async () => {
    const { id } = await ws.notes.create({ title: "T", body: "one" })
    const editor = showEditor(ws.notes, () => {})
    await editor.open(id)
    failOnce()
    type("one two")
    await untilPasses(() => expect(ws.notes.get(id)?.body).toBe("one two"))
    type("one two three")
    await untilPasses(() => expect(editor.written(id)).toBe(undefined))
    expect([at("body").value, ws.notes.get(id)?.body]).toEqual(["one two three", "one two three"])
  })

  it("leaves a new note that can be edited and saved", async () => {
    const editor = showEditor(ws.notes, () => {})
    editor.create("n1")
    failOnce()
    type("one")
    await untilPasses(() => expect(ws.notes.get("n1")?.body).toBe("one"))
    type("one two")
    await untilPasses(() => expect(ws.notes.get("n1")?.body).toBe("one two"))
    expect(notice()).toBe(undefined)
  })
})

describe("when the disk works again", () => {
  it("the page saves all waiting text, also of notes that were left, and has reported the failure only once", async () => {
    const left = await ws.notes.create({ title: "Left", body: "one" })
    const open = await ws.notes.create({ title: "Open", body: "one" })
    const editor = showEditor(ws.notes, () => {})
    await editor.open(left.id)
    onDisk(gone)
    type("one two")
    editor.create("new")
    type("typed")
    await editor.open(open.id)
    type("one two three")
    await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
    expect(editor.waits).toBe(true)
    const heading = at("report").querySelector("h2")
    expect(heading.textContent).toMatch(/was not saved/)
    heading.textContent = ""
    for (let n = 0; n < 3; n++) {
      editor.retry()
      await untilPasses(() => expect(editor.written(open.id)).toBe(undefined))
    }
    expect(heading.textContent).toBe("")
    onDisk(undefined)
    editor.retry()
    await untilPasses(() => expect(asksBeforeItGoes()).toBe(false))
    expect([editor.waits, notice()]).toEqual([false, undefined])
    expect(ws.notes.get(left.id)?.body).toBe("one two")
    expect(ws.notes.get(open.id)?.body).toBe("one two three")
    expect(ws.notes.get("new")?.body).toBe("typed")
  })
})
