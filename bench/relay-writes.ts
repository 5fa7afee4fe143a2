/**
 * Measures 200 writers. Each sends its next change when its last one is acknowledged, which is after the relay's
 * fdatasync.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { figure, timed } from "./figures.ts"
import { cpu, endAll, startBare, startClients, startRelay } from "./servers.ts"

const ROUNDS = 5
/** Number of rounds before the counted ones, so that the servers' code is warm. */
const WARM = 2
const WRITERS = 200
const CHANGES = 150

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const relay = await startRelay(path.join(folder, "relay"))
const echo = await startBare("echo", folder)
const clients = startClients()
const file = await open(path.join(folder, "raw"), "a")
const record = new Uint8Array(250 * WRITERS)

const total = WRITERS * CHANGES
const rates = { relay: [] as number[], echo: [] as number[], raw: [] as number[] }
const cpus: number[] = []
for (let round = -WARM; round < ROUNDS; round++) {
  const write = async (url: string, acks: boolean) => {
    const command = { do: "write", url, acks, name: `r${round + WARM}`, writers: WRITERS, changes: CHANGES }
    return (total / (await clients.ask<{ ms: number }>(command)).ms) * 1000
  }
  const before = cpu(relay.pid)
  const ours = await write(relay.url, true)
  const spent = (cpu(relay.pid) - before) / total
  const bare = await write(echo.url, false)
  const ms = await timed(async () => {
    for (let group = 0; group < CHANGES; group++) {
      await file.write(record)
      await file.datasync()
    }
  })
  if (round < 0) continue
  rates.relay.push(ours)
  rates.echo.push(bare)
  rates.raw.push((total / ms) * 1000)
  cpus.push(spent)
}
await endAll()
await file.close()
rmSync(folder, { recursive: true })

const ratio = (by: readonly number[]) => rates.relay.map((rate, round) => rate / by[round]!)
figure(`acknowledged changes a second from ${WRITERS} writers`, rates.relay, "/s")
figure("... to the same sockets on a ws server that echoes", ratio(rates.echo), "x", { atLeast: 0.5 })
figure(`... to an append of ${WRITERS} records + one fdatasync, no socket`, ratio(rates.raw), "x")
figure("relay CPU per acknowledged change", cpus, " µs")
