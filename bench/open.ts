/** From nothing to a list of 10,000 titles in a fresh process, against parsing the same rows from one file. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { nodeStore } from "headwater/node"
import { start } from "../test/support/processes.ts"
import { figure } from "./figures.ts"
import { fill, openNotes } from "./notes.ts"

const ROUNDS = 9
const NOTES = 10_000

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const store = path.join(folder, "store")
const json = path.join(folder, "rows.json")
const ws = await openNotes(nodeStore(store))
await fill(ws, NOTES)
writeFileSync(json, JSON.stringify(ws.notes.all()))
await ws.close()

async function once(what: string, where: string): Promise<number> {
  const child = start(path.join(import.meta.dirname, "open-once.js"), [what, where])
  const { ms, titles } = JSON.parse(await child.line()) as { ms: number; titles: number }
  await child.exited
  if (titles !== NOTES) throw new Error(`${what} has ${titles} titles`)
  return ms
}

const ours: number[] = []
const parse: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  ours.push(await once("ours", store))
  parse.push(await once("json", json))
}
rmSync(folder, { recursive: true })
figure("10,000 notes from LevelDB to a list of titles", ours, " ms")
figure(
  "... to JSON.parse of the same rows from one file",
  ours.map((ms, round) => ms / parse[round]!),
  "x",
  { atMost: 2 },
)
