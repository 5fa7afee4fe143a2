/**
 * Measures 200 writers. Each sends its next change after the ack of its last one, which comes after an fdatasync. The
 * relay is compared with two bare servers: one appends the frames as they are, and the other one also decodes and
 * hashes them, as every relay of this protocol must.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
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
mkdirSync(path.join(folder, "decoding"))
const servers = {
  relay: await startRelay(path.join(folder, "relay")),
  bare: await startBare(folder),
  decoding: await startBare(path.join(folder, "decoding"), 0, true),
}
const clients = startClients()
const file = await open(path.join(folder, "raw"), "a")
const record = new Uint8Array(250 * WRITERS)

const total = WRITERS * CHANGES
type Side = keyof typeof servers
/** Acknowledged changes a second. `raw`: appended records a second, without a server. */
const rates = { relay: [] as number[], bare: [] as number[], decoding: [] as number[], raw: [] as number[] }
/** µs of the server's CPU for each acknowledged change. */
const cpus = { relay: [] as number[], bare: [] as number[], decoding: [] as number[] }
for (let round = -WARM; round < ROUNDS; round++) {
  const write = async (side: Side) => {
    const { url, pid } = servers[side]
    const before = cpu(pid)
    const command = { do: "write", url, acks: side === "relay", name: `r${round + WARM}` }
    const { ms } = await clients.ask<{ ms: number }>({ ...command, writers: WRITERS, changes: CHANGES })
    if (round < 0) return
    cpus[side].push((cpu(pid) - before) / total)
    rates[side].push((total / ms) * 1000)
  }
  await write("relay")
  await write("bare")
  await write("decoding")
  const ms = await timed(async () => {
    for (let group = 0; group < CHANGES; group++) {
      await file.write(record)
      await file.datasync()
    }
  })
  if (round >= 0) rates.raw.push((total / ms) * 1000)
}
await endAll()
await file.close()
rmSync(folder, { recursive: true })

const ratio = (of: readonly number[], to: readonly number[]) => of.map((value, round) => value / to[round]!)
figure(`acknowledged changes a second from ${WRITERS} writers`, rates.relay, "/s")
figure("... to a ws server that flushes and acks", ratio(rates.relay, rates.bare), "x")
figure(`... to an append of ${WRITERS} records + one fdatasync, no socket`, ratio(rates.relay, rates.raw), "x")
figure("relay CPU per acknowledged change", cpus.relay, " µs")
figure("... to a ws server that flushes and acks", ratio(cpus.relay, cpus.bare), "x", { atMost: 2 })
figure("... to one that also decodes and hashes each change", ratio(cpus.relay, cpus.decoding), "x")
figure("CPU of that one, to the server that does not", ratio(cpus.decoding, cpus.bare), "x")
