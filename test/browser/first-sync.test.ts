import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, it } from "vitest"
import { notes as definition } from "../../examples/notes/notes.ts"
import { openPage } from "./notes-page.ts"
import { countWasm, openStage } from "./support.ts"

const NOTES = 2_000

it("shows the list of a first sync while it comes, without WebAssembly", { timeout: 120_000 }, async () => {
  const stage = await openStage()
  const collections = { notes: definition }
  const writer = await openWorkspace({ id: "notes", collections, store: memoryStore(), relay: { url: stage.relay } })
  const all = Array.from({ length: NOTES }, (_, i) => ({ title: `Note ${i}`, body: `${i} `.repeat(250) }))
  await Promise.all(all.map((note) => writer.notes.create(note)))
  await writer.whenStored()
  await writer.close()

  const page = await openPage(stage, "fresh")
  const wasm = await countWasm(page)
  await page.addInitScript(() => {
    const counts = new Set<number>()
    Object.assign(window, { counts })
    addEventListener("DOMContentLoaded", () => {
      const count = document.getElementById("count") as HTMLElement
      new MutationObserver(() => counts.add(Number.parseInt(count.textContent ?? "", 10))).observe(count, {
        childList: true,
        characterData: true,
        subtree: true,
      })
    })
  })
  await page.goto(stage.url)
  await page
    .locator("#count")
    .filter({ hasText: `${NOTES} notes` })
    .waitFor()
  await page.locator("#status").filter({ hasText: "all stored" }).waitFor()
  const counts = await page.evaluate(() => [...(window as unknown as { counts: Set<number> }).counts])
  expect(counts.filter((count) => count > 0 && count < NOTES).length).toBeGreaterThan(3)
  expect(counts).toEqual([...counts].sort((a, b) => a - b))
  expect(await wasm()).toBe(0)
  await stage.close()
})
