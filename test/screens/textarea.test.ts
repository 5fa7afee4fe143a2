/** A textarea bound to a text: what a person does in it, and what others write meanwhile. */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { bindText } from "headwater/textarea"
import { JSDOM } from "jsdom"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { backspace, compose, control, endComposition, type Field, select, type } from "../support/typing.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })

let close: (() => Promise<unknown>)[] = []
let page: JSDOM
beforeEach(() => {
  page = new JSDOM("<textarea></textarea><input>")
})
afterEach(async () => {
  await Promise.all(close.map((f) => f()))
  close = []
})

/** An element bound to a new note. `theirs`: the same text in another handle, which edits it as somebody else would. */
async function bound(body: string, tag: "textarea" | "input" = "textarea") {
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore() })
  close.push(() => ws.close())
  const { id } = await ws.notes.create({ body })
  const [mine, others] = await Promise.all([ws.notes.open(id), ws.notes.open(id)])
  const element = page.window.document.querySelector(tag) as Field
  const errors: unknown[] = []
  const stop = bindText(element, mine.text("body"), { onError: (error) => errors.push(error) })
  return { ws, id, handle: mine, element, text: mine.text("body"), theirs: others.text("body"), stop, errors }
}

/** Presses a key with Ctrl, and returns what the element shows after that. */
function after(element: Field, key: string, shift = false): string {
  control(element, key, shift)
  return element.value
}

const selection = ({ selectionStart, selectionEnd }: Field) => [selectionStart, selectionEnd]

describe("both ways", () => {
  test("keys go into the text one by one, and other edits appear in the element", async () => {
    const { element, text, theirs, handle, ws, id } = await bound("hello")
    expect(element.value).toBe("hello")
    for (const letter of " wörld") type(element, letter)
    expect(text.value).toBe("hello wörld")
    backspace(element)
    theirs.splice(0, 1, "H")
    expect([element.value, text.value]).toEqual(["Hello wörl", "Hello wörl"])
    await handle.saved()
    expect(ws.notes.get(id)?.body).toBe("Hello wörl")
  })

  test("edits on both sides of the caret leave it in its word", async () => {
    const { element, text } = await bound("first line\nmiddle here\nlast line")
    select(element, "first line\nmiddle".length)
    const at = text.value.length
    text.splice(0, 0, "# ")
    text.splice(at + 2, 0, "\nbye")
    for (const letter of " X") type(element, letter)
    expect(text.value).toBe("# first line\nmiddle X here\nlast line\nbye")
    expect(element.value).toBe(text.value)
  })

  test("what others insert at the edges of a selection stays outside of it", async () => {
    const { element, theirs, text } = await bound("a bc d")
    element.setSelectionRange(2, 4, "backward")
    theirs.splice(4, 0, "<")
    theirs.splice(2, 0, ">")
    expect([element.value, ...selection(element), element.selectionDirection]).toEqual(["a >bc< d", 3, 5, "backward"])
    type(element, "x")
    expect(text.value).toBe("a >x< d")
  })

  test("a letter that is typed over a word replaces all of it, also where the word begins with that letter", async () => {
    const { element, text } = await bound("say hello there")
    const heard: unknown[] = []
    text.subscribe((splices) => heard.push(...splices))
    select(element, 4, 9)
    type(element, "h")
    expect(heard).toEqual([{ at: 4, remove: 5, insert: "h" }])
  })

  test("a letter among equal letters goes to the caret", async () => {
    const { element, text } = await bound("aaaa")
    const heard: unknown[] = []
    text.subscribe((splices) => heard.push(...splices))
    select(element, 2)
    type(element, "a")
    backspace(element)
    expect(heard).toEqual([
      { at: 2, remove: 0, insert: "a" },
      { at: 2, remove: 1, insert: "" },
    ])
  })

  test("an emoji is replaced whole when half of its units change", async () => {
    const { element, text } = await bound("a😀b")
    element.value = "a😁b"
    element.dispatchEvent(new page.window.Event("input"))
    expect([text.value, element.value]).toEqual(["a😁b", "a😁b"])
  })

  test("two elements of one text show the same, whichever is typed into", async () => {
    const { element, theirs, text } = await bound("one")
    const second = page.window.document.createElement("textarea")
    bindText(second, theirs)
    bindText(page.window.document.querySelector("input") as Field, text)
    type(element, " two")
    select(second, 0)
    type(second, "zero ")
    expect([element.value, second.value, text.value]).toEqual(Array(3).fill("zero one two"))
    expect(element.selectionStart).toBe(12)
  })

  test("what an app writes into the text while it hears of a key comes after that key", async () => {
    const { element, text, theirs } = await bound("")
    let times = 0
    theirs.subscribe(() => {
      if (times++ < 3) theirs.splice(0, 0, "!")
    })
    for (const letter of "abc") type(element, letter)
    expect([element.value, text.value]).toEqual(["!!!abc", "!!!abc"])
  })

  test("a key that an app sends while it hears of another edit goes where the person typed it", async () => {
    const { text, theirs } = await bound("one")
    const element = page.window.document.createElement("textarea")
    let times = 0
    theirs.subscribe(() => {
      if (times++ > 0) return
      theirs.splice(0, 0, "zero ") // newer than what the binding was told
      type(element, "!")
    })
    bindText(element, text)
    theirs.splice(3, 0, " two")
    expect([element.value, text.value]).toEqual([text.value, "zero one! two"])
  })

  test("a megabyte is pasted in parts", async () => {
    const { element, text } = await bound("ab")
    const heard: number[] = []
    text.subscribe((splices) => heard.push(...splices.map(({ insert }) => insert.length)))
    const long = "x😀\n".repeat(250_000)
    select(element, 1)
    type(element, long, { inputType: "insertFromPaste" })
    expect(text.value === `a${long}b`).toBe(true)
    expect(Math.max(...heard)).toBeLessThanOrEqual(65_536)
    expect(heard.length).toBe(16)
  })

  test("a paste of several parts is one step", async () => {
    const { element, text } = await bound("ab")
    const long = "x😀\n".repeat(20_000)
    type(element, long, { inputType: "insertFromPaste" })
    control(element, "z")
    expect([element.value, text.value]).toEqual(["ab", "ab"])
    control(element, "y")
    expect(text.value === `ab${long}`).toBe(true)
  })

  test("nothing is heard and nothing is written after the end", async () => {
    const { element, theirs, text, stop } = await bound("one")
    stop()
    theirs.splice(0, 0, "zero ")
    expect(element.value).toBe("one")
    type(element, "!")
    expect(control(element, "z")).toBe(false)
    expect(text.value).toBe("zero one")
  })
})

describe("line breaks", () => {
  const body = "a\r\nb\rc\nd\r\n\r\ne"

  test("all are shown as one unit, and those that nobody types over keep their bytes", async () => {
    const { element, text, theirs } = await bound(body)
    expect(element.value).toBe("a\nb\nc\nd\n\ne")
    for (let at = 0; at <= element.value.length; at++) {
      select(element, at)
      type(element, "x")
      const shown = element.value
      expect(text.value.replace("x", "")).toBe(body)
      expect(shown[at]).toBe("x")
      backspace(element)
      expect(text.value).toBe(body)
    }
    select(element, 4)
    theirs.splice(1, 0, "\r\n")
    expect([element.value, element.selectionStart]).toEqual(["a\n\nb\nc\nd\n\ne", 5])
  })

  test("a break that is removed is removed whole", async () => {
    const { element, text } = await bound(body)
    select(element, 2)
    backspace(element)
    expect(text.value).toBe("ab\rc\nd\r\n\r\ne")
  })

  test.each([
    ["a\r\nb", 3, "a\r\nb\r\n"],
    ["a\nb\r\n", 3, "a\nb\n\r\n"],
    ["ab", 2, "ab\n"],
    ["a\r", 2, "a\r\n\n"],
  ])("a break typed in %j is of the kind of the first one, and never joins a CR", async (before, at, after) => {
    const { element, text } = await bound(before)
    select(element, at)
    type(element, "\n", { inputType: "insertLineBreak" })
    expect(JSON.stringify(text.value)).toBe(JSON.stringify(after))
    expect(element.value).toBe(after.replace(/\r\n?/g, "\n"))
  })

  test("an input shows none, and removes only those inside what is removed", async () => {
    const { element, text } = await bound("ab\r\ncd\nef", "input")
    expect(element.value).toBe("abcdef")
    select(element, 2)
    backspace(element)
    select(element, 4)
    type(element, "x")
    expect(text.value).toBe("a\r\ncd\nexf")
    select(element, 0, 2)
    type(element, "y")
    expect([text.value, element.value]).toEqual(["yd\nexf", "ydexf"])
  })
})

describe("composition", () => {
  test("is left alone by what others write, and goes where it was typed after it", async () => {
    const { element, text, theirs } = await bound("one two")
    select(element, 3)
    compose(element, "に")
    theirs.splice(0, 0, "zero ")
    theirs.splice(12, 0, " three")
    compose(element, "にほ", 1)
    expect(element.value).toBe("oneにほ two")
    expect(text.value).toBe("zero one two three")
    endComposition(element)
    expect([element.value, text.value]).toEqual(Array(2).fill("zero oneにほ two three"))
    expect(element.selectionStart).toBe("zero oneにほ".length)
  })

  test("over a selection that others edit meanwhile replaces what is left of it", async () => {
    const { element, text, theirs } = await bound("one two three")
    select(element, 4, 7)
    compose(element, "t")
    theirs.splice(5, 0, "-")
    theirs.splice(0, 4, "")
    endComposition(element)
    expect([element.value, text.value]).toEqual(Array(2).fill("t- three"))
  })

  test("that the binding's end interrupts is not lost", async () => {
    const { element, text, stop } = await bound("one")
    compose(element, " two")
    stop()
    expect(text.value).toBe("one two")
  })
})

describe("undo", () => {
  test("takes back a word at a time with the blanks behind it, and redo repeats it", async () => {
    const { element } = await bound("")
    for (const letter of "one  two\nthree") type(element, letter)
    const seen = [0, 1, 2, 3].map(() => after(element, "z"))
    expect(seen).toEqual(["one  two\n", "one  ", "", ""])
    const again = [0, 1, 2, 3].map((n) => (n % 2 ? after(element, "y") : after(element, "Z", true)))
    expect(again).toEqual(["one  ", "one  two\n", "one  two\nthree", "one  two\nthree"])
    expect(element.selectionStart).toBe(14)
  })

  test("a pause, a move of the caret and a paste end a run", async () => {
    const { element } = await bound("")
    type(element, "a", { at: 0 })
    type(element, "b", { at: 999 })
    type(element, "c", { at: 1999 })
    type(element, "paste", { at: 2000, inputType: "insertFromPaste" })
    type(element, "d", { at: 2001 })
    select(element, 0)
    type(element, "e", { at: 2002 })
    const seen = Array.from({ length: 6 }, () => after(element, "z"))
    expect(seen).toEqual(["abcpasted", "abcpaste", "abc", "ab", "", ""])
  })

  test("puts back what was deleted key by key, in one step", async () => {
    const { element } = await bound("one two")
    for (let n = 0; n < 4; n++) backspace(element)
    type(element, "!")
    control(element, "z")
    expect(element.value).toBe("one")
    control(element, "z")
    expect([element.value, element.selectionStart]).toEqual(["one two", 7])
  })

  test("takes back one's own edits only, and what others wrote inside of them stays", async () => {
    const { element, text, theirs } = await bound("start ")
    for (const letter of "mine") type(element, letter)
    theirs.splice(8, 0, "THEIRS")
    theirs.splice(0, 6, "")
    expect(element.value).toBe("miTHEIRSne")
    control(element, "z")
    expect([element.value, text.value]).toEqual(["THEIRS", "THEIRS"])
    control(element, "z")
    expect(text.value).toBe("THEIRS")
    control(element, "y")
    expect(text.value.replace("THEIRS", "")).toBe("mine")
  })

  test("goes on through steps of which others have removed everything", async () => {
    const { element, text, theirs } = await bound("")
    for (const letter of "one two") type(element, letter)
    theirs.splice(4, 3, "")
    control(element, "z")
    expect(text.value).toBe("")
  })

  test("from the browser's menu is the same as by key", async () => {
    const { element, text } = await bound("")
    type(element, "word")
    for (const [inputType, value] of [
      ["historyUndo", ""],
      ["historyRedo", "word"],
    ] as const) {
      const event = new page.window.InputEvent("beforeinput", { inputType, cancelable: true })
      expect([element.dispatchEvent(event), text.value]).toEqual([false, value])
    }
  })
})

describe("an edit that the text refuses", () => {
  test("leaves the element as the text is, with the selection as it was, and the app hears of it", async () => {
    const { element, ws, id, handle, text, errors } = await bound("one two three")
    await ws.notes.delete(id)
    element.setSelectionRange(4, 7, "forward")
    await until(() => handle.deleted)
    type(element, "x")
    expect([element.value, text.value, ...selection(element)]).toEqual(["one two three", "one two three", 4, 7])
    expect(errors).toMatchObject([{ code: "ENTITY_DELETED" }])
  })

  test("that was an undo can be undone once the text takes edits again", async () => {
    const { element, ws, id, handle, errors } = await bound("one ")
    type(element, "two")
    await ws.notes.delete(id)
    await until(() => handle.deleted)
    control(element, "z")
    expect([element.value, errors.length]).toEqual(["one two", 1])
    await ws.notes.restore(id)
    await until(() => !handle.deleted)
    control(element, "z")
    expect([element.value, errors.length]).toEqual(["one ", 1])
  })

  test("is thrown in a microtask if nobody listens for errors", async () => {
    const { element, handle, text } = await bound("one")
    const second = page.window.document.createElement("textarea")
    bindText(second, text)
    await handle.close()
    const [error] = await new Promise<unknown[]>((resolve) => {
      const listeners = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.once("uncaughtException", (error) => {
        for (const listener of listeners) process.on("uncaughtException", listener)
        resolve([error])
      })
      type(second, "x")
    })
    expect(error).toMatchObject({ code: "CLOSED" })
    expect([second.value, element.value]).toEqual(["one", "one"])
  })
})
