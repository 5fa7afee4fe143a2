/**
 * Processes of their own for tests and benchmarks: TypeScript programs of this repository, each bounded in time and
 * ended by its own id, none left behind.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import path from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { build } from "esbuild"

// Both from here and from bench/dist, where benchmarks are built.
const root = path.resolve(import.meta.dirname, "../..")
const cache = path.join(root, "node_modules/.cache")
const bundles = new Map<string, Promise<string>>()
const running = new Set<Child>()
let folder: string | undefined

process.on("exit", () => {
  for (const child of running) child.signal("SIGKILL")
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** Bundles a program, named from the repository's root, with the sources that it imports; returns the file to run. */
export function program(entry: string): Promise<string> {
  let bundled = bundles.get(entry)
  if (!bundled) bundles.set(entry, (bundled = bundle(entry)))
  return bundled
}

async function bundle(entry: string): Promise<string> {
  mkdirSync(cache, { recursive: true })
  folder ??= mkdtempSync(path.join(cache, "programs-"))
  const file = path.join(folder, `${entry.replaceAll(/[^a-z0-9]+/gi, "-")}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    packages: "external",
    alias: {
      "headwater/node": "./src/store/node.ts",
      "headwater/memory": "./src/store/memory.ts",
      headwater: "./src/index.ts",
      "#websocket": "./src/sync/websocket.node.ts",
    },
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "warning",
  })
  return file
}

export interface Bounds {
  /** After this long it is killed, and `line` rejects. */
  readonly seconds?: number
}

export class Child {
  readonly process: ChildProcess
  /** What it has said on stderr, so far. */
  stderr = ""
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  #lines: string[] = []
  #ended = false
  #woken = () => {}

  constructor(file: string, args: readonly string[], { seconds = 120 }: Bounds) {
    this.process = spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "pipe"] })
    running.add(this)
    const late = setTimeout(() => this.signal("SIGKILL"), seconds * 1000)
    this.process.stdin?.on("error", () => {})
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text
    })
    const lines = createInterface({ input: this.process.stdout! })
    lines.on("line", (line) => {
      this.#lines.push(line)
      this.#woken()
    })
    // A test that stops listening destroys the stream, and readline takes only its end for one.
    this.process.stdout?.on("close", () => lines.close())
    // Both streams are read to their ends even when the process was killed: what it printed, it printed.
    this.exited = Promise.all([once(this.process, "close"), once(lines, "close")]).then(([[code, signal]]) => {
      clearTimeout(late)
      running.delete(this)
      this.#ended = true
      this.#woken()
      return { code, signal }
    })
  }

  get pid(): number {
    return this.process.pid!
  }

  /** The next line of stdout. Rejects when the process has ended before it. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#lines.shift()
      if (line !== undefined) return line
      if (this.#ended) throw new Error(`the process ended before its next line\n${this.stderr}`)
      await new Promise<void>((resolve) => {
        this.#woken = resolve
      })
    }
  }

  /** Every line that has come and was not taken yet. */
  takeLines(): string[] {
    return this.#lines.splice(0)
  }

  say(line: string): void {
    this.process.stdin?.write(`${line}\n`)
  }

  signal(signal: NodeJS.Signals): void {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal)
  }

  /** Ends it; resolves when it is gone. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal(signal)
    return this.exited
  }

  /** Stops it where it stands (Linux); resolves when no thread of it runs any more, nor waits for a disk. */
  async freeze(): Promise<void> {
    this.signal("SIGSTOP")
    const tasks = `/proc/${this.pid}/task`
    const stopped = (task: string) => / [Tt] /.test(readFileSync(`${tasks}/${task}/stat`, "utf8").replace(/^.*\)/s, ""))
    while (!readdirSync(tasks).every(stopped)) await sleep(1)
  }
}

/** Starts a program that `program` has made. */
export const start = (file: string, args: readonly string[] = [], bounds: Bounds = {}): Child =>
  new Child(file, args, bounds)

export interface RelayProcess extends Child {
  readonly url: string
  readonly port: number
}

/** The relay as its command line starts it, on loopback. `port` 0 takes a free one. */
export async function startRelay(
  data: string,
  { port = 0, ...bounds }: Bounds & { port?: number } = {},
): Promise<RelayProcess> {
  const child = start(await program("relay/main.ts"), ["serve", "--port", String(port), "--data", data], bounds)
  const line = JSON.parse(await child.line()) as { url: string; port: number }
  return Object.assign(child, { url: line.url, port: line.port })
}

/** Ends whatever is still running. For `afterEach` and `afterAll`. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.end()))
}
