/**
 * Measures how long a key takes until its letter is on the screen, in an editor of CodeMirror that is bound to a note:
 * from the key's event to the end of the frame that shows it, in Chromium, with keys that a browser sends. Beside it, the
 * part of that in which the letter is put into the editor and the text; the rest is the frame, and what the library does
 * before it to save the letter. The same editor without a binding is measured in the same run.
 */
import { once } from "node:events"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { memoryStore } from "headwater/memory"
import { createRelay } from "headwater-relay"
import { chromium, type Page } from "playwright-core"
import { figure } from "./figures.ts"
import { openNotes } from "./notes.ts"

const ROUNDS = 3
const KEYS = 100
/** Between two keys, ms: a fast typist. */
const KEY_MS = 60
/** Between two letters of the other person, ms. */
const OTHER_MS = 100
const executablePath = "/usr/bin/chromium"
if (!existsSync(executablePath)) {
  console.log(`  not measured: there is no ${executablePath}`)
  process.exit(0)
}

declare function bare(body: string): void
declare function bound(relay: string, id: string): Promise<void>
declare function taken(): Keys

/** Times of keys, ms. */
interface Keys {
  /** Until the frame that shows the letter has ended. */
  readonly times: number[]
  /** Until the letter is in the editor and in the text. */
  readonly work: number[]
}

const root = path.join(import.meta.dirname, "../..")
const door = await build({
  entryPoints: [path.join(root, "dist/doors/screens/codemirror.js")],
  bundle: true,
  packages: "external",
  format: "esm",
  minify: true,
  write: false,
})
figure("headwater/codemirror, minified and gzipped", [gzipSync(door.outputFiles[0]!.contents).length], " bytes", {
  atMost: 2000,
})

const { outputFiles } = await build({
  entryPoints: [path.join(import.meta.dirname, "../editor-page.ts")],
  tsconfigRaw: {},
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  outdir: "/",
  write: false,
})
const files = new Map(outputFiles.map((file) => [`/${path.basename(file.path)}`, file.contents]))
const page = `<!doctype html><meta charset="utf-8"><script type="module" src="/editor-page.js"></script>`
files.set("/", new TextEncoder().encode(page))
const server = createServer(({ url = "" }, response) => {
  const type = url.endsWith(".js") ? "text/javascript" : "text/html"
  response.writeHead(files.has(url) ? 200 : 404, { "content-type": type }).end(files.get(url))
})
server.listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
const other = await openNotes(memoryStore(), relay.url)

/** Opens a page with a fresh profile, and types in the editor that `show` shows there. */
async function typeIn(show: (page: Page) => Promise<void>): Promise<Keys> {
  const profile = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
  const context = await chromium.launchPersistentContext(profile, { executablePath, args })
  try {
    const page = await context.newPage()
    await page.goto(url)
    await page.waitForFunction("globalThis.bound !== undefined")
    await show(page)
    const letters = "the quick brown fox ".repeat(KEYS).slice(0, KEYS)
    await page.keyboard.type(letters.slice(0, 20), { delay: KEY_MS }) // until the code is compiled
    await page.evaluate(() => taken())
    await page.keyboard.type(letters, { delay: KEY_MS })
    await page.waitForFunction("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 1)))")
    const keys = await page.evaluate(() => taken())
    if (keys.times.length !== KEYS) throw new Error(`${keys.times.length} keys of ${KEYS} were measured`)
    return keys
  } finally {
    await context.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

const line = "Lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor.\n"
/** The value below which a part `q` of all values lies. */
const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(q * values.length) - 1]!

function print(name: string, rounds: readonly Keys[], atMost?: number): void {
  const each = (of: (keys: Keys) => number[], q: number) => rounds.map((keys) => quantile(of(keys), q))
  figure(
    `${name}: key to frame, p50`,
    each(({ times }) => times, 0.5),
    " ms",
  )
  figure(
    "... p95",
    each(({ times }) => times, 0.95),
    " ms",
    atMost === undefined ? {} : { atMost },
  )
  figure(
    "... key to text, p50",
    each(({ work }) => work, 0.5),
    " ms",
  )
  figure(
    "... p95",
    each(({ work }) => work, 0.95),
    " ms",
  )
}

for (const kB of [1, 10, 100]) {
  const body = line.repeat(Math.ceil((kB * 1000) / line.length))
  const rounds: Record<"bare" | "alone" | "together", Keys[]> = { bare: [], alone: [], together: [] }
  for (let round = 0; round < ROUNDS; round++) {
    const { id } = await other.notes.create({ title: "T", body, tags: [] })
    await other.whenStored()
    const handle = await other.notes.open(id)
    const show = (page: Page) => page.evaluate(([url, id]) => bound(url!, id!), [relay.url, id])
    rounds.bare.push(await typeIn((page) => page.evaluate((body) => bare(body), body)))
    rounds.alone.push(await typeIn(show))
    const typing = setInterval(() => handle.text("body").splice(5, 0, "x"), OTHER_MS)
    rounds.together.push(await typeIn(show))
    clearInterval(typing)
    await handle.close()
  }
  print(`${kB} kB, without a binding`, rounds.bare)
  print(`${kB} kB`, rounds.alone, kB === 10 ? 16 : undefined)
  print(`${kB} kB, another types 10 letters/s`, rounds.together, kB === 10 ? 16 : undefined)
}
await other.close()
await relay.close()
server.close()
rmSync(folder, { recursive: true })
