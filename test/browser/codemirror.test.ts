/** A bound CodeMirror editor in Chromium: real keys, a real input method and two devices at one relay. */
import type { EditorView } from "@codemirror/view"
import type { LiveText } from "headwater"
import type { Page } from "playwright-core"
import { afterEach, beforeEach, expect, test } from "vitest"
import { eventually } from "./notes-page.ts"
import { openStage } from "./support.ts"

interface Editor {
  readonly ws: { connect(): void; disconnect(): void; whenStored(): Promise<void>; whenSynced(): Promise<void> }
  readonly body: LiveText
  readonly view: EditorView
}
declare const editor: Editor
declare function openNote(relay: string, first?: string): Promise<void>

let stage: Awaited<ReturnType<typeof openStage>>
beforeEach(async () => {
  stage = await openStage(["editor"])
})
afterEach(() => stage.close())

async function openEditor(profile: string, first?: string): Promise<Page> {
  const page = await (await stage.profile(profile)).newPage()
  page.on("pageerror", (error) => console.error(`[${profile}] ${error.stack}`))
  await page.goto(`${stage.url}editor.html`)
  await page.waitForFunction(() => "openNote" in window)
  await page.evaluate(([relay, first]) => openNote(relay!, first), [stage.relay, first])
  return page
}

const textOf = (page: Page) => page.evaluate(() => editor.body.value)
const documentOf = (page: Page) => page.evaluate(() => editor.view.state.doc.toString())
/** What a person sees: the lines of the page. */
const seenIn = async (page: Page) => (await page.locator(".cm-line").allTextContents()).join("\n")
const caretAt = (page: Page, at: number) =>
  page.evaluate((at) => {
    editor.view.focus()
    editor.view.dispatch({ selection: { anchor: at } })
  }, at)
const head = (page: Page) => page.evaluate(() => editor.view.state.selection.main.head)
const bothShow = async (pages: readonly Page[], text: string) => {
  for (const page of pages) {
    for (const read of [textOf, documentOf, seenIn]) await eventually(() => read(page)).toBe(text)
  }
}

test("two people type in one word, online and apart, and every run of theirs stays whole", async () => {
  const [a, b] = [await openEditor("a", "one word\nand more"), await openEditor("b")]
  for (const page of [a, b]) await caretAt(page, "one wo".length)
  await Promise.all([
    a.keyboard.type("abcdefghijklmnopqrst", { delay: 15 }),
    b.keyboard.type("ABCDEFGHIJKLMNOPQRST", { delay: 17 }),
  ])
  for (const page of [a, b]) await page.evaluate(() => editor.ws.whenStored())
  for (const page of [a, b]) await page.evaluate(() => editor.ws.whenSynced())
  const online = await textOf(a)
  await bothShow([a, b], online)
  expect(online).toHaveLength("one word\nand more".length + 40)
  for (const run of ["abcdefghijklmnopqrst", "ABCDEFGHIJKLMNOPQRST"]) expect(online).toContain(run)

  for (const page of [a, b]) await page.evaluate(() => editor.ws.disconnect())
  await a.keyboard.type("uvw")
  await a.keyboard.press("Enter")
  await b.keyboard.type("UVX")
  await b.keyboard.press("Backspace")
  await b.keyboard.type("W")
  for (const page of [a, b]) await page.evaluate(() => editor.ws.connect())
  const apart = online.replace("qrst", "qrstuvw\n").replace("QRST", "QRSTUVW")
  await bothShow([a, b], apart)

  // each person's undo takes back what that person has typed, and nothing else
  for (const _ of ["the break", "the letters"]) await a.keyboard.press("Control+z")
  await eventually(() => textOf(b)).not.toContain("uvw")
  expect(await textOf(b)).toContain("ABCDEFGHIJKLMNOPQRSTUVW")
  for (const _ of ["the letters", "the break"]) await a.keyboard.press("Control+y")
  await bothShow([a, b], apart)
})

test("what an input method composes is not broken by what others write, and nothing of either is lost", async () => {
  const [a, b] = [await openEditor("a", "first\none two\nlast"), await openEditor("b")]
  await caretAt(b, "first\none two".length)
  const ime = await b.context().newCDPSession(b)
  await ime.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 })
  await eventually(() => textOf(a)).toBe("first\none twoに\nlast")
  expect(await b.evaluate(() => editor.view.composing)).toBe(true)

  // in another line: shown at once
  await caretAt(a, 0)
  await a.keyboard.type("zero ")
  await eventually(() => seenIn(b)).toBe("zero first\none twoに\nlast")
  expect(await b.evaluate(() => editor.view.composing)).toBe(true)
  await ime.send("Input.imeSetComposition", { text: "にほ", selectionStart: 2, selectionEnd: 2 })
  await eventually(() => textOf(a)).toBe("zero first\none twoにほ\nlast")

  // in the same line: in the text, and shown when the composition has ended
  await caretAt(a, "zero first\n".length)
  await a.keyboard.type("their ")
  await eventually(() => textOf(b)).toBe("zero first\ntheir one twoにほ\nlast")
  expect(await seenIn(b)).toBe("zero first\none twoにほ\nlast")
  await ime.send("Input.imeSetComposition", { text: "にほん", selectionStart: 3, selectionEnd: 3 })
  await ime.send("Input.insertText", { text: "日本" })
  await bothShow([a, b], "zero first\ntheir one two日本\nlast")
  expect(await head(b)).toBe("zero first\ntheir one two日本".length)
  await b.keyboard.type("!")
  await bothShow([a, b], "zero first\ntheir one two日本!\nlast")
})

test("a composition that is given up leaves no letter behind", async () => {
  const [a, b] = [await openEditor("a", "one"), await openEditor("b")]
  await caretAt(b, 3)
  const ime = await b.context().newCDPSession(b)
  await ime.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 })
  await eventually(() => textOf(a)).toBe("oneに")
  await caretAt(a, 0)
  await a.keyboard.type("x")
  await eventually(() => textOf(b)).toBe("xoneに")
  await ime.send("Input.imeSetComposition", { text: "", selectionStart: 0, selectionEnd: 0 })
  await bothShow([a, b], "xone")
})

test("a text with CRLF keeps its breaks, and a typed break is one of them", async () => {
  const [a, b] = [await openEditor("a", "one\r\ntwo\r\n"), await openEditor("b")]
  await caretAt(a, "one\ntwo".length)
  await a.keyboard.press("Enter")
  await a.keyboard.type("three")
  await eventually(() => textOf(b)).toBe("one\r\ntwo\r\nthree\r\n")
  await eventually(() => seenIn(b)).toBe("one\ntwo\nthree\n")
  await caretAt(b, "one\ntwo".length)
  await b.keyboard.press("Home")
  await b.keyboard.press("Backspace")
  await eventually(() => textOf(a)).toBe("onetwo\r\nthree\r\n")
  await eventually(() => seenIn(a)).toBe("onetwo\nthree\n")
})
