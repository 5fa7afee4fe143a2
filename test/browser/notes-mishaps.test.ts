import type { Page } from "playwright-core"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { allStored, bodyOf, eventually, file, goto, newNote, noteCalled, openPage, report } from "./notes-page.ts"
import { openStage } from "./support.ts"

// Every test has its own relay, page and browser profiles.
let stage: Awaited<ReturnType<typeof openStage>>
let a: Page
beforeEach(async () => {
  stage = await openStage()
  a = await openPage(stage, "a")
})
afterEach(() => stage.close())

/**
 * Makes the page's disk fail from its write transaction number `from` on, as when the quota is exceeded. The count
 * starts at this call. With `Infinity` the disk works again.
 */
const failFrom = (page: Page, from: number) =>
  page.evaluate((from) => {
    const w = window as unknown as { writes: number; from: number; put?: IDBObjectStore["put"] }
    w.writes = 0
    w.from = from
    if (w.put !== undefined) return
    const put = (w.put = IDBObjectStore.prototype.put)
    let transaction: unknown
    IDBObjectStore.prototype.put = function (this: IDBObjectStore, ...args: Parameters<typeof put>) {
      if (transaction !== this.transaction) w.writes++
      transaction = this.transaction
      if (w.writes >= w.from) throw new DOMException("the quota is exceeded", "QuotaExceededError")
      return put.apply(this, args)
    }
  }, from)

describe("deleting notes", () => {
  it("two deleted notes can be brought back one after the other", async () => {
    await goto(stage, a)
    for (const title of ["First", "Second"]) await newNote(a, title, "text")
    await a.keyboard.press("Escape")
    for (const title of ["First", "Second"]) await noteCalled(a, title).press("Delete")
    const toast = a.locator("#toast span")
    await eventually(() => toast.textContent()).toBe("2 notes deleted")
    await eventually(() => a.locator("#rows button").count()).toBe(0)
    await a.keyboard.press("Alt+u")
    await noteCalled(a, "Second").waitFor()
    expect(await toast.textContent()).toBe("Note deleted")
    await a.keyboard.press("Alt+u")
    await noteCalled(a, "First").waitFor()
    expect(await a.locator("#toast").isVisible()).toBe(false)
  })

  it("is shown on the other device until it is undone, and text typed there meanwhile is kept", async () => {
    const b = await openPage(stage, "b")
    await goto(stage, a)
    await goto(stage, b)
    await newNote(a, "Shared", "text")
    await noteCalled(b, "Shared").click()
    await eventually(() => bodyOf(b)).toBe("text")
    await a.keyboard.press("Escape")
    await noteCalled(a, "Shared").press("Delete")
    const notice = b.locator("#notice span")
    await eventually(() => notice.textContent()).toMatch(/^This note was deleted/)
    await b.locator("#body").press("Control+End")
    await b.keyboard.type(" and more")
    await eventually(() => notice.textContent()).toMatch(/Your text is still here/)
    await a.keyboard.press("Alt+u")
    await b.locator("#notice").waitFor({ state: "hidden" })
    expect(await bodyOf(b)).toBe("text and more")
    await a.locator("#rows span", { hasText: "text and more" }).waitFor()
  })
})

describe("a disk that fails for a while", () => {
  it("gets all unsaved text as soon as it works again, also the text of a note that was left", async () => {
    await goto(stage, a)
    for (const title of ["Left", "Open"]) await newNote(a, title, "text")
    await allStored(a)
    await failFrom(a, 0)
    await noteCalled(a, "Left").click()
    await a.locator("#body").press("Control+End")
    await a.keyboard.type(" left")
    await noteCalled(a, "Open").click()
    await report(a).waitFor() // this report says that "Left" was not saved
    await report(a).locator("button").click()
    await eventually(() => bodyOf(a)).toBe("text") // the editor shows "Open" now
    await a.locator("#body").press("Control+End")
    await a.keyboard.type(" open")
    await a.locator("#notice", { hasText: "Not saved" }).waitFor()
    await failFrom(a, Number.POSITIVE_INFINITY)
    await allStored(a)
    expect(await a.locator("#notice").isVisible()).toBe(false)
    await a.locator("#rows span", { hasText: "text left" }).waitFor()
    await a.locator("#rows span", { hasText: "text open" }).waitFor()
  })

  it("leaves a long file's note incomplete, and importing the file again completes it", async () => {
    const long = Array.from({ length: 30_000 }, (_, n) => `line ${n}\n`).join("")
    await goto(stage, a)
    await allStored(a) // the relay's first message is saved now, so the count starts with the import's writes
    await failFrom(a, 2)
    await a.locator("#files").setInputFiles([file("long.md", long)])
    await report(a).locator("h2", { hasText: "1 could not be imported" }).waitFor()
    await report(a).locator("button").click()
    await a.reload()
    await noteCalled(a, "long").waitFor() // before it shows its list, the page does not listen to its inputs
    await a.locator("#files").setInputFiles([file("long.md", long)])
    await report(a).locator("h2", { hasText: "0 notes imported, 1 updated" }).waitFor()
    expect(await report(a).locator("li").textContent()).toContain("its last import was interrupted")
    await report(a).locator("button").click()
    await noteCalled(a, "long").click()
    await eventually(async () => (await bodyOf(a)) === long).toBe(true)
    expect(await a.locator("#rows button").count()).toBe(1)
  })
})

it("the page asks for a reload when the browser has deleted the notes, even if nothing is typed", async () => {
  await goto(stage, a)
  await newNote(a, "Stored", "text")
  await allStored(a)
  const session = await a.context().newCDPSession(a)
  const { origin } = new URL(stage.url)
  await session.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" })
  await report(a).locator("h2", { hasText: "The browser has deleted the notes on this device" }).waitFor()
  expect(await report(a).locator("li").first().textContent()).toMatch(/^Reload this page/)
  await a.reload()
  await noteCalled(a, "Stored").waitFor()
  await a.waitForTimeout(6000)
  expect(await a.locator("#report").isVisible()).toBe(false)
})

describe("an image", () => {
  /** Dispatches the event of a paste or a drop, and returns false when the page prevents the default action. */
  const give = (how: "paste" | "drop", files: readonly { name: string; type: string; text: string }[], text?: string) =>
    a.evaluate(
      ({ how, files, text }) => {
        const data = new DataTransfer()
        for (const { name, type, text } of files) data.items.add(new File([text], name, { type }))
        if (text !== undefined) data.setData("text/plain", text)
        const event =
          how === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        return document.getElementById("body")!.dispatchEvent(event)
      },
      { how, files, text },
    )
  const png = { name: "photo.png", type: "image/png", text: "..." }

  it.each(["paste", "drop"] as const)("is refused with a report on %s", async (how) => {
    await goto(stage, a)
    await newNote(a, "Open", "text")
    expect(await give(how, [png])).toBe(false)
    await report(a).locator("h2", { hasText: "Notes cannot hold images yet" }).waitFor()
    expect(await report(a).locator("li").textContent()).toMatch(/^photo.png: not added/)
    await report(a).locator("button").click()
    expect(await bodyOf(a)).toBe("text")

    const note = { name: "note.md", type: "text/markdown", text: "# From a file" }
    await give(how, [png, note])
    await report(a).locator("h2", { hasText: "1 note imported, 1 other file skipped" }).waitFor()
    await report(a).locator("button").click()
    await noteCalled(a, "From a file").waitFor()
  })

  it("that is pasted with text is left to the browser, and so is text alone", async () => {
    await goto(stage, a)
    await newNote(a, "Open", "text")
    expect(await give("paste", [png], "text of a table")).toBe(true)
    expect(await give("paste", [], "text")).toBe(true)
    expect(await give("drop", [], "text")).toBe(true)
    expect(await report(a).count()).toBe(0)
  })
})

it("a search finds words far behind in a long note, and the list shows its file's date until it is edited", async () => {
  await goto(stage, a)
  const filler = "river delta spring basin\n".repeat(500)
  const long = file("long.md", `---\ncreated: 2001-02-03\n---\n${filler}The licence.\n${filler}`)
  await a.locator("#files").setInputFiles([long, file("licences.md", "licence"), file("other.md", filler)])
  await report(a).locator("button").click()
  await a.locator("#search").fill("licence")
  await eventually(() => a.locator("#rows button strong").allTextContents()).toEqual(["licences", "long"])
  await eventually(() => a.locator("#count").textContent()).toBe("2 of 3 notes")
  await a.locator("#search").fill("")
  await eventually(() => a.locator("#rows button strong").last().textContent()).toBe("long")
  await a.locator("#rows em", { hasText: "2001" }).waitFor()
  await noteCalled(a, "long").click()
  await a.locator("#dates", { hasText: /Created .*2001.* changed .*2001/ }).waitFor()
  await a.waitForTimeout(1100) // times of changes are whole seconds; within one second the list would be ordered by ids
  await a.locator("#title").press("End")
  await a.keyboard.type("er")
  await eventually(() => a.locator("#rows button strong").first().textContent()).toBe("longer")
  await a.locator("#dates", { hasText: /Created .*2001/ }).waitFor()
  expect(await a.locator("#rows em", { hasText: "2001" }).count()).toBe(0)
})
