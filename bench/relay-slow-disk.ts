/**
 * Measures latencies on a slow disk, where each flush takes 5 ms longer. The first is from sending a change to its ack,
 * with 20 writers that send their next change after each ack. The second is from sending a change to its arrival at 10
 * subscribers.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { figure, median } from "./figures.ts"
import { endAll, startBare, startClients, startSlowRelay } from "./servers.ts"

const FLUSH_MS = 5
const ROUNDS = 5
/** Number of rounds before the counted ones, so that the servers' code is warm. */
const WARM = 2
const WRITERS = 20
const CHANGES = 100
const SUBSCRIBERS = 10

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const servers = {
  relay: await startSlowRelay(path.join(folder, "relay"), FLUSH_MS),
  bare: await startBare(folder, FLUSH_MS),
}
type Name = keyof typeof servers
const clients = startClients()

interface Latencies {
  readonly latencies: readonly number[]
}
const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN

async function acks(name: Name, round: number): Promise<Latencies> {
  const { url } = servers[name]
  const command = { do: "write", url, acks: name === "relay", name: `r${round + WARM}` }
  return clients.ask<Latencies>({ ...command, writers: WRITERS, changes: CHANGES })
}

async function arrivals(name: Name, round: number): Promise<Latencies> {
  const { url } = servers[name]
  const w = `slow-${round + WARM}`
  await clients.ask({ do: "openFanout", url, relay: name === "relay", w, subscribers: SUBSCRIBERS })
  const found = await clients.ask<Latencies>({ do: "runFanout", changes: CHANGES, every: 20 })
  await clients.ask({ do: "closeFanout" })
  return found
}

for (const [what, run] of Object.entries({ ack: acks, arrival: arrivals })) {
  const rounds: Record<Name, Latencies[]> = { relay: [], bare: [] }
  for (let round = -WARM; round < ROUNDS; round++) {
    for (const name of ["relay", "bare"] as const) {
      const found = await run(name, round)
      if (round >= 0) rounds[name].push(found)
    }
  }
  for (const [title, of] of [
    ["p50", ({ latencies }: Latencies) => median(latencies)],
    ["p99", ({ latencies }: Latencies) => percentile(latencies, 0.99)],
  ] as const) {
    const ours = rounds.relay.map(of)
    const ratios = ours.map((ms, round) => ms / of(rounds.bare[round]!))
    figure(`${title} from send to ${what}, a flush takes ${FLUSH_MS} ms more`, ours, " ms")
    figure("... to a ws server that flushes as slowly and acks", ratios, "x", { atMost: 1.3 })
  }
}
await endAll()
rmSync(folder, { recursive: true })
