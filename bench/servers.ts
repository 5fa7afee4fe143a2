/** Starts servers in processes of their own, and reads their processor time and memory from the kernel (Linux). */
import { readdirSync, readFileSync } from "node:fs"
import path from "node:path"
import { type Child, type RelayProcess, start } from "../test/support/processes.ts"

export { type Child, endAll } from "../test/support/processes.ts"

// After a signal this process exits, and the servers end when it does.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

// The build bundles this file into bench/dist, beside the servers.
const built = (name: string) => path.join(import.meta.dirname, `${name}.js`)
const SECONDS = 3600

/** Starts the built relay. */
export async function startRelay(data: string): Promise<RelayProcess> {
  const main = path.join(import.meta.dirname, "../../relay/dist/main.js")
  return listening(start(main, ["serve", "--port", "0", "--data", data], { seconds: SECONDS }))
}

/** Starts the relay on a disk on which each flush takes `flushMs` longer. */
export async function startSlowRelay(data: string, flushMs: number): Promise<RelayProcess> {
  return listening(start(built("slow-relay"), [data, `${flushMs}`], { seconds: SECONDS }))
}

/**
 * Starts a server that consists only of ws, and that flushes and acknowledges (`bare-server.ts`). Each flush takes
 * `flushMs` longer than the disk needs. `decode`: it also decodes and hashes what it appends.
 */
export async function startBare(folder: string, flushMs = 0, decode = false): Promise<RelayProcess> {
  const args = [folder, `${flushMs}`, ...(decode ? ["decode"] : [])]
  return listening(start(built("bare-server"), args, { seconds: SECONDS }))
}

async function listening(child: Child): Promise<RelayProcess> {
  const { url, port } = JSON.parse(await child.line()) as { url: string; port: number }
  return Object.assign(child, { url, port })
}

/** Starts the process in which the clients run. `ask` sends it one command and waits for the answer. */
export function startClients(): { ask<T>(command: object): Promise<T> } {
  const child = start(built("wire-clients"), [], { seconds: SECONDS })
  return {
    async ask<T>(command: object) {
      child.say(JSON.stringify(command))
      return JSON.parse(await child.line()) as T
    },
  }
}

/** Returns the processor time of all threads of a process, in µs. */
export function cpu(pid: number): number {
  const tasks = `/proc/${pid}/task`
  const ran = (task: string) => Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0])
  return readdirSync(tasks).reduce((sum, task) => sum + ran(task), 0) / 1000
}

/** Returns the memory of a process that is in RAM, in bytes. */
export function rss(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
}
