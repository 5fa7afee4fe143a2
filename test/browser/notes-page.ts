import type { Page } from "playwright-core"
import { expect } from "vitest"
import type { openStage } from "./support.ts"

// Actions that the browser tests of the notes page share.
type Stage = Awaited<ReturnType<typeof openStage>>

export async function openPage(
  stage: Stage,
  profile: string,
  viewport?: { width: number; height: number },
): Promise<Page> {
  const context = await stage.profile(profile, viewport)
  const page = await context.newPage()
  page.on("pageerror", (error) => console.error(`[${profile}] ${error.stack}`))
  return page
}

export async function goto(stage: Stage, page: Page): Promise<void> {
  await page.goto(stage.url)
  await page
    .locator("#count")
    .filter({ hasText: /notes?$/ })
    .waitFor()
}

export const allStored = (page: Page) => page.locator("#status").filter({ hasText: "all stored" }).waitFor()
export const noteCalled = (page: Page, title: string) => page.locator("#rows button", { hasText: title })
export const bodyOf = (page: Page) => page.locator("#body").inputValue()
export const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 15_000 })

export async function newNote(page: Page, title: string, body: string): Promise<void> {
  await page.locator("#new").click()
  await page.keyboard.type(title)
  await page.keyboard.press("Enter")
  await page.keyboard.insertText(body)
}

/** Makes a file for an `<input type="file">`. */
export const file = (name: string, content: string | Buffer, mimeType = "text/markdown") => ({
  name,
  mimeType,
  buffer: Buffer.from(content as string),
})

export const report = (page: Page) => page.locator("#report[open]")
