/**
 * Measures how long a fresh process takes to read a list of 10,000 titles, compared with parsing the same rows from one
 * file. On one device, the relay has stored all notes. The other device was never connected, so all its notes are in
 * the outbox.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { nodeStore } from "headwater/node"
import { start } from "../test/support/processes.ts"
import { figure } from "./figures.ts"
import { fill, openNotes } from "./notes.ts"
import { endAll, startRelay } from "./servers.ts"

const ROUNDS = 9
const NOTES = 10_000

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const owing = path.join(folder, "owing")
const level = path.join(folder, "level")
const json = path.join(folder, "rows.json")

const ws = await openNotes(nodeStore(owing))
await fill(ws, NOTES)
writeFileSync(json, JSON.stringify(ws.notes.all()))
await ws.close()

const relay = await startRelay(path.join(folder, "relay"))
const synced = await openNotes(nodeStore(level), relay.url)
await fill(synced, NOTES)
await synced.whenStored()
await synced.close()
await endAll()

async function once(what: string, where: string): Promise<number> {
  const child = start(path.join(import.meta.dirname, "open-once.js"), [what, where])
  const { ms, titles } = JSON.parse(await child.line()) as { ms: number; titles: number }
  await child.exited
  if (titles !== NOTES) throw new Error(`${what} has ${titles} titles`)
  return ms
}

const times = { level: [] as number[], owing: [] as number[], json: [] as number[] }
for (let round = 0; round < ROUNDS; round++) {
  times.level.push(await once("ours", level))
  times.json.push(await once("json", json))
  times.owing.push(await once("ours", owing))
}
rmSync(folder, { recursive: true })
const ratio = (of: readonly number[]) => of.map((ms, round) => ms / times.json[round]!)
figure("10,000 notes from LevelDB to a list of titles", times.level, " ms")
figure("... to JSON.parse of the same rows from one file", ratio(times.level), "x", { atMost: 2 })
figure("... when the relay is owed all of them", ratio(times.owing), "x", { atMost: 2 })
