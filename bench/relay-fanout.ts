/**
 * Measures fan-out: one writer makes 500 or 50 changes a second, and 10, 50 or 200 connections receive each change once
 * it is on the server's disk. At 50 a second each change is flushed and sent alone, so both servers spend most of the
 * time on waking up. Only the absolute figure says something then.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { figure, median } from "./figures.ts"
import { cpu, endAll, startBare, startClients, startRelay } from "./servers.ts"

const ROUNDS = 5
const RATES = [500, 50]
const SECONDS = 2
/** Number of changes that each server handles at full speed before the measurement, so that its code is warm. */
const BEFORE = 4000

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const servers = {
  relay: await startRelay(path.join(folder, "relay")),
  bare: await startBare(folder),
}
type Name = keyof typeof servers
const names = Object.keys(servers) as Name[]
const clients = startClients()

interface Run {
  /** µs of the server's CPU for each delivered change */
  readonly cpu: number
  /** Median of the ms from sending a change to its arrival. */
  readonly p50: number
}
async function run(name: Name, subscribers: number, rate: number, round: number): Promise<Run> {
  const { url, pid } = servers[name]
  const every = 1000 / rate
  const w = `fanout-${subscribers}-${rate}-${round}`
  await clients.ask({ do: "openFanout", url, relay: name === "relay", w, subscribers })
  await clients.ask({ do: "runFanout", changes: 25, every })
  const before = cpu(pid)
  const { latencies } = await clients.ask<{ latencies: number[] }>({ do: "runFanout", changes: SECONDS * rate, every })
  const spent = cpu(pid) - before
  await clients.ask({ do: "closeFanout" })
  return { cpu: spent / latencies.length, p50: median(latencies) }
}

for (const name of names) {
  await clients.ask({ do: "openFanout", url: servers[name].url, relay: name === "relay", w: "before", subscribers: 10 })
  await clients.ask({ do: "runFanout", changes: BEFORE, every: 1 })
  await clients.ask({ do: "closeFanout" })
}
for (const rate of RATES) {
  for (const subscribers of [10, 50, 200]) {
    const runs: Record<Name, Run[]> = { relay: [], bare: [] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) runs[name].push(await run(name, subscribers, rate, round))
    }
    const column = (of: keyof Run) => runs.relay.map((ours) => ours[of])
    const ratio = (of: keyof Run) => runs.relay.map((ours, round) => ours[of] / runs.bare[round]![of])
    figure(`${rate}/s to ${subscribers} subscribers: relay CPU per delivered change`, column("cpu"), " µs")
    figure("... to a ws server that flushes and acks", ratio("cpu"), "x", rate === 500 ? { atMost: 1.5 } : {})
    figure(`${rate}/s to ${subscribers} subscribers: p50 from send to arrival`, column("p50"), " ms")
    figure("... to a ws server that flushes and acks", ratio("p50"), "x", { atMost: 1.5 })
  }
}
await endAll()
rmSync(folder, { recursive: true })
