/** The React hooks in Chromium: two pages that type into one note, and hot replacement with Vite. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { build as esbuild } from "esbuild"
import { createRelay } from "headwater-relay"
import { type Browser, chromium, type Page } from "playwright-core"
import { createServer } from "vite"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { servePage } from "../../examples/notes/serve.ts"
import { launchOptions } from "./support.ts"

const root = path.resolve(import.meta.dirname, "../..")
const source = (file: string) => path.join(root, "src", file)
const alias = {
  "headwater/indexeddb": source("store/indexeddb.ts"),
  "headwater/react": source("screens/react.ts"),
  headwater: source("index.ts"),
  "#websocket": source("sync/websocket.ts"),
}
const html = (script: string) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div id="root"></div><script type="module" src="${script}"></script>`

const folder = mkdtempSync(path.join(tmpdir(), "headwater-react-"))
let browser: Browser
let relay: Awaited<ReturnType<typeof createRelay>>
let runs = 0
beforeAll(async () => {
  browser = await chromium.launch(launchOptions)
})
afterAll(async () => {
  await browser.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})
beforeEach(async () => {
  relay = await createRelay({ port: 0, data: path.join(folder, `relay-${runs++}`) })
})
afterEach(() => relay.close())

/** Opens the page in a browser profile of its own. Errors of the page are in `errors`. */
async function visit(url: string) {
  const context = await browser.newContext()
  const page = await context.newPage()
  const errors: string[] = []
  page.on("pageerror", (error) => errors.push(String(error)))
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()))
  await page.goto(`${url}?relay=${encodeURIComponent(relay.url)}`)
  return { page, errors, close: () => context.close() }
}
const typedIn = (page: Page) => page.locator("textarea").inputValue()
const put = (page: Page, at: number) =>
  page.locator("textarea").evaluate((element: HTMLTextAreaElement, at) => {
    element.focus()
    element.setSelectionRange(at, at)
  }, at)
const shows = (page: Page, id: string, text: string) =>
  page.waitForFunction(([id, text]) => document.getElementById(id as string)?.textContent === text, [id, text])

describe("two pages with one note", () => {
  const out = path.join(folder, "app")
  let server: Awaited<ReturnType<typeof servePage>>
  let pages: Awaited<ReturnType<typeof visit>>[]
  let [a, b] = [] as unknown as [Page, Page]
  beforeAll(async () => {
    const entryPoints = [path.join(import.meta.dirname, "react-app.ts")]
    await esbuild({ entryPoints, outdir: out, bundle: true, splitting: true, format: "esm", alias })
    writeFileSync(path.join(out, "index.html"), html("react-app.js"))
    server = await servePage({ port: 0, relay: "", folder: out })
  })
  afterAll(() => server.close())
  beforeEach(async () => {
    pages = await Promise.all([visit(server.url), visit(server.url)])
    ;[a, b] = pages.map(({ page }) => page) as [Page, Page]
    await a.locator("#new").evaluate((button: HTMLElement) => button.click())
    await Promise.all([a, b].map((page) => page.waitForSelector("textarea")))
  })
  afterEach(async () => {
    await Promise.all(pages.map(({ close }) => close()))
    expect(pages.flatMap(({ errors }) => errors)).toEqual([])
  })
  /** Waits until both pages show this text, in the textarea, elsewhere and in the row, and the relay has it. */
  async function bothShow(text: string): Promise<void> {
    for (const page of [a, b]) {
      for (const id of ["value", "row"]) await shows(page, id, text)
      await shows(page, "status", "live 0")
      expect(await typedIn(page)).toBe(text)
    }
  }

  it("loses no key that is typed fast into both, and keeps every run whole", async () => {
    const [here, there] = [" quick brown fox".repeat(8), " lazy dog sleeps".repeat(8)]
    await put(a, 3)
    await put(b, "one two\n\nthree".length)
    await Promise.all([a.keyboard.type(here), b.keyboard.type(there)])
    await bothShow(`one${here} two\n\nthree${there} four`)
    expect(await a.locator("textarea").evaluate((e: HTMLTextAreaElement) => e.selectionEnd)).toBe(3 + here.length)
  })

  it("keeps both runs whole where they are typed at one place, with new lines and deletions", async () => {
    await Promise.all([put(a, 8), put(b, 8)])
    const runs = ["first\nline xx".repeat(5), "other words yy".repeat(5)] as const
    const typed = async (page: Page, run: string) => {
      await page.keyboard.type(run)
      await page.keyboard.press("Backspace")
      await page.keyboard.press("Backspace")
    }
    await Promise.all([typed(a, runs[0]), typed(b, runs[1])])
    const [x, y] = runs.map((run) => run.slice(0, -2)) as [string, string]
    await a.waitForFunction(
      (length) => document.querySelector("textarea")?.value.length === length,
      19 + x.length + y.length,
    )
    const text = await typedIn(a)
    expect([`one two\n${x}${y}\nthree four`, `one two\n${y}${x}\nthree four`]).toContain(text)
    await bothShow(text)
  })

  it("undoes what was typed here, and leaves what the other page has written", async () => {
    await put(a, 3)
    await a.keyboard.type("XYZ")
    await put(b, 0)
    await b.keyboard.type("> ")
    await shows(a, "value", "> oneXYZ two\n\nthree four")
    await a.keyboard.press("Control+z")
    await bothShow("> one two\n\nthree four")
    await a.keyboard.press("Control+Shift+z")
    await bothShow("> oneXYZ two\n\nthree four")
  })

  it("an input method composes undisturbed while the other page types", async () => {
    await put(a, 3)
    const keyboard = await a.context().newCDPSession(a)
    const compose = (text: string) =>
      keyboard.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length })
    await compose("に")
    await put(b, 0)
    await b.keyboard.type("> ")
    await shows(b, "status", "live 0")
    await shows(a, "row", "> one two\n\nthree four") // the edit has arrived
    await compose("にほ")
    await compose("にほん")
    await shows(a, "value", "oneにほん two\n\nthree four")
    await keyboard.send("Input.insertText", { text: "日本" })
    await bothShow("> one日本 two\n\nthree four")
  })

  it("a note that is closed and opened again at once has what was typed", async () => {
    await put(a, 3)
    for (const run of [" a", " b", " c"]) {
      await a.keyboard.type(run)
      for (let i = 0; i < 2; i++) await a.locator("#toggle").evaluate((button: HTMLElement) => button.click())
      await a.waitForSelector("textarea")
      await put(a, (await typedIn(a)).indexOf(" two"))
    }
    await bothShow("one a b c two\n\nthree four")
  })
})

describe("hot replacement with Vite", () => {
  it("replaces the data module while a person types, and the workspace stays open", async () => {
    const app = path.join(folder, "vite")
    mkdirSync(app)
    symlinkSync(path.join(root, "node_modules"), path.join(app, "node_modules"))
    const data = (title: string, key: string) => `
      import { collection, shape, text } from "headwater"
      import { indexedDBStore } from "headwater/indexeddb"
      const notes = collection("notes", shape(), { fields: { body: text() } })
      const relay = { url: new URLSearchParams(location.search).get("relay") }
      export const options = { id: "w", collections: { notes }, store: indexedDBStore("w"), relay }
      export const [title, key] = ["${title}", "${key}"]`
    const write = (name: string, text: string) => writeFileSync(path.join(app, name), text)
    write("index.html", html("/main.js"))
    write("data.js", data("first", "1"))
    write(
      "main.js",
      `import { createElement as h, StrictMode, useEffect } from "react"
      import { createRoot } from "react-dom/client"
      import { useEntity, useHandle, useText, useWorkspace } from "headwater/react"
      import * as first from "./data.js"
      function App({ data }) {
        const ws = useWorkspace(data.options)
        useEffect(() => void ws?.notes.create({ body: "" }, { id: "a" }).catch(() => {}), [ws])
        const isThere = useEntity(ws?.notes ?? null, "a") !== undefined
        return [h("h1", { key: 1, id: "title" }, data.title), isThere && h(Editor, { key: 2, ws, id: "a" })]
      }
      function Editor({ ws, id }) {
        const handle = useHandle(ws.notes, id)
        const { ref, ...props } = useText(handle?.text("body"))
        return handle && h("textarea", { ref, ...props })
      }
      const root = createRoot(document.getElementById("root"))
      const render = (data) => root.render(h(StrictMode, null, h(App, { data, key: data.key })))
      render(first)
      import.meta.hot.accept("./data.js", render)`,
    )
    const server = await createServer({
      root: app,
      configFile: false,
      logLevel: "error",
      cacheDir: path.join(app, "cache"),
      resolve: { alias },
      server: { port: 0, host: "127.0.0.1", fs: { strict: false } },
    })
    await server.listen()
    const { page, errors, close } = await visit(server.resolvedUrls?.local[0] as string)
    try {
      await page.waitForSelector("textarea")
      await page.evaluate(() => Object.assign(window, { isSamePage: true }))
      await page.locator("textarea").focus()
      await page.keyboard.type("before ")
      write("data.js", data("second", "1")) // other objects for the same workspace, in the same components
      const typed = "while it is replaced "
      await page.keyboard.type(typed)
      await shows(page, "title", "second")
      await page.keyboard.type("between ")
      write("data.js", data("third", "2")) // other components
      await shows(page, "title", "third")
      await page.waitForSelector("textarea")
      const { length } = await typedIn(page)
      await put(page, length)
      await page.keyboard.type("after")
      expect(await typedIn(page)).toBe(`before ${typed}between after`)
      expect(await page.evaluate(() => (window as { isSamePage?: boolean }).isSamePage)).toBe(true)
      expect(errors).toEqual([])
    } finally {
      await close()
      await server.close()
    }
  })
})
