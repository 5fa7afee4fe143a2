/**
 * Measures the first sync of the notes page in Chromium, with a fresh profile and a relay that has 1,000 and then
 * 10,000 notes. A long task is a turn of the page's thread that takes more than 50 ms (W3C, Long Tasks API). While it
 * runs, the page answers no key. The time includes waits for a core, which are long while Chromium starts its processes on
 * a machine of two cores. So the same page without its scripts is measured beside it, and each task's processor time.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { nodeStore } from "headwater/node"
import { createRelay } from "headwater-relay"
import { type BrowserContext, chromium, type Page } from "playwright-core"
import { servePage } from "../examples/notes/serve.ts"
import { figure } from "./figures.ts"
import { fill, openNotes } from "./notes.ts"

const ROUNDS = 3
const executablePath = "/usr/bin/chromium"
const pageFolder = path.join(import.meta.dirname, "../../examples/dist/notes/page")
if (!existsSync(executablePath)) {
  console.log(`  not measured: there is no ${executablePath}`)
  process.exit(0)
}

interface Sync {
  /** From the navigation to the first row, ms. */
  readonly first: number
  /** From the navigation to the last row, ms. */
  readonly all: number
  /** How many different numbers of notes the page showed. */
  readonly steps: number
  /** Durations of the long tasks, ms. */
  readonly longTasks: readonly number[]
  /** The most processor time that a task of the page's thread took, ms. */
  readonly busiest: number
  /** How often the page compiled WebAssembly. */
  readonly wasm: number
}

/** An event of Chromium's trace: a task of a thread, or the name of a thread. Times in microseconds. */
interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly tdur?: number
  readonly args: { readonly name?: string }
}

/** Begins a trace of the page's tasks. The function that it returns ends the trace and returns its events. */
async function trace(page: Page): Promise<() => Promise<readonly TraceEvent[]>> {
  const session = await page.context().newCDPSession(page)
  const events: TraceEvent[] = []
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as TraceEvent[])))
  const traceConfig = { includedCategories: ["toplevel", "__metadata"] }
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig })
  return async () => {
    const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve))
    await session.send("Tracing.end")
    await complete
    return events
  }
}

/** Returns the most processor time that a task of a renderer's main thread took, ms. */
function busiestTask(events: readonly TraceEvent[]): number {
  const called = (name: string) => events.filter((event) => event.name === name)
  const threads = called("thread_name").filter(({ args }) => args.name === "CrRendererMain")
  const main = new Set(threads.map(({ pid, tid }) => `${pid} ${tid}`))
  const tasks = called("ThreadControllerImpl::RunTask").filter(({ pid, tid }) => main.has(`${pid} ${tid}`))
  if (tasks.length === 0) throw new Error("the trace has no task of the page")
  return Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000
}

/** Measures in the page. Runs there before the scripts of the page. */
function watch(): void {
  const seen = { longTasks: [] as number[], wasm: 0, counts: new Map<number, number>() }
  Object.assign(window, { seen })
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.longTasks.push(duration)
  }).observe({ type: "longtask", buffered: true })
  for (const name of ["compile", "compileStreaming", "instantiate", "instantiateStreaming"] as const) {
    const original = WebAssembly[name] as (...args: unknown[]) => unknown
    const counted = (...args: unknown[]) => {
      seen.wasm++
      return original.apply(WebAssembly, args)
    }
    Object.assign(WebAssembly, { [name]: counted })
  }
  addEventListener("DOMContentLoaded", () => {
    const count = document.getElementById("count")!
    const look = () => {
      const shown = Number.parseInt(count.textContent ?? "", 10)
      if (shown > 0 && !seen.counts.has(shown)) seen.counts.set(shown, performance.now())
    }
    new MutationObserver(look).observe(count, { childList: true, characterData: true, subtree: true })
  })
}

/** Opens a page in a new Chromium with a fresh profile. */
async function inNewBrowser<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
  let context: BrowserContext | undefined
  try {
    context = await chromium.launchPersistentContext(profile, { executablePath, args })
    const page = await context.newPage()
    page.setDefaultTimeout(120_000)
    await page.addInitScript(watch)
    return await use(page)
  } finally {
    await context?.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

const sync = (url: string, notes: number): Promise<Sync> =>
  inNewBrowser(async (page) => {
    const endTrace = await trace(page)
    await page.goto(url)
    await page
      .locator("#count")
      .filter({ hasText: `${notes} notes` })
      .waitFor()
    await page.locator("#status").filter({ hasText: "all stored" }).waitFor()
    const { longTasks, wasm, counts } = await seenIn(page)
    const busiest = busiestTask(await endTrace())
    return { first: counts[0]!, all: counts.at(-1)!, steps: counts.length, longTasks, busiest, wasm }
  })

/** Opens the page without its scripts, and waits a second. Returns the durations of its long tasks, ms. */
const openBare = (url: string): Promise<readonly number[]> =>
  inNewBrowser(async (page) => {
    await page.route("**/*.js", (route) => route.abort())
    await page.goto(url)
    await page.waitForTimeout(1000)
    return (await seenIn(page)).longTasks
  })

/** Returns what `watch` has measured in the page. */
function seenIn(page: Page): Promise<Pick<Sync, "longTasks" | "wasm"> & { readonly counts: readonly number[] }> {
  return page.evaluate(() => {
    const { longTasks, wasm, counts } = (
      window as unknown as { seen: { longTasks: number[]; wasm: number; counts: Map<number, number> } }
    ).seen
    return { longTasks, wasm, counts: [...counts.values()] }
  })
}

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
const url = `ws://127.0.0.1:${relay.port}`
const server = await servePage({ port: 0, relay: url, folder: pageFolder })
const writer = await openNotes(nodeStore(path.join(folder, "writer")), url, "notes")
for (const notes of [1_000, 10_000]) {
  await fill(writer, notes)
  await writer.whenStored()
  const rounds: Sync[] = []
  const bare: (readonly number[])[] = []
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push(await sync(server.url, notes))
    bare.push(await openBare(server.url))
  }
  const called = `${notes.toLocaleString("en")} notes`
  figure(
    `${called}: first row shown`,
    rounds.map(({ first }) => first),
    " ms",
  )
  figure(
    `${called}: all rows shown`,
    rounds.map(({ all }) => all),
    " ms",
  )
  figure(
    "... each",
    rounds.map(({ all }) => all / notes),
    " ms",
  )
  figure(
    "... numbers of notes that the page showed on the way",
    rounds.map(({ steps }) => steps),
    "",
  )
  figure(
    "... long tasks",
    rounds.map(({ longTasks }) => longTasks.length),
    "",
    { atMost: 0 },
  )
  figure(
    "... the longest of them",
    rounds.map(({ longTasks }) => Math.max(0, ...longTasks)),
    " ms",
  )
  figure(
    "... the same page without its scripts: long tasks",
    bare.map((longTasks) => longTasks.length),
    "",
  )
  figure(
    "... processor time of the task that took most",
    rounds.map(({ busiest }) => busiest),
    " ms",
    { atMost: 50 },
  )
  figure(
    "... WebAssembly compiled",
    rounds.map(({ wasm }) => wasm),
    " times",
    { atMost: 0 },
  )
}
await writer.close()
await server.close()
await relay.close()
rmSync(folder, { recursive: true })
