import { openWorkspace } from "headwater"
import { type MemoryOptions, memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { showEditor } from "../../examples/notes/editor.ts"
import { notes as definition } from "../../examples/notes/notes.ts"
import { PART } from "../../examples/notes/splice.ts"
import { untilPasses } from "../support/until.ts"

/** The part of an element that the editor uses. test/browser/notes.test.ts runs the editor on real elements. */
class FakeElement extends EventTarget {
  #value = ""
  private readonly lineBreak: string
  constructor(lineBreak = "\n") {
    super()
    this.lineBreak = lineBreak
  }
  get value(): string {
    return this.#value
  }
  /** Changes line breaks as inputs do: a <textarea> has LF only, an <input> has none. */
  set value(text: string) {
    this.#value = text.replace(/\r\n?|\n/g, this.lineBreak)
  }
  textContent = ""
  hidden = false
  selectionStart = 0
  selectionEnd = 0
  onclick: (() => Promise<void>) | undefined
  private readonly children = new Map<string, FakeElement>()
  querySelector(selector: string): FakeElement {
    const found = this.children.get(selector) ?? new FakeElement(selector === "title" ? "" : "\n")
    this.children.set(selector, found)
    return found
  }
  setSelectionRange(): void {}
  replaceChildren(): void {}
  showModal(): void {}
}

let step: MemoryOptions["step"]
const open = () =>
  openWorkspace({
    id: "notes",
    collections: { notes: definition },
    store: memoryStore({ step: (name) => step?.(name) }),
  })
let ws: Awaited<ReturnType<typeof open>>
let elements: FakeElement
const at = (id: string) => elements.querySelector(id)
const notice = () => (at("notice").hidden ? undefined : at("notice").querySelector("span").textContent)
const asksBeforeItGoes = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }))
const tryAgain = () => at("notice").querySelector("button").onclick?.()
const type = (text: string) => {
  at("body").value = text
  at("body").dispatchEvent(new Event("input"))
}
let goOn = () => {}
/** Stops every operation of the disk until `goOn` is called. */
const slowDisk = () => {
  const done = new Promise<void>((resolve) => (goOn = resolve))
  step = () => done
}
const gone = (): never => {
  throw new Error("the disk is gone")
}

beforeEach(async () => {
  for (const name of ["HTMLElement", "HTMLInputElement", "HTMLTextAreaElement", "HTMLDialogElement"])
    vi.stubGlobal(name, FakeElement)
  vi.stubGlobal("document", { getElementById: at, createElement: () => new FakeElement() })
  vi.stubGlobal("window", new EventTarget())
  elements = new FakeElement() // the editor of the test before listens to other elements
  step = undefined
  ws = await open()
})
afterEach(async () => {
  step = undefined
  goOn()
  vi.unstubAllGlobals()
  await ws.close()
})

it("says that what is typed is not saved until it is, though the note cannot be read either", async () => {
  const { id } = await ws.notes.create({ title: "Kept", body: "one" })
  const unreadable = { ...ws.notes, read: async () => gone() }
  const editor = showEditor(unreadable, () => {})
  await editor.open(id)
  step = gone
  type("one two")
  await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
  await tryAgain()
  expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/)

  step = undefined
  await tryAgain()
  expect(notice()).toBe(undefined)
  expect(ws.notes.get(id)?.body).toBe("one two")
})

it("what others wrote while the save failed is there once, and so is what is typed", async () => {
  const { id } = await ws.notes.create({ title: "Kept", body: "one" })
  let fails = true
  const failing: typeof ws.notes = {
    ...ws.notes,
    read: async () => gone(),
    /** A change of another device arrives just before. */
    async update(id, f) {
      if (fails) await ws.notes.update(id, (draft) => void (draft.body = `zero ${draft.body}`))
      if (fails) step = gone
      return ws.notes.update(id, f)
    },
  }
  const editor = showEditor(failing, () => {})
  await editor.open(id)
  type("one two")
  await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
  fails = false
  step = undefined
  await tryAgain()
  expect(at("body").value).toBe("zero one two")
  expect(ws.notes.get(id)?.body).toBe("zero one two")
})

it("a text of any length is written, and removed again, in as many changes as that takes", async () => {
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

it("what others write while a long text goes into the note stays where they wrote it", async () => {
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

  it("is not changed by being looked at", async () => {
    expect(at("body").value).toBe("one\ntwo\nthree\nfour")
    expect(asksBeforeItGoes()).toBe(false)
    const other = await ws.notes.create({ title: "Other", body: "" })
    await editor.open(other.id)
    await editor.open(id)
    editor.close()
    await ws.notes.update(id, () => {}) // resolves after everything that was written before
    expect(written).toEqual([])
  })

  it("keeps them, but for the line that is typed in", async () => {
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

  it("keeps them when what was typed could not be saved at first", async () => {
    step = gone
    type("one\ntwo\nthree\nfour five")
    await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
    step = undefined
    await tryAgain()
    expect(ws.notes.get(id)).toMatchObject({ title, body: `${text} five` })
  })
})

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
    step = gone
    type("one two")
    editor.close()
    return { id, editor }
  }

  it("while what was typed is on its way to the disk", async () => {
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

  it("while what was typed in a note that was left is on its way", async () => {
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

  it("until a note that was left is written, though a character is being composed in another", async () => {
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

  it("while a note that was left could not be saved; opened again it has what was typed", async () => {
    const { id, editor } = await leaveUnsaved()
    await untilPasses(() =>
      expect(at("report").querySelector("h2").textContent).toMatch(/^"T" was not saved: .*STORE_FAILED/),
    )
    expectUnsaved(true)
    await editor.open(id)
    expect(at("body").value).toBe("one two")
    await untilPasses(() => expect(notice()).toMatch(/^Not saved: .*STORE_FAILED/))
    step = undefined
    await tryAgain()
    expect(ws.notes.get(id)?.body).toBe("one two")
    expectUnsaved(false)
  })

  it("no longer for a note that was deleted and whose text is in the report", async () => {
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

  it("no longer for a new note that could not be saved, once another one was saved", async () => {
    const editor = show()
    step = gone
    editor.create("n1")
    type("precious")
    editor.close()
    await untilPasses(() => expect(at("report").querySelector("h2").textContent).toMatch(/not saved/))
    step = undefined
    editor.create("n2")
    type("other")
    await untilPasses(() => expect(ws.notes.get("n1")?.body).toBe("precious"))
    await untilPasses(() => expectUnsaved(false))
  })

  it("no longer for a note that could not be saved and was then deleted", async () => {
    const { id } = await leaveUnsaved()
    await untilPasses(() => expect(at("report").querySelector("h2").textContent).toMatch(/not saved/))
    step = undefined
    await ws.notes.delete(id)
    await untilPasses(() => expectUnsaved(false))
  })
})

describe("a save that reports a failure although it reached the disk", () => {
  const failOnce = () => {
    step = (name) => {
      if (name !== "committed") return
      step = undefined
      gone()
    }
  }

  it("doubles nothing", async () => {
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

  it("leaves a new note that can be saved again", async () => {
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

it("a long paste stays in one piece when others write before and behind it meanwhile", async () => {
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
