/** Servers in processes of their own, and what the kernel says they cost (Linux). */
import { readdirSync, readFileSync } from "node:fs"
import path from "node:path"
import { type Child, type RelayProcess, start } from "../test/support/processes.ts"

export { type Child, endAll } from "../test/support/processes.ts"

// Whoever stops a benchmark stops its servers.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

// This is bundled into bench/dist.
const built = (name: string) => path.join(import.meta.dirname, `${name}.js`)
const SECONDS = 3600

/** The built relay. */
export async function startRelay(data: string): Promise<RelayProcess> {
  const main = path.join(import.meta.dirname, "../../relay/dist/main.js")
  return listening(start(main, ["serve", "--port", "0", "--data", data], { seconds: SECONDS }))
}

/** A server that is nothing but ws: it echoes, or sends what comes to everybody else, or does so once it is on a disk. */
export async function startBare(mode: "echo" | "broadcast" | "durable", folder: string): Promise<RelayProcess> {
  return listening(start(built("bare-server"), [mode, folder], { seconds: SECONDS }))
}

async function listening(child: Child): Promise<RelayProcess> {
  const { url, port } = JSON.parse(await child.line()) as { url: string; port: number }
  return Object.assign(child, { url, port })
}

/** A process that holds the clients; `ask` sends it one command and waits for its answer. */
export function startClients(): { ask<T>(command: object): Promise<T> } {
  const child = start(built("wire-clients"), [], { seconds: SECONDS })
  return {
    async ask<T>(command: object) {
      child.say(JSON.stringify(command))
      return JSON.parse(await child.line()) as T
    },
  }
}

/** µs of processor time that all threads of a process have had. */
export function cpu(pid: number): number {
  const tasks = `/proc/${pid}/task`
  const ran = (task: string) => Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0])
  return readdirSync(tasks).reduce((sum, task) => sum + ran(task), 0) / 1000
}

/** Bytes of memory that a process has in RAM. */
export function rss(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
}
