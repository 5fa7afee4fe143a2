/**
 * Measures how long a fresh page in Chromium takes to read a list of 10,000 titles from IndexedDB. This is compared
 * with the least that an app without a database does: fetch one file from loopback, and parse its text as JSON. Neither
 * time includes loading the script.
 */
import { once } from "node:events"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { build } from "esbuild"
import { chromium } from "playwright-core"
import { figure } from "./figures.ts"

const ROUNDS = 9
const NOTES = 10_000
const executablePath = "/usr/bin/chromium"
if (!existsSync(executablePath)) {
  console.log(`  not measured: there is no ${executablePath}`)
  process.exit(0)
}

const { outputFiles } = await build({
  entryPoints: [path.join(import.meta.dirname, "../open-page.ts")],
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
const encoder = new TextEncoder()
files.set("/", encoder.encode(`<!doctype html><script type="module" src="/open-page.js"></script>`))

const server = createServer((request, response) => {
  const body = files.get(request.url ?? "")
  const type = request.url?.endsWith(".js") ? "text/javascript" : request.url === "/" ? "text/html" : "application/json"
  response.writeHead(body ? 200 : 404, { "content-type": type, "cache-control": "no-store" }).end(body)
})
server.listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
const browser = await chromium.launchPersistentContext(folder, { executablePath, args })

async function inPage<T>(call: string): Promise<T> {
  const page = await browser.newPage()
  page.setDefaultTimeout(600_000)
  await page.goto(url)
  await page.waitForFunction("globalThis.json !== undefined")
  const result = await page.evaluate<T>(call)
  await page.close()
  return result
}

files.set("/rows.json", encoder.encode(await inPage<string>(`seed(${NOTES})`)))
interface Opened {
  readonly ms: number
  readonly titles: number
}
const once10k = async (what: string) => {
  const { ms, titles } = await inPage<Opened>(`${what}()`)
  if (titles !== NOTES) throw new Error(`${what} has ${titles} titles`)
  return ms
}
const ours: number[] = []
const parse: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  ours.push(await once10k("ours"))
  parse.push(await once10k("json"))
}
await browser.close()
server.close()
rmSync(folder, { recursive: true })
figure("10,000 notes from IndexedDB to a list of titles", ours, " ms")
figure("fetch from loopback + text() + JSON.parse of the same rows", parse, " ms")
figure(
  "... cost of ours to that",
  ours.map((ms, round) => ms / parse[round]!),
  "x",
  { atMost: 2 },
)
