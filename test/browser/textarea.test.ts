/** A bound textarea in Chromium: keys, an input method, the clipboard and undo as the browser sends them. */
import type { CDPSession, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { dice } from "../support/dice.ts"
import { openStage } from "./support.ts"

let stage: Awaited<ReturnType<typeof openStage>>
let people: Page[]
let a: Page
let b: Page
beforeAll(async () => {
  stage = await openStage(["bound-textarea"])
  const profile = await stage.profile("people")
  people = [await profile.newPage(), await profile.newPage()]
  for (const page of people) {
    page.on("pageerror", (error) => console.error(error.stack))
    await page.goto(`${stage.url}bound-textarea.html?relay=${encodeURIComponent(stage.relay)}`)
    await page.waitForFunction(() => "bind" in window)
  }
  ;[a, b] = people as [Page, Page]
})
afterAll(() => stage.close())

interface Bound {
  ws: {
    notes: { create(fields: { body: string }): Promise<{ id: string }> }
    whenStored(): Promise<void>
    connect(): void
    disconnect(): void
  }
  body: { readonly value: string; splice(at: number, remove: number, insert?: string): void }
  bind(id: string): Promise<void>
}

/** Makes a note and shows it to both people. */
async function share(body: string): Promise<void> {
  const id = await a.evaluate(async (body) => {
    const { ws } = window as unknown as Bound
    const { id } = await ws.notes.create({ body })
    await ws.whenStored()
    return id
  }, body)
  for (const page of people) await page.evaluate((id) => (window as unknown as Bound).bind(id), id)
}

const shown = (page: Page) => page.locator("textarea").inputValue()
const saved = (page: Page) => page.evaluate(() => (window as unknown as Bound).body.value)
const select = (page: Page, start: number, end = start) =>
  page
    .locator("textarea")
    .evaluate((it: HTMLTextAreaElement, [start, end]) => it.setSelectionRange(start!, end!), [start, end])
const splice = (page: Page, at: number, remove: number, insert: string) =>
  page.evaluate(([at, remove, insert]) => (window as unknown as Bound).body.splice(at, remove, insert), [
    at,
    remove,
    insert,
  ] as const)
const eventually = (read: () => Promise<unknown>) => expect.poll(read, { timeout: 20_000 })
const compose = (keyboard: CDPSession, text: string) =>
  keyboard.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length })

/** Puts the caret at a place that is neither within a run nor right behind one of which a part has not arrived yet. */
const selectOutsideOfRuns = (page: Page, die: number) =>
  page.locator("textarea").evaluate((it: HTMLTextAreaElement, die) => {
    const all = Array.from({ length: it.value.length + 1 }, (_, at) => at)
    const places = all.filter((at) => !/«[^»]*$/.test(it.value.slice(0, at)))
    const at = places[Math.floor(die * places.length)] ?? 0
    it.setSelectionRange(at, at)
  }, die)

async function bothShow(value: string): Promise<void> {
  for (const page of people) await eventually(() => shown(page)).toBe(value)
  for (const page of people) expect((await saved(page)).replace(/\r\n?/g, "\n")).toBe(value)
}

describe("in Chromium", () => {
  it("edits on both sides of the caret leave it in its word, and the page does not scroll", async () => {
    await share(`first line\nmiddle here\nlast line${"\n".repeat(100)}`)
    await select(b, "first line\nmiddle".length)
    await b.locator("textarea").evaluate((it) => it.scrollTo(0, 37))
    await splice(a, 0, 0, "# ")
    await splice(a, 34, 0, "\nbye")
    await eventually(() => shown(b)).toMatch(/^# .*\nbye/s)
    expect(await b.locator("textarea").evaluate((it) => it.scrollTop)).toBe(37)
    await b.keyboard.type(" X")
    await bothShow(`# first line\nmiddle X here\nlast line\nbye${"\n".repeat(100)}`)
  })

  it("two people type at once into one word", async () => {
    await share("word")
    for (const page of people) await select(page, 2)
    await Promise.all([
      a.keyboard.type("abcdefghijklmnop", { delay: 15 }),
      b.keyboard.type("ABCDEFGHIJKLMNOP", { delay: 17 }),
    ])
    await eventually(async () => (await shown(a)) === (await shown(b)) && (await shown(a)).length).toBe(36)
    const value = await shown(a)
    expect(["woabcdefghijklmnopABCDEFGHIJKLMNOPrd", "woABCDEFGHIJKLMNOPabcdefghijklmnoprd"]).toContain(value)
    await bothShow(value)
  })

  it("an input method composes undisturbed over a selection, and what it composed is one step of undo", async () => {
    await share("one two three")
    await select(b, 4, 7)
    const keyboard = await b.context().newCDPSession(b)
    await compose(keyboard, "に")
    await splice(a, 0, 0, "zero ")
    await splice(a, 18, 0, " four")
    await eventually(() => saved(b)).toBe("zero one two three four")
    await compose(keyboard, "にほ")
    expect(await shown(b)).toBe("one にほ three")
    await keyboard.send("Input.insertText", { text: "日本" })
    await bothShow("zero one 日本 three four")
    await b.keyboard.type("!")
    await bothShow("zero one 日本! three four")
    await b.keyboard.press("Control+z")
    await bothShow("zero one two three four")
  })

  it("a composition that is left by a click elsewhere is kept", async () => {
    await share("one")
    await select(b, 3)
    await compose(await b.context().newCDPSession(b), "に")
    await b.locator("textarea").evaluate((it: HTMLTextAreaElement) => it.blur())
    await bothShow("oneに")
  })

  it("undo and redo take back and repeat own words only, after edits of others", async () => {
    await share("start ")
    await select(b, 6)
    await b.keyboard.type("my words")
    await bothShow("start my words")
    await splice(a, 0, 6, "")
    await splice(a, 4, 0, "THEIRS")
    await bothShow("my wTHEIRSords")
    await b.keyboard.press("Control+z")
    await bothShow("my THEIRS")
    await b.keyboard.press("Control+z")
    await bothShow("THEIRS")
    await b.keyboard.press("Control+z")
    await b.keyboard.press("Control+Shift+z")
    await b.keyboard.press("Control+y")
    await b.keyboard.press("Control+y")
    await eventually(async () => (await shown(b)).replace("THEIRS", "")).toBe("my words")
    await bothShow(await shown(b))
  })

  it("a text with CR and CRLF is typed into without a change to its other breaks", async () => {
    await share("a\r\nb\rc\n")
    await select(b, 3)
    await b.keyboard.press("Enter")
    await b.keyboard.press("Delete")
    await b.keyboard.press("ArrowRight")
    await b.keyboard.press("Backspace")
    await b.keyboard.type("d")
    await eventually(() => saved(a)).toBe("a\r\nb\r\nd\n")
    await bothShow("a\nb\nd\n")
  })

  it("a megabyte comes through the clipboard", { timeout: 120_000 }, async () => {
    await share("ab")
    await b.context().grantPermissions(["clipboard-read", "clipboard-write"])
    await b.bringToFront()
    await b.evaluate(() => navigator.clipboard.writeText("line of text\n".repeat(80_000)))
    await select(b, 1)
    await b.keyboard.press("Control+v")
    await eventually(async () => (await saved(b)).length).toBe(2 + 13 * 80_000)
    await expect.poll(async () => (await saved(a)).length, { timeout: 60_000 }).toBe(2 + 13 * 80_000)
    expect((await saved(a)) === (await saved(b))).toBe(true)
  })

  it.each([1, 2, 3, 4, 5])("two people type, compose, undo and lose the connection (seed %i)", async (seed) => {
    const random = dice(seed)
    await share("one two three\n")
    const keyboards = await Promise.all(people.map((page) => page.context().newCDPSession(page)))
    const typed: string[] = []
    const commands: string[] = []
    for (let n = 0; n < 40; n++) {
      const who = random() < 0.5 ? 0 : 1
      const page = people[who]!
      const die = random()
      if (die < 0.1) {
        await page.evaluate((on) => (window as unknown as Bound).ws[on ? "connect" : "disconnect"](), random() < 0.5)
        commands.push("line")
      } else if (die < 0.25 && !(await shown(page)).replace(/«\w+»/g, "").includes("«")) {
        await page.keyboard.press(die < 0.2 ? "Control+z" : "Control+y")
        commands.push(`${who} ${die < 0.2 ? "undo" : "redo"}`)
      } else {
        const run = `«${"ab"[who]}${typed.length}${"xyz".repeat(1 + Math.floor(random() * 3))}»`
        typed.push(run)
        await selectOutsideOfRuns(page, random())
        commands.push(`${who} ${die < 0.5 ? "composes" : "types"} ${run}`)
        if (die >= 0.5) await page.keyboard.type(run)
        else {
          for (let end = 1; end <= run.length; end += 2) await compose(keyboards[who]!, run.slice(0, end))
          await keyboards[who]!.send("Input.insertText", { text: run })
        }
      }
    }
    for (const page of people) await page.evaluate(() => (window as unknown as Bound).ws.connect())
    await eventually(async () => (await saved(a)) === (await saved(b))).toBe(true)
    const value = await saved(a)
    await bothShow(value)
    const left = typed.reduce((left, run) => left.replace(run, ""), value)
    expect(left, `seed ${seed}: ${commands.join(", ")}`).toBe("one two three\n")
  })
})
