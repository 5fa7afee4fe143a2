/** Shows that a relay keeps nothing of a log in memory after serving all of it. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { figure } from "./figures.ts"
import { endAll, rss, startClients, startRelay } from "./servers.ts"

const ROUNDS = 3
const SIZES = [200_000, 1_000_000]

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const clients = startClients()

/**
 * Starts a relay on the folder `data`, and runs `command`, in which a client uses the relay. Returns the RSS of the
 * relay in bytes.
 */
async function memory(data: string, command: (url: string) => Promise<unknown>): Promise<number> {
  const relay = await startRelay(path.join(folder, data))
  await command(relay.url)
  await sleep(500)
  const bytes = rss(relay.pid)
  await relay.end("SIGTERM")
  return bytes
}

let filled = 0
for (const size of SIZES) {
  await memory("full", (url) => clients.ask({ do: "fill", url, w: "w", from: filled, to: size }))
  filled = size
  const full: number[] = []
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const ours = await memory("full", async (url) => {
      const { entries } = await clients.ask<{ entries: number }>({ do: "pull", url, w: "w" })
      if (entries !== size) throw new Error(`the client pulled ${entries} of ${size} entries`)
    })
    const empty = await memory("empty", (url) => clients.ask({ do: "ping", url, times: size }))
    full.push(ours / 2 ** 20)
    ratios.push(ours / empty)
  }
  figure(`RSS after one client pulled ${size.toLocaleString("en")} entries`, full, " MiB")
  figure("... to a relay on an empty log that answered as many pings", ratios, "x", { atMost: 1.3 })
}
await endAll()
rmSync(folder, { recursive: true })
