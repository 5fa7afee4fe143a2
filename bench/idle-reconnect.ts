/** Measures the traffic of a device that reconnects when nothing has changed, with 1,000 and with 10,000 notes. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { figure } from "./figures.ts"
import { fill, openNotes } from "./notes.ts"
import { countingProxy } from "./proxy.ts"
import { endAll, startRelay } from "./servers.ts"

const ROUNDS = 5
const SIZES = [1_000, 10_000]

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const relay = await startRelay(path.join(folder, "relay"))
const proxy = await countingProxy(relay.port)
const author = await openNotes(nodeStore(path.join(folder, "author")), relay.url)
const device = () => openNotes(nodeStore(path.join(folder, "device")), proxy.url)

for (const size of SIZES) {
  await fill(author, size)
  await author.whenStored()
  const first = await device()
  await first.whenSynced()
  await first.close()

  const figures = {
    up: [] as number[],
    down: [] as number[],
    sent: [] as number[],
    got: [] as number[],
    ms: [] as number[],
  }
  for (let round = 0; round < ROUNDS; round++) {
    proxy.reset()
    const begun = performance.now()
    const ws = await device()
    await ws.whenSynced()
    figures.ms.push(performance.now() - begun)
    await sleep(1000) // any further message would come within this time
    if (ws.notes.all().length !== size) throw new Error(`the device has ${ws.notes.all().length} of ${size} notes`)
    figures.sent.push(proxy.up.messages)
    figures.up.push(proxy.up.bytes)
    figures.got.push(proxy.down.messages)
    figures.down.push(proxy.down.bytes)
    await ws.close()
  }
  const name = `${size.toLocaleString("en")} notes`
  figure(`${name}: messages to the relay`, figures.sent, "", { atMost: 1 })
  figure(`${name}: bytes of their frames`, figures.up, " B", { atMost: 300 })
  figure(`${name}: messages from the relay`, figures.got, "", { atMost: 1 })
  figure(`${name}: bytes of their frames`, figures.down, " B", { atMost: 300 })
  figure(`${name}: from opening the workspace to level`, figures.ms, " ms")
}
await author.close()
proxy.close()
await endAll()
rmSync(folder, { recursive: true })
