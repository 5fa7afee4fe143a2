/** The works in which somebody writes: imports, edits of fields, typing together. */
import { finish, runClient, startClient, startServer } from "./processes.ts"
import { fill } from "./seeds.ts"
import type { Side } from "./sides.ts"
import { against, type Run, share, type Work, within } from "./work.ts"

export const create: Work = {
  name: "create",
  counts: "notes",
  sizes: [100, 1_000, 10_000],
  sides: {
    headwater: 10_000,
    hocuspocus: 10_000,
    "y-websocket": 10_000,
    "automerge-repo": 1_000,
    tinybase: 10_000,
    bare: 1_000,
  },
  rows: [
    {
      title: "create 10,000 notes (an import): each",
      measure: "each",
      size: 10_000,
      unit: "ms",
      goal: within("each", 10_000, 0.3, " ms"),
    },
    {
      title: "create 1,000 notes: each",
      measure: "each",
      size: 1_000,
      unit: "ms",
      goal: { ...against("bare", "each", 1_000, { atMost: 0.2 }), says: "<= 1/5 of A.from" },
    },
    {
      title: "… WebAssembly compiled",
      measure: "compiled",
      size: 1_000,
      unit: "times",
      goal: within("compiled", 1_000, 0, " times"),
    },
    {
      title: "10,000 notes as created: disk of the device",
      measure: "deviceMB",
      size: 10_000,
      unit: "MB",
      goal: share("deviceMB", "jsonMB", 10_000, 2, "raw JSON"),
    },
    {
      title: "… disk of the server",
      measure: "serverMB",
      size: 10_000,
      unit: "MB",
      goal: share("serverMB", "jsonMB", 10_000, 1.3, "raw JSON"),
    },
    { title: "… as raw JSON", measure: "jsonMB", size: 10_000, unit: "MB" },
  ],
  plot: { measure: "ms", title: "Create: ms for a note", unit: "ms a note" },
  async round(side, size, run) {
    const { filled, seed } = await fill(side, run.folder("create"), size)
    return {
      ms: filled.ms,
      each: filled.ms / size,
      compiled: filled.compiled,
      deviceMB: seed.deviceBytes / 1e6,
      serverMB: seed.serverBytes / 1e6,
      jsonMB: seed.json / 1e6,
    }
  },
}

export const fieldEdits: Work = {
  name: "field-edits",
  counts: "edits",
  sizes: [300, 1_000, 3_000],
  sides: { headwater: 3_000, hocuspocus: 3_000, "automerge-repo": 3_000, tinybase: 300, bare: 3_000 },
  rows: [
    {
      title: "3,000 field edits over 100 notes in turn, each saved",
      measure: "perSecond",
      size: 3_000,
      unit: "a second",
      goal: against("bare", "perSecond", 3_000, { atLeast: 0.8 }),
    },
  ],
  plot: { measure: "ms", title: "Field edits over 100 notes, each saved: ms for an edit", unit: "ms an edit" },
  async round(side, size, run) {
    const options = { folder: run.folder("device"), edits: size, over: 100 }
    const { perSecond } = await runClient<{ perSecond: number }>(side, "fieldEdits", options)
    return { perSecond, ms: (size / perSecond) * 1000 }
  },
}

/** Length of the text at first. With all typed letters it is short enough that a row of Headwater has it whole. */
const TEXT = 200
const PEOPLE = "ABCDEFGHIJ"
interface Typed {
  readonly ms: number
  readonly cpuMs: number
  readonly typed: readonly (readonly [letter: string, times: number[]])[]
  readonly arrivals: readonly (readonly [reader: string, letter: string, times: number[]])[]
}

/** Lets people type in one note, half of them in each of two processes. Resolves with the results of both processes. */
async function type(
  side: Side,
  people: string,
  how: { readonly typing: string; readonly each: number; readonly every: number },
  run: Run,
): Promise<Typed[]> {
  const { seed } = await fill(side, run.folder("note"), 1, TEXT)
  const server = await startServer(side, seed.server)
  const half = Math.ceil(people.length / 2)
  const clients = [people.slice(0, half), people.slice(half)].map((letters) => {
    const folders = [...letters].map((letter) => run.folder(letter))
    return startClient(side, "people", { folders, url: server.url, root: seed.root, letters })
  })
  for (const client of clients) await client.next()
  await server.quiet()
  const total = how.typing.length * how.each
  for (const client of clients) client.go({ ...how, total })
  const results = await Promise.all(clients.map((client) => client.next<Typed>()))
  // Each task then asks whether there is more to type. `finish` answers that there is not.
  for (const client of clients) {
    client.go()
    await client.next()
  }
  await Promise.all(clients.map((client) => finish(client)))
  await server.stop()
  return results
}

/** Returns the ms from each key to each other person's screen, ascending. */
function latencies(results: readonly Typed[]): number[] {
  const typed = new Map(results.flatMap((result) => result.typed))
  return results
    .flatMap(({ arrivals }) => arrivals)
    .filter(([reader, letter]) => reader !== letter)
    .flatMap(([, letter, times]) => times.map((at, k) => at - typed.get(letter)![k]!))
    .sort((a, b) => a - b)
}
const percentile = (sorted: readonly number[], part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
const cpuOf = (results: readonly Typed[]) => results.reduce((sum, { cpuMs }) => sum + cpuMs, 0)

const SECONDS = 5
export const typing: Work = {
  name: "typing",
  counts: "people",
  sizes: [2, 5, 10],
  sides: { headwater: 10, hocuspocus: 10, "y-websocket": 10, "automerge-repo": 10 },
  rows: [
    {
      title: "10 people type 10 letters a second each into one note: to another screen, p50",
      measure: "p50",
      size: 10,
      unit: "ms",
      goal: against("hocuspocus", "p50", 10, { atMost: 1.5 }),
    },
    {
      title: "… p99",
      measure: "p99",
      size: 10,
      unit: "ms",
      goal: against("hocuspocus", "p99", 10, { atMost: 2 }),
    },
    {
      title: `… client CPU, 10 devices, ${SECONDS} s`,
      measure: "cpuMs",
      size: 10,
      unit: "ms",
      goal: against("hocuspocus", "cpuMs", 10, { atMost: 2 }),
    },
  ],
  plot: { measure: "p50", title: "Typing together: p50 to another screen", unit: "ms", whole: true },
  async round(side, size, run) {
    const people = PEOPLE.slice(0, size)
    const results = await type(side, people, { typing: people, each: SECONDS * 10, every: 100 }, run)
    const ms = latencies(results)
    return { p50: percentile(ms, 0.5), p99: percentile(ms, 0.99), cpuMs: cpuOf(results) }
  },
}

export const burst: Work = {
  name: "burst",
  counts: "letters of each of 4 people",
  sizes: [50, 150, 500],
  sides: { headwater: 500, hocuspocus: 500, "y-websocket": 500, "automerge-repo": 500 },
  rows: [
    {
      title: "4 of 10 people type 500 letters each as fast as it goes: all there",
      measure: "ms",
      size: 500,
      unit: "ms",
      goal: against("hocuspocus", "ms", 500, { atMost: 1.5 }),
    },
    { title: "… client CPU, 10 devices", measure: "cpuMs", size: 500, unit: "ms" },
  ],
  plot: {
    measure: "ms",
    title: "Four people type as fast as it goes: ms until a letter is everywhere",
    unit: "ms a letter",
  },
  async round(side, size, run) {
    // Each process has two of the writers.
    const results = await type(side, PEOPLE, { typing: "ABFG", each: size, every: 0 }, run)
    return { ms: Math.max(...results.map(({ ms }) => ms)), cpuMs: cpuOf(results) }
  },
}
