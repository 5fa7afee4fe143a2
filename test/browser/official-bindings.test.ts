/** The official bindings of Automerge run on a handle as they are: two editors each, on two devices. */
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { untilPasses } from "../support/until.ts"
import { openStage } from "./support.ts"

type Binding = "codemirror" | "prosemirror"
interface Editor {
  readonly ws: { whenStored(): Promise<void> }
  shown(): string
  html(): string
  caret(): number
  place(at: number): void
}
declare const editor: Editor
declare const openNote: (relay: string, binding: Binding, first?: string) => Promise<void>

let stage: Awaited<ReturnType<typeof openStage>>
let name = 0
beforeAll(async () => {
  stage = await openStage(["official-editor"])
})
afterAll(() => stage.close())

/** Opens two devices with an editor each. The first one has made the note. */
async function openTwo(binding: Binding, body: string, relay: string): Promise<[Page, Page]> {
  const pages: Page[] = []
  for (const first of [body, undefined]) {
    const page = await (await stage.profile(`${binding}-${name++}`)).newPage()
    page.on("pageerror", (error) => console.error(error))
    await page.goto(`${stage.url}official-editor.html`)
    await page.evaluate(([at, of, text]) => openNote(at!, of as Binding, text), [relay, binding, first])
    pages.push(page)
  }
  return pages as [Page, Page]
}

const shown = (page: Page) => page.evaluate(() => editor.shown())
const caret = (page: Page) => page.evaluate(() => editor.caret())
/** Types a letter at a time in both pages, in turns. */
async function typeInTurns(one: Page, a: string, two: Page, b: string): Promise<void> {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] !== undefined) await one.keyboard.type(a[i]!)
    if (b[i] !== undefined) await two.keyboard.type(b[i]!)
  }
}

describe("@automerge/automerge-codemirror", () => {
  it("keeps two editors alike, each caret where it was, and every typed run whole", async () => {
    const [one, two] = await openTwo("codemirror", "first\nmiddle\nlast", stage.relay)
    for (const page of [one, two]) await page.locator(".cm-content").focus()
    await one.evaluate(() => editor.place(5))
    await two.evaluate(() => editor.place(12))
    await typeInTurns(one, " abcdef", two, " uvwxyz")
    const expected = "first abcdef\nmiddle uvwxyz\nlast"
    await untilPasses(async () => expect([await shown(one), await shown(two)]).toEqual([expected, expected]))
    expect([await caret(one), await caret(two)]).toEqual([12, 26])
  })
})

describe("@automerge/prosemirror", () => {
  it("keeps two editors alike, each caret where it was, marks included", async () => {
    const [one, two] = await openTwo("prosemirror", "some words", stage.relay)
    for (const page of [one, two]) await page.locator(".ProseMirror").focus()
    await one.keyboard.press("Control+Home")
    await two.keyboard.press("Control+End")
    await typeInTurns(one, "abc ", two, " xyz")
    await untilPasses(async () =>
      expect([await shown(one), await shown(two)]).toEqual(Array(2).fill("abc some words xyz")),
    )
    expect([await caret(one), await caret(two)]).toEqual([4, 18])
    await one.keyboard.press("Shift+Control+Home")
    await one.keyboard.press("Control+b")
    const html = (page: Page) => page.evaluate(() => editor.html())
    const marked = "<p><strong>abc</strong> some words xyz</p>"
    await untilPasses(async () => expect([await html(one), await html(two)]).toEqual([marked, marked]))
    await one.evaluate(() => editor.ws.whenStored())
  })
})
