/**
 * Types into one note for long, connected to a relay, and prints the device's heap after each quarter of the edits. The
 * edits type a letter and delete it in turn, so that the text keeps its length and only the history grows. The
 * environment variable `EDITS` sets their number. 20,000 edits take a few minutes.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { collection, openWorkspace, text } from "headwater"
import { nodeStore } from "headwater/node"
import { startRelay } from "./servers.ts"

const EDITS = Number(process.env["EDITS"] ?? 20_000)
/** After this many edits the device waits until the relay has stored all of them. */
const UNTIL_STORED = 50

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
const relay = await startRelay(path.join(folder, "relay"))
const notes = collection("notes", undefined, { fields: { body: text() } })
const store = nodeStore(path.join(folder, "device"))
const ws = await openWorkspace({ id: "w", collections: { notes }, store, relay: { url: relay.url } })
const { id } = await ws.notes.create({ title: "a note", body: "hello world ".repeat(80) })

let typed = 0
async function type(count: number): Promise<void> {
  for (const end = typed + count; typed < end; typed++) {
    await ws.notes.update(id, (_, edit) =>
      typed % 2 === 0 ? edit.splice("body", 500, 0, "x") : edit.splice("body", 500, 1, ""),
    )
    if (typed % UNTIL_STORED === 0) await ws.whenStored()
  }
}

async function print(): Promise<void> {
  await ws.whenStored()
  await sleep(1500) // idle work begins a second after the last edit
  for (let n = 0; n < 4; n++) {
    collect()
    await sleep(20)
  }
  const { heapUsed, arrayBuffers, external } = process.memoryUsage()
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`
  const beside = `${mb(arrayBuffers)} of buffers, ${mb(external - arrayBuffers)} of WebAssembly and others`
  console.log(`  ${String(typed).padStart(7)} edits: heap ${mb(heapUsed)}; beside it ${beside}`)
}

await type(1000) // warms up the code
await print()
for (let quarter = 0; quarter < 4; quarter++) {
  await type(EDITS / 4)
  await print()
}
await ws.close()
process.exit(0)
