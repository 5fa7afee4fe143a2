/**
 * Child processes for tests and benchmarks: TypeScript programs of this repository. Each has a time limit, is ended by
 * its own id, and is never left behind.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import path from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { build } from "esbuild"

// right both for this folder and for bench/dist, from which built benchmarks run
const root = path.resolve(import.meta.dirname, "../..")
const cache = path.join(root, "node_modules/.cache")
const bundles = new Map<string, Promise<string>>()
const running = new Set<Child>()
let folder: string | undefined

process.on("exit", () => {
  for (const child of running) child.signal("SIGKILL")
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/**
 * Bundles a program with the sources that it imports. `entry` is its path from the repository's root. Returns the file
 * to run.
 */
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
  /** After this many seconds the process is killed, and `line` rejects. */
  readonly seconds?: number
  /** The environment. Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv
}

export class Child {
  readonly process: ChildProcess
  /** Everything that the process has written to stderr so far. */
  stderr = ""
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  #lines: string[] = []
  #ended = false
  #woken = () => {}

  constructor(file: string, args: readonly string[], { seconds = 120, env = process.env }: Bounds) {
    this.process = spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "pipe"], env })
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
    // If a test destroys the stream to stop listening, the stream closes without an end, and readline would wait for
    // the end.
    this.process.stdout?.on("close", () => lines.close())
    // Both streams are read to their ends, because a killed process may have printed lines that are not read yet.
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

  /** The next line of stdout. Rejects when the process ends before it. */
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

  /** All lines that were printed and that no earlier call has returned. */
  takeLines(): string[] {
    return this.#lines.splice(0)
  }

  say(line: string): void {
    this.process.stdin?.write(`${line}\n`)
  }

  signal(signal: NodeJS.Signals): void {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal)
  }

  /** Sends the signal. Resolves when the process is gone. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal(signal)
    return this.exited
  }

  /** Stops the process with SIGSTOP (Linux). Resolves when no thread of it runs or waits for a disk. */
  async freeze(): Promise<void> {
    this.signal("SIGSTOP")
    const tasks = `/proc/${this.pid}/task`
    const stopped = (task: string) => / [Tt] /.test(readFileSync(`${tasks}/${task}/stat`, "utf8").replace(/^.*\)/s, ""))
    while (!readdirSync(tasks).every(stopped)) await sleep(1)
  }
}

/** Starts a file that `program` has bundled. */
export const start = (file: string, args: readonly string[] = [], bounds: Bounds = {}): Child =>
  new Child(file, args, bounds)

export interface RelayProcess extends Child {
  readonly url: string
  readonly port: number
}

/** Starts the relay by its command line, on loopback. Port 0: any free port. */
export async function startRelay(
  data: string,
  { port = 0, ...bounds }: Bounds & { port?: number } = {},
): Promise<RelayProcess> {
  const child = start(await program("relay/main.ts"), ["serve", "--port", String(port), "--data", data], bounds)
  const line = JSON.parse(await child.line()) as { url: string; port: number }
  return Object.assign(child, { url: line.url, port: line.port })
}

/** Kills all processes that still run. Call it in `afterEach` or `afterAll`. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.end()))
}
