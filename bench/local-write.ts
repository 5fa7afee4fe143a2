/** Measures writes on the device: one at a time, each of them durable, and a thousand at once. */
import { mkdtempSync, rmSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import * as A from "@automerge/automerge"
import { ClassicLevel } from "classic-level"
import { collection, openWorkspace, text } from "headwater"
import { nodeStore } from "headwater/node"
import { figure, median, timed } from "./figures.ts"

const ROUNDS = 7
const WRITES = 150
const BURST = 1000

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const notes = collection("notes", undefined, { fields: { body: text() } })
const ws = await openWorkspace({ id: "w", collections: { notes }, store: nodeStore(path.join(folder, "ours")) })
const level = new ClassicLevel<string, Uint8Array>(path.join(folder, "bare"), { valueEncoding: "view" })
await level.open()
const file = await open(path.join(folder, "raw"), "a")

const body = "hello world ".repeat(80)
const { id } = await ws.notes.create({ title: "T", body })
let doc = A.from<Record<string, unknown>>({ title: new A.ImmutableString("T"), body })
const encoder = new TextEncoder()
let n = 0

function change(title: string): void {
  doc = A.change(doc, (draft) => {
    draft["title"] = new A.ImmutableString(title)
  })
}

const ours = () => ws.notes.update(id, (draft) => void (draft["title"] = `T${n}`))

async function bare(): Promise<void> {
  change(`T${n}`)
  const chunk = A.getLastLocalChange(doc)!
  const row = encoder.encode(JSON.stringify(doc))
  await level.batch(
    [
      { type: "put", key: `chunk ${n}`, value: chunk },
      { type: "put", key: "row", value: row },
      { type: "put", key: `owed ${n}`, value: encoder.encode("1") },
    ],
    { sync: true },
  )
}

const record = encoder.encode(JSON.stringify(doc))
async function raw(): Promise<void> {
  await file.write(record)
  await file.datasync()
}

const durable: number[] = []
const appended: number[] = []
const bursts: number[] = []
const ms: number[] = []
for (let round = 0; round <= ROUNDS; round++) {
  const times = { ours: [] as number[], bare: [] as number[], raw: [] as number[] }
  for (let i = 0; i < WRITES; i++) {
    n++
    times.ours.push(await timed(ours))
    times.bare.push(await timed(bare))
    times.raw.push(await timed(raw))
  }
  const burst = await timed(() =>
    Promise.all(
      Array.from({ length: BURST }, (_, i) => ws.notes.update(id, (draft) => void (draft["title"] = `B${i}`))),
    ),
  )
  const changes = await timed(() => {
    for (let i = 0; i < BURST; i++) change(`B${i}`)
  })
  if (round === 0) continue // the first round warms up
  durable.push(median(times.bare) / median(times.ours))
  appended.push(median(times.raw) / median(times.ours))
  bursts.push(changes / burst)
  ms.push(median(times.ours))
}
await ws.close()
await level.close()
await file.close()
rmSync(folder, { recursive: true })

figure("a durable write, one at a time", ms, " ms")
figure("... speed to A.change, its bytes, same batch on classic-level", durable, "x", { atLeast: 0.8 })
figure("... speed to a raw append + fdatasync of the row", appended, "x")
figure(`a burst of ${BURST} writes, speed to A.change alone`, bursts, "x", { atLeast: 0.5 })
