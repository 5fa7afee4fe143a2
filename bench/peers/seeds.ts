/** Makes servers that already have notes, once for all works of a run. */
import { mkdirSync } from "node:fs"
import path from "node:path"
import { bytesIn, finish, type Server, settled, startClient, startServer } from "./processes.ts"
import type { Side } from "./sides.ts"

export interface Filled {
  /** ms until all notes were saved on the device, without the time to load the library. */
  readonly ms: number
  readonly cpuMs: number
  /** Times that WebAssembly was compiled until then. */
  readonly compiled: number
  /** The URL with which a side finds its notes again. Empty for a side that needs none. */
  readonly root: string
  /** Characters in all texts. A device with as many has pulled everything. */
  readonly characters: number
  /** Bytes of the notes as JSON. */
  readonly json: number
}

export interface Seed {
  readonly side: Side
  readonly server: string
  readonly root: string
  readonly count: number
  readonly characters: number
  readonly json: number
  /** Bytes on the disk of the idle device that made or edited the notes. */
  readonly deviceBytes: number
  /** Bytes on the disk of the server. */
  readonly serverBytes: number
}

/**
 * Creates notes on a connected device, and waits until its disk keeps its size. Ends the device and the server before
 * it resolves, so that their disks are complete.
 */
export async function fill(
  side: Side,
  folder: string,
  count: number,
  length?: number,
): Promise<{ readonly filled: Filled; readonly seed: Seed }> {
  const [server, device] = [path.join(folder, "server"), path.join(folder, "device")]
  mkdirSync(device, { recursive: true })
  const running = side === "bare" ? undefined : await startServer(side, server)
  const client = startClient(side, "fill", { folder: device, url: running?.url, count, length })
  const filled = await client.next<Filled>()
  // In a protocol without acknowledgements, the client does not know when the server has everything.
  await running?.quiet(client)
  await settled(device)
  await finish(client)
  await running?.quiet()
  await running?.stop()
  const { root, characters, json } = filled
  const bytes = { deviceBytes: bytesIn(device), serverBytes: running ? bytesIn(server) : 0 }
  return { filled, seed: { side, server, root, count, characters, json, ...bytes } }
}

/** Edits all notes of a seed `passes` times, on another connected device. */
export async function edited(seed: Seed, folder: string, passes: number): Promise<Seed> {
  const running = await startServer(seed.side, seed.server)
  const device = path.join(folder, "editor")
  mkdirSync(device, { recursive: true })
  const where = { folder: device, url: running.url, root: seed.root }
  const { count, characters: before } = seed
  const client = startClient(seed.side, "edit", { ...where, passes, count, characters: before })
  const { characters } = await client.next<{ characters: number }>()
  await running.quiet(client)
  await settled(device)
  await finish(client)
  await running.quiet()
  await running.stop()
  return { ...seed, characters, deviceBytes: bytesIn(device), serverBytes: bytesIn(seed.server) }
}

export class Seeds {
  readonly #folder: string
  readonly #made = new Map<string, Promise<unknown>>()
  readonly #serving = new Map<Seed, Server>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Returns the result of `make`, which is called once for each name and side, with a folder of its own. */
  get<T>(name: string, side: Side, make: (folder: string) => Promise<T>): Promise<T> {
    const key = `${name}-${side}`
    const made = (this.#made.get(key) as Promise<T> | undefined) ?? make(path.join(this.#folder, key))
    this.#made.set(key, made)
    return made
  }

  notes(side: Side, count: number): Promise<Seed> {
    return this.get(`notes-${count}`, side, async (folder) => (await fill(side, folder, count)).seed)
  }

  /** Returns the server of a seed. Starts it at the first call; it runs until `stop`. */
  async serve(seed: Seed): Promise<Server> {
    const server = this.#serving.get(seed) ?? (await startServer(seed.side, seed.server))
    this.#serving.set(seed, server)
    return server
  }

  async stop(): Promise<void> {
    for (const server of this.#serving.values()) await server.stop()
    this.#serving.clear()
  }
}
