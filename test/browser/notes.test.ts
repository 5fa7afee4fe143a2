import { readFileSync } from "node:fs"
import type { Page } from "playwright-core"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { allStored, bodyOf, eventually, file, goto as go, newNote, noteCalled, openPage as open } from "./notes-page.ts"
import { countWasm, openStage } from "./support.ts"

// Every test has its own relay, page and browser profiles.
let stage: Awaited<ReturnType<typeof openStage>>
beforeEach(async () => {
  stage = await openStage(["writer"])
})
afterEach(() => stage.close())

const openPage = (profile: string, viewport?: { width: number; height: number }) => open(stage, profile, viewport)
const goto = (page: Page) => go(stage, page)

describe("the notes page", () => {
  it("converges in two profiles, online and after both have edited offline", async () => {
    const [a, b] = [await openPage("a"), await openPage("b")]
    await goto(a)
    await goto(b)
    await newNote(a, "Shared", "first line\nmiddle\nlast line")
    await noteCalled(b, "Shared").click()
    await eventually(() => bodyOf(b)).toBe("first line\nmiddle\nlast line")

    for (const page of [a, b]) await page.locator("#connection").click()
    for (const page of [a, b]) await page.locator("#status").filter({ hasText: "Offline" }).waitFor()
    await a.locator("#body").evaluate((body: HTMLTextAreaElement) => body.setSelectionRange(0, 0))
    await a.locator("#body").press("A")
    await b.locator("#body").press("Control+End")
    await b.keyboard.type(" B")
    await b.locator("#title").fill("Shared by B")
    await newNote(a, "Only A", "made offline")
    await eventually(() => a.locator("#status").textContent()).toMatch(/^Offline · 2 notes to send$/)
    await eventually(() => b.locator("#status").textContent()).toMatch(/^Offline · 1 note to send$/)

    for (const page of [a, b]) await page.locator("#connection").click()
    for (const page of [a, b]) await allStored(page)
    for (const page of [a, b]) {
      await noteCalled(page, "Shared by B").click()
      await eventually(() => bodyOf(page)).toBe("Afirst line\nmiddle\nlast line B")
      await noteCalled(page, "Only A").click()
      await eventually(() => bodyOf(page)).toBe("made offline")
    }
  })

  it("shows the edits of others while a person types, and does not move the caret", async () => {
    const [a, b] = [await openPage("a"), await openPage("b")]
    await goto(a)
    await goto(b)
    await newNote(a, "Together", "one two three")
    await noteCalled(b, "Together").click()
    await eventually(() => bodyOf(b)).toBe("one two three")
    const caret = async (page: Page, at: number) => {
      await page.locator("#body").focus()
      await page.locator("#body").evaluate((body: HTMLTextAreaElement, at) => body.setSelectionRange(at, at), at)
    }

    await caret(b, 8)
    await caret(a, 0)
    await a.keyboard.type("zero ")
    await eventually(() => bodyOf(b)).toBe("zero one two three")
    await b.keyboard.type("2.5 ")
    await eventually(() => bodyOf(a)).toBe("zero one two 2.5 three")

    // both type at once, letter by letter: every letter appears once, in the order in which it was typed
    await caret(a, 0)
    await b.locator("#body").press("Control+End")
    await Promise.all([
      a.keyboard.type("abcdefghijklmnopqrstuvwxyz", { delay: 15 }),
      b.keyboard.type("ABCDEFGHIJKLMNOPQRSTUVWXYZ", { delay: 17 }),
    ])
    const merged = "abcdefghijklmnopqrstuvwxyzzero one two 2.5 threeABCDEFGHIJKLMNOPQRSTUVWXYZ"
    await eventually(() => bodyOf(a)).toBe(merged)
    await eventually(() => bodyOf(b)).toBe(merged)
    await a.reload()
    await noteCalled(a, "Together").click()
    await eventually(() => bodyOf(a)).toBe(merged)
  })

  it("does not disturb a character that an input method composes while others write", async () => {
    const [a, b] = [await openPage("a"), await openPage("b")]
    await goto(a)
    await goto(b)
    await newNote(a, "Composed", "one two")
    await noteCalled(b, "Composed").click()
    await eventually(() => bodyOf(b)).toBe("one two")
    await b.locator("#body").press("Control+End")
    const keyboard = await b.context().newCDPSession(b)
    await keyboard.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 })
    await a.locator("#body").press("Control+Home")
    await a.keyboard.type("zero ")
    await allStored(a)
    await b.locator("#rows span", { hasText: "zero one" }).waitFor()
    expect(await bodyOf(b)).toBe("one twoに")
    await keyboard.send("Input.insertText", { text: "日" })
    for (const page of [a, b]) await eventually(() => bodyOf(page)).toBe("zero one two日")
  })

  it("imports files, names those that cannot be imported, and exports every note", async () => {
    const page = await openPage("a")
    await page.addInitScript(() => Object.assign(window, { showDirectoryPicker: undefined }))
    await goto(page)
    const good = "---\ntags: [x, y]\nrating: 4.5\n---\n# Über uns\n\ntext 🙂\n"
    await page
      .locator("#files")
      .setInputFiles([
        file("good.md", good),
        file("plain.md", "no front matter"),
        file("latin1.md", Buffer.from([0x61, 0xe9, 0x62])),
        file("empty.md", ""),
        file("huge.md", "x".repeat(5_000_000)),
        file("broken.md", "---\ntitle: [a\n---\n"),
        file("long.md", "y".repeat(20_000)),
      ])
    const report = page.locator("#report[open]")
    await report.waitFor()
    expect(await report.locator("h2").textContent()).toBe("4 notes imported, 3 could not be imported:")
    const lines = (await report.locator("li").allTextContents()).sort().join("\n")
    expect(lines).toMatch(/^broken.md: imported; .*\nempty.md: .*empty\nhuge.md: .*5.0 MB.*\nlatin1.md: .*UTF-8/)
    await report.locator("button").click()
    await noteCalled(page, "Über uns").waitFor()

    const download = page.waitForEvent("download")
    await page.locator("#export").click()
    const archive = readFileSync(await (await download).path()).toString("utf8")
    await page.locator("#report[open] button").click()
    expect(archive).toMatch(/id: \S+\ntitle: Über uns\ntags: \[x, y\]\nrating: 4.5\n---\n# Über uns\n\ntext 🙂\n/)
    expect(archive).toContain("no front matter")
    expect(archive).toContain("y".repeat(20_000))

    await page.locator("#files").setInputFiles([file("good.md", good)])
    await page.locator("#report[open] h2").filter({ hasText: "0 notes imported, 1 here already" }).waitFor()
    await report.locator("button").click()

    // if the browser has a folder picker, the export writes into the chosen folder and keeps the other files there
    await page.evaluate(async () => {
      const folder = await navigator.storage.getDirectory()
      await folder.getDirectoryHandle("long.md", { create: true })
      const strange = await (await folder.getFileHandle("plain.md", { create: true })).createWritable()
      await strange.write("precious")
      await strange.close()
      Object.assign(window, { showDirectoryPicker: async () => folder })
    })
    await page.locator("#export").click()
    await report.locator("h2").filter({ hasText: "3 notes exported, 1 could not be exported:" }).waitFor()
    expect(await report.locator("li").allTextContents()).toEqual([expect.stringMatching(/^long.md: ./)])
    await report.locator("button").click()
    await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry("long.md"))
    await page.locator("#export").click()
    await report.locator("h2").filter({ hasText: "4 notes exported" }).waitFor()
    const files = await page.evaluate(async () => {
      const folder = (await navigator.storage.getDirectory()) as unknown as {
        values(): AsyncIterable<FileSystemFileHandle>
      }
      const files: Record<string, string> = {}
      for await (const handle of folder.values()) files[handle.name] = await (await handle.getFile()).text()
      return files
    })
    expect(Object.keys(files).sort()).toEqual(["broken.md", "good.md", "long.md", "plain 2.md", "plain.md"])
    expect(files["plain.md"]).toBe("precious")
  })

  it("changes no line break of a note that is only opened", async () => {
    const page = await openPage("a")
    await goto(page)
    const title = '---\nid: n1\ntitle: "Two\\nlines"\n---\nbody'
    await page
      .locator("#files")
      .setInputFiles([file("title.md", title), file("cr.md", "---\nid: n2\n---\none\rtwo\rthree")])
    await page.locator("#report[open] button").click()
    for (const text of ["body", "three"]) {
      await page.locator("#rows button", { hasText: text }).click()
      await eventually(() => bodyOf(page)).toContain(text)
      await page.keyboard.press("Escape")
    }
    await page.locator("#rows button", { hasText: "three" }).click()
    await page.locator("#body").click()
    const asked: string[] = []
    page.on("dialog", (dialog) => {
      asked.push(dialog.type())
      void dialog.accept()
    })
    await page.reload()
    expect(asked).toEqual([])
    await page.locator("#rows button", { hasText: "three" }).click()
    await eventually(() => bodyOf(page)).toBe("one\ntwo\nthree")
    await page.locator("#body").press("Control+End")
    await page.keyboard.type(" and more")
    await allStored(page)

    await page.evaluate(() => Object.assign(window, { showDirectoryPicker: () => navigator.storage.getDirectory() }))
    await page.locator("#export").click()
    await page.locator("#report[open] h2").filter({ hasText: "2 notes exported" }).waitFor()
    const exported = (name: string) =>
      page.evaluate(async (name) => {
        const folder = await navigator.storage.getDirectory()
        return (await (await folder.getFileHandle(name)).getFile()).text()
      }, name)
    expect(await exported("title.md")).toContain('title: "Two\\nlines"\n')
    expect(await exported("cr.md")).toMatch(/one\rtwo\rthree and more$/)
  })

  it("shows that text is not saved yet, asks before it closes, and deletes a note that is not saved yet", async () => {
    const page = await openPage("a")
    let arrive = () => {}
    const arrived = new Promise<void>((resolve) => (arrive = resolve))
    await page.route("**/*.wasm", async (route) => {
      await arrived
      await route.continue()
    })
    await goto(page)
    await allStored(page)
    await newNote(page, "Left", "early")
    await page.keyboard.press("Escape")
    await page
      .locator("#status")
      .filter({ hasText: /^Online · not saved yet$/ })
      .waitFor()
    await newNote(page, "Gone", "early")
    await page.locator("#delete").click()
    const question = page.waitForEvent("dialog")
    const reload = page.reload({ timeout: 3000 }).catch(() => {})
    await (await question).dismiss()
    arrive()
    await reload
    await noteCalled(page, "Left").waitFor()
    await allStored(page)
    expect(await noteCalled(page, "Gone").count()).toBe(0)
    expect(await page.locator("#report[open]").count()).toBe(0)
    await page.keyboard.press("Alt+u")
    await noteCalled(page, "Gone").click()
    await eventually(() => bodyOf(page)).toBe("early")
  })

  it("works by keyboard, on a phone's width", async () => {
    const page = await openPage("a", { width: 360, height: 640 })
    await goto(page)
    await page.keyboard.press("Alt+n")
    await page.keyboard.type("By keyboard")
    await page.keyboard.press("Enter")
    await page.keyboard.type("and more")
    await noteCalled(page, "By keyboard").waitFor({ state: "attached" })
    expect(await page.locator("#list").isVisible()).toBe(false)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    await page.keyboard.press("Escape")
    expect(await page.locator("#editor").isVisible()).toBe(false)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    await page.keyboard.press("/")
    await page.keyboard.type("KEYBOARD more")
    await eventually(() => page.locator("#count").textContent()).toBe("1 note")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await eventually(() => bodyOf(page)).toBe("and more")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Delete")
    await eventually(() => noteCalled(page, "By keyboard").count()).toBe(0)
    await page.keyboard.press("Alt+u")
    await noteCalled(page, "By keyboard").waitFor()
    await noteCalled(page, "By keyboard").press("Delete")
    await page.locator("#undo").press("Enter")
    await noteCalled(page, "By keyboard").and(page.locator(":focus")).waitFor()
    expect(await page.locator("#toast").isVisible()).toBe(false)
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await page.locator("#keys[open]").waitFor()
  })

  it("announces its status to screen readers, and shows where the focus is", async () => {
    const page = await openPage("a")
    await goto(page)
    const announced = page.getByRole("status").filter({ hasText: /^Online$/ })
    await announced.waitFor()
    expect(await page.locator("button [role=status]").count()).toBe(0)
    await page.locator("#connection").click()
    await page
      .getByRole("status")
      .filter({ hasText: /^Offline$/ })
      .waitFor()
    await newNote(page, "Title", "body")
    for (const id of ["title", "body"]) {
      await page.locator(`#${id}`).focus()
      const ring = await page.locator(`#${id}`).evaluate((input) => getComputedStyle(input).outlineStyle)
      expect(ring, id).toBe("solid")
    }
    expect(await page.locator("#announced").textContent()).toBe("Offline")
  })

  it("says when a note could not be deleted, and keeps it", async () => {
    const page = await openPage("a")
    await goto(page)
    await newNote(page, "Kept", "text")
    await page.locator("#rows button:not(.unsent)", { hasText: "text" }).waitFor()
    await page.evaluate(() => {
      const full = () => {
        throw new DOMException("the disk is full", "QuotaExceededError")
      }
      Object.assign(IDBObjectStore.prototype, { put: full, delete: full })
    })
    await page.keyboard.press("Escape")
    await page.keyboard.press("Delete")
    await page.locator("#report[open] h2").filter({ hasText: "could not be deleted" }).waitFor()
    expect(await page.locator("#report li").textContent()).toContain("STORE_FAILED")
    expect(await page.locator("#toast").isVisible()).toBe(false)
    await noteCalled(page, "Kept").waitFor()
  })

  it("notices that the network is gone, and dials at once when it is back", async () => {
    const [a, b] = [await openPage("a"), await openPage("b")]
    await goto(a)
    await newNote(a, "Underway", "written")
    await a.locator("#rows button:not(.unsent)", { hasText: "written" }).waitFor()
    const dialled: number[] = []
    a.on("websocket", () => dialled.push(Date.now()))

    await a.context().setOffline(true)
    stage.lose()
    await a.locator("#body").press("Control+End")
    await a.keyboard.type(" in a tunnel")
    const offline = a.locator("#status").filter({ hasText: /^Offline · 1 note to send$/ })
    await offline.waitFor({ timeout: 60_000 })
    await goto(b)
    await noteCalled(b, "Underway").click()
    await eventually(() => bodyOf(b)).toBe("written")
    await b.locator("#body").press("Control+Home")
    await b.keyboard.type("Was ")
    await allStored(b)
    // after so many failed dials the page waits for many seconds before it dials again by itself
    await expect.poll(() => dialled.length, { timeout: 90_000 }).toBeGreaterThan(4)
    await offline.waitFor()
    const back = Date.now()
    await a.context().setOffline(false)
    await allStored(a)
    expect((dialled.find((at) => at >= back) ?? Number.POSITIVE_INFINITY) - back).toBeLessThan(1000)
    for (const page of [a, b]) await eventually(() => bodyOf(page)).toBe("Was written in a tunnel")
  })

  it("says that the notes are open in another tab", async () => {
    const page = await openPage("a")
    await goto(page)
    const second = await page.context().newPage()
    const errors: Error[] = []
    second.on("pageerror", (error) => errors.push(error))
    await second.goto(stage.url)
    await second.locator("#status").filter({ hasText: "open in another tab" }).waitFor()
    expect(await second.evaluate(() => document.readyState)).toBe("complete")
    expect(errors).toEqual([])
  })

  it("lists 10,000 notes without WebAssembly, and loads it when a note is opened", async () => {
    const page = await openPage("a")
    await page.goto(`${stage.url}writer.html`)
    await page.waitForFunction(() => "writer" in window)
    await page.evaluate(() => (window as unknown as { writer: { fill(n: number): Promise<void> } }).writer.fill(10_000))

    const fresh = await page.context().newPage()
    await page.close()
    const wasm = await countWasm(fresh)
    const requested: string[] = []
    fresh.on("request", (request) => void requested.push(new URL(request.url()).pathname))
    const begun = Date.now()
    await goto(fresh)
    await fresh.locator("#count").filter({ hasText: "10000 notes" }).waitFor()
    await fresh.locator("#rows button").nth(30).waitFor()
    console.log(`10,000 notes are listed ${Date.now() - begun} ms after the navigation`)
    await fresh.locator("#search").fill("note 7777")
    await fresh.locator("#count").filter({ hasText: "1 of 10000 notes" }).waitFor()
    expect(await wasm()).toBe(0)
    expect(requested.filter((path) => path.endsWith(".wasm"))).toEqual([])
    const codeAtFirst = requested.filter((path) => path.endsWith(".js"))

    await noteCalled(fresh, "Note 7777").click()
    await eventually(() => wasm()).toBeGreaterThan(0) // before the first key
    await fresh.keyboard.type("edited ")
    await fresh
      .locator("#saved")
      .filter({ hasText: /Saved|Stored/ })
      .waitFor()
    expect(requested.filter((path) => path.endsWith(".wasm"))).toEqual(["/automerge.wasm"])
    expect(requested.filter((path) => path.endsWith(".js")).length).toBeGreaterThan(codeAtFirst.length)
  })
})
