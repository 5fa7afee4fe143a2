import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { get, request } from "node:http"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { servePage } from "../../examples/notes/serve.ts"
import { untilPasses } from "../support/until.ts"

let folder: string
let page: Awaited<ReturnType<typeof servePage>>
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "headwater-serve-"))
  page = await servePage({ port: 0, relay: "ws://relay", folder })
})
afterEach(async () => {
  await page.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Requests exactly this path and returns the status. `fetch` is not used here, because it would correct the path. */
const status = (path: string) =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(page.url)
    request({ hostname, port, path, timeout: 2000 }, (response) => resolve(response.resume().statusCode))
      .on("timeout", () => reject(new Error(`no answer to ${path}`)))
      .on("error", reject)
      .end()
  })

describe("the page's server", () => {
  it("answers 404 to a path that is not a URL, and goes on", async () => {
    for (const path of ["//", "///", "http://", "http://[", "*", "/%"]) expect(await status(path), path).toBe(404)
    writeFileSync(path.join(folder, "page.js"), "")
    expect(await status("/page.js")).toBe(200)
  })

  it("answers 404 while the page is being built again", async () => {
    expect(await status("/")).toBe(404)
    expect(await status("/page.js")).toBe(404)
    writeFileSync(path.join(folder, "index.html"), `<meta name="relay" content="%RELAY%">`)
    expect(await (await fetch(page.url)).text()).toBe(`<meta name="relay" content="ws://relay">`)
  })

  it("keeps no file open when a client leaves during the answer", async () => {
    writeFileSync(path.join(folder, "page.js"), Buffer.alloc(16_000_000))
    const goneInTheMiddle = () =>
      new Promise((resolve, reject) => {
        get(`${page.url}page.js`, (response) =>
          response.once("data", () => response.destroy()).once("close", resolve),
        ).on("error", reject)
      })
    const open = () => readdirSync("/dev/fd").length
    await goneInTheMiddle()
    const before = open()
    for (let n = 0; n < 20; n++) await goneInTheMiddle()
    await untilPasses(() => expect(open()).toBeLessThan(before + 10))
  })
})
