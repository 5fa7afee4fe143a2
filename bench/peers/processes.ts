/** Starts the processes of a side: a server, and clients that do one task each. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { type Child, start } from "../../test/support/processes.ts"
import { countingProxy } from "../proxy.ts"
import { cpu } from "../servers.ts"
import type { Side } from "./sides.ts"

// The build puts this file into bench/dist.
const here = path.join(import.meta.dirname, "../peers")
const relay = path.join(import.meta.dirname, "../../relay/dist/main.js")
const SECONDS = 1200

export interface Server {
  readonly url: string
  readonly port: number
  /** Resolves when the server, and `client` if it is given, have had nothing to do for two seconds. */
  quiet(client?: Client): Promise<void>
  /** Lets the server store what it has, and ends it. */
  stop(): Promise<void>
}

export async function startServer(side: Side, data: string): Promise<Server> {
  mkdirSync(data, { recursive: true })
  const child =
    side === "headwater"
      ? start(relay, ["serve", "--port", "0", "--data", data], { seconds: SECONDS })
      : start(path.join(here, "servers", `${side}.mjs`), [data], { seconds: SECONDS })
  const { url, port } = JSON.parse(await child.line()) as { url: string; port: number }
  return {
    url,
    port,
    quiet: (client) => quiet(client ? [child.pid, client.pid] : [child.pid]),
    async stop() {
      child.signal("SIGTERM")
      await child.exited
    },
  }
}

/**
 * Resolves when these processes have been idle for two seconds: no thread wanted to run, and they used next to no
 * processor time. Their processor time alone would not show it, because on a busy machine a process may get none.
 */
async function quiet(pids: readonly number[]): Promise<void> {
  const [LOOKS, EVERY_MS, IDLE_US] = [40, 50, 20_000]
  const used = () => pids.reduce((sum, pid) => sum + cpu(pid), 0)
  for (let looks = 0, before = used(); looks < LOOKS; looks++) {
    await sleep(EVERY_MS)
    if (!pids.some(wantsToRun) && used() - before < IDLE_US) continue
    looks = -1
    before = used()
  }
}

/** Whether a thread of the process runs, waits for a processor or waits for a disk (Linux). */
function wantsToRun(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).some((task) =>
    / [RD] /.test(readFileSync(`${tasks}/${task}/stat`, "utf8").replace(/^.*\)/s, "")),
  )
}

/** A device that does a task; see `client.mjs`. */
export interface Client {
  readonly pid: number
  /** Waits for the next line of the task. */
  next<T>(): Promise<T>
  /** Lets the task go on. */
  go(message?: object): void
  readonly ended: Promise<unknown>
}

export function startClient(side: Side, task: string, options: object): Client {
  const child: Child = start(path.join(here, "client.mjs"), [side, task, JSON.stringify(options)], { seconds: SECONDS })
  return {
    pid: child.pid,
    async next<T>() {
      return JSON.parse(await child.line()) as T
    },
    go: (message = {}) => child.say(JSON.stringify(message)),
    ended: child.exited,
  }
}

/** Runs a client whose task has one step. Returns the result. */
export async function runClient<T>(side: Side, task: string, options: object): Promise<T> {
  const client = startClient(side, task, options)
  const result = await client.next<T>()
  await client.ended
  return result
}

/** Lets a task do its last step. Returns the result of this step. */
export async function finish<T>(client: Client): Promise<T> {
  client.go()
  const result = await client.next<T>()
  await client.ended
  return result
}

type CountingProxy = Awaited<ReturnType<typeof countingProxy>> & {
  /** Resolves when nothing has passed for a second. */
  silence(): Promise<void>
}

/** Starts a proxy in front of a server. It counts messages and bytes in both directions. */
export async function counted(server: Server): Promise<CountingProxy> {
  const proxy = await countingProxy(server.port)
  return Object.assign(proxy, {
    async silence() {
      for (let before = -1; before !== proxy.up.bytes + proxy.down.bytes; ) {
        before = proxy.up.bytes + proxy.down.bytes
        await sleep(1000)
      }
    },
  })
}

/** Returns the bytes of all files in a folder. */
export function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(path.join(folder, name), { throwIfNoEntry: false })) // the file may be gone by now
    .reduce((sum, file) => sum + (file?.isFile() ? file.size : 0), 0)
}

/**
 * Resolves when a folder has kept its size for 10 s, or after 60 s. Call it before the disk of a device is measured,
 * because an idle device may still compress its files and free the space of overwritten records. Headwater looks every
 * 5 s whether there is space to free, and frees it when nothing was written for 3 s.
 */
export async function settled(folder: string): Promise<void> {
  const [SAME_FOR, AT_MOST] = [10, 60]
  for (let all = 0, same = 0, before = bytesIn(folder); all < AT_MOST && same < SAME_FOR; all++) {
    await sleep(1000)
    const now = bytesIn(folder)
    same = now === before ? same + 1 : 0
    before = now
  }
}

export function copy(from: string, to: string): string {
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true })
  return to
}
