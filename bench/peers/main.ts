/**
 * `npm run bench:peers` plays the same works on Headwater and on its peers, side after side in each round, and prints
 * the table with the goals. `npm run bench:peers -- first-sync` plays the named works only.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import os from "node:os"
import path from "node:path"
import { parseArgs } from "node:util"
import { Figures } from "./figures.ts"
import { plot } from "./plot.ts"
import { Seeds } from "./seeds.ts"
import { type Side, titles } from "./sides.ts"
import { promisesTable, resultsTable } from "./table.ts"
import type { Work } from "./work.ts"
import { edits, firstSync, idle, offline } from "./works-sync.ts"
import { burst, create, fieldEdits, typing } from "./works-write.ts"

const works = [firstSync, create, typing, burst, offline, fieldEdits, idle, edits]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    /** Only these sides, separated by commas. */
    sides: { type: "string" },
    /** Rounds of the sides with which no goal compares Headwater; `rounds` by default. */
    others: { type: "string" },
    /** The largest size to play, for a quick look during work on the code. */
    largest: { type: "string" },
    /** A folder for the table and the plots. */
    out: { type: "string" },
  },
})
const rounds = Number(values.rounds)
const others = Number(values.others ?? rounds)
const largest = Number(values.largest ?? Number.POSITIVE_INFINITY)
const only = values.sides?.split(",") ?? Object.keys(titles)
for (const name of positionals) {
  if (!works.some((work) => work.name === name))
    throw new Error(`there is no work ${name}; choose of ${works.map((work) => work.name).join(", ")}`)
}
for (const side of only) {
  if (!(side in titles)) throw new Error(`there is no side ${side}; choose of ${Object.keys(titles).join(", ")}`)
}

const folder = mkdtempSync(path.join(os.tmpdir(), "headwater-peers-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
const seeds = new Seeds(path.join(folder, "seeds"))
let failed = 0

/** Plays one round of one side. Returns false if it failed: then it has no figures, and its error is printed. */
async function round(work: Work, side: Side, size: number, figures: Figures): Promise<boolean> {
  const own = mkdtempSync(path.join(folder, "round-"))
  const run = {
    seeds,
    folder(name: string) {
      const made = path.join(own, name)
      mkdirSync(made, { recursive: true })
      return made
    },
  }
  try {
    const measures = await work.round(side, size, run)
    figures.add(size, side, measures)
    const shown = Object.entries(measures).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    console.log(`  ${String(size).padStart(6)} ${titles[side].padEnd(18)} ${shown.join(", ")}`)
    return true
  } catch (error) {
    failed++
    console.log(`  ${String(size).padStart(6)} ${titles[side].padEnd(18)} FAILED: ${error}`)
    return false
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
}

/** Headwater, and the sides with which goals compare it. These sides play all rounds. */
const compared: ReadonlySet<Side> = new Set(["headwater", "hocuspocus", "bare"])

async function play(work: Work): Promise<void> {
  const figures = new Figures()
  results.set(work, figures)
  console.log(`\n${work.name}, by ${work.counts}`)
  const inTable = (size: number) => work.rows.some((row) => row.size === size)
  const sizes = work.sizes.filter((one) => one <= largest)
  // The sizes of the table come first, because a run may be interrupted. Sizes for the plot alone are played once.
  for (const size of sizes.toSorted((a, b) => Number(inTable(b)) - Number(inTable(a)))) {
    const most = inTable(size) ? rounds : 1
    const sides = Object.entries(work.sides)
      .filter(([side, able]) => only.includes(side) && size <= able)
      .map(([side]) => side as Side)
    const able = new Set(sides)
    for (let i = 0; i < most; i++) {
      for (const side of able) {
        if (i >= others && !compared.has(side)) continue
        if (!(await round(work, side, size, figures))) able.delete(side)
      }
    }
    await seeds.stop()
    write()
  }
}

const load = () => os.loadavg()[0]!.toFixed(1)
const machine = `Node ${process.version}, ${os.cpus().length} cores, ${os.cpus()[0]?.model.trim()}`
console.log(`${machine}, load ${load()}; median of ${rounds} rounds (least–most)`)
const before = load()
const played = works.filter((work) => positionals.length === 0 || positionals.includes(work.name))
const results = new Map<Work, Figures>()
for (const work of played) await play(work)
console.log(`\n${report()}`)
process.exit(failed > 0 ? 1 : 0)

/** Returns all that was measured so far, as Markdown. */
function report(): string {
  const about = `${machine}; load ${before} before and ${load()} after; median of ${rounds} rounds (least–most)`
  return `${resultsTable(results)}\n\n${about}.\n\n${promisesTable()}\n`
}

/** Writes the table and the plots. Called after each size, because a run takes long and may be interrupted. */
function write(): void {
  if (values.out === undefined) return
  mkdirSync(values.out, { recursive: true })
  writeFileSync(path.join(values.out, "peers.md"), report())
  for (const [work, figures] of results) writeFileSync(path.join(values.out, `${work.name}.svg`), plot(work, figures))
}
