import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openStage } from "./support.ts"

let stage: Awaited<ReturnType<typeof openStage>>
beforeAll(async () => {
  stage = await openStage(["conformance", "writer"])
})
afterAll(() => stage.close())

interface Note {
  readonly id: string
  readonly body: string
  readonly tags: number
  readonly agrees: boolean
}
type Script = {
  runAll(): Promise<{ name: string; error: string | null }[]>
  durabilities: readonly string[]
  writer: { write(): Promise<never>; check(): Promise<Note[]> }
}

describe("IndexedDB in Chromium", () => {
  it("passes every test of the store's conformance suite", async () => {
    const page = await (await stage.profile("conformance")).newPage()
    await page.goto(`${stage.url}conformance.html`)
    await page.waitForFunction(() => "runAll" in window)
    const results = await page.evaluate(() => (window as unknown as Script).runAll())
    expect(results.filter(({ error }) => error !== null)).toEqual([])
    expect(results.length).toBeGreaterThan(15)
    const durabilities = await page.evaluate(() => (window as unknown as Script).durabilities)
    expect(durabilities.length).toBeGreaterThan(100)
    expect(new Set(durabilities)).toEqual(new Set(["strict"]))
    console.log(`${results.length} lines of the store contract hold in Chromium`)
  })

  it.each([
    ["the tab", 700],
    ["the whole browser", 900],
  ])("loses nothing saved when %s is killed during a write", async (what, after) => {
    const name = `killed-${after}`
    const context = await stage.profile(name)
    const saved = new Set<string>()
    const page = await context.newPage()
    await page.exposeFunction("saved", (id: string) => void saved.add(id))
    await page.goto(`${stage.url}writer.html`)
    await page.waitForFunction(() => "writer" in window)
    void page.evaluate(() => (window as unknown as Script).writer.write()).catch(() => {})
    await expect.poll(() => saved.size, { timeout: 30_000 }).toBeGreaterThan(20)
    await new Promise((resolve) => setTimeout(resolve, after))
    const session = await context.newCDPSession(page)
    if (what === "the tab") {
      const crashed = page.waitForEvent("crash")
      void session.send("Page.crash").catch(() => {})
      await crashed
    } else {
      const closed = context.waitForEvent("close")
      void session.send("Browser.crash").catch(() => {})
      await closed
    }
    const said = new Set(saved)

    const again = what === "the tab" ? context : await stage.profile(name)
    const reader = await again.newPage()
    await reader.goto(`${stage.url}writer.html`)
    await reader.waitForFunction(() => "writer" in window)
    const notes = await reader.evaluate(() => (window as unknown as Script).writer.check())
    const byId = new Map(notes.map((note) => [note.id, note]))
    const lost = [...said].filter((id) => !/^\d+ x{500}$/.test(byId.get(id)?.body ?? "") || byId.get(id)?.tags !== 1)
    expect(lost).toEqual([])
    expect(notes.filter(({ agrees }) => !agrees)).toEqual([])
    console.log(`${what} was killed after ${said.size} saved notes; ${notes.length} are there`)
  })
})
