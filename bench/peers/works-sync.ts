/** The works that begin with a device that is empty or was offline. */
import { mkdirSync } from "node:fs"
import path from "node:path"
import type { Goal } from "./figures.ts"
import { bytesIn, copy, counted, finish, runClient, settled, startClient, startServer } from "./processes.ts"
import { edited, fill, type Seed } from "./seeds.ts"
import type { Side } from "./sides.ts"
import { against, type Row, type Run, type Work, within } from "./work.ts"

interface Pulled {
  readonly ms: number
  readonly cpuMs: number
  readonly savedMs: number
  readonly stallMs: number
  readonly compiled: number
  readonly memory: number
}

/** Pulls all notes of a seed to an empty device, and waits until the disk of the device keeps its size. */
async function pull(seed: Seed, { seeds, folder }: Run) {
  const { url } = await seeds.serve(seed)
  const device = folder("device")
  const { count, characters, root } = seed
  const client = startClient(seed.side, "pull", { folder: device, url, root, count, characters })
  const pulled = await client.next<Pulled>()
  await settled(device)
  await finish(client)
  return { ...pulled, memory: pulled.memory / 1e6, deviceMB: bytesIn(device) / 1e6 }
}

const [MIDDLE, LARGEST] = [1_000, 10_000]
/** The time per note at the largest size, divided by the time per note at the middle size. */
const perNote: Goal = {
  says: "per note <= 1.3x of 1,000",
  of(figures) {
    const middle = figures.values(MIDDLE, "headwater", "ms")
    const largest = figures.values(LARGEST, "headwater", "ms")
    return largest.slice(0, middle.length).map((ms, round) => ms / LARGEST / (middle[round]! / MIDDLE))
  },
  atMost: 1.3,
}

/** The largest size that each side plays. automerge-repo would need many minutes for more. */
const EVERYBODY = {
  headwater: LARGEST,
  hocuspocus: LARGEST,
  "y-websocket": LARGEST,
  "automerge-repo": MIDDLE,
  tinybase: LARGEST,
}

export const firstSync: Work = {
  name: "first-sync",
  counts: "notes",
  sizes: [100, MIDDLE, LARGEST],
  sides: EVERYBODY,
  rows: [MIDDLE, LARGEST].flatMap((size): Row[] => {
    const of = `first sync of ${size.toLocaleString("en")} notes`
    const middle = size === MIDDLE
    return [
      {
        title: `${of}: rows shown`,
        measure: "ms",
        size,
        unit: "ms",
        goal: middle ? against("hocuspocus", "ms", size, { atMost: 1 }) : perNote,
      },
      {
        title: "… client CPU until saved",
        measure: "cpuMs",
        size,
        unit: "ms",
        ...(middle && { goal: against("hocuspocus", "cpuMs", size, { atMost: 1.5 }) }),
      },
      {
        title: "… WebAssembly compiled",
        measure: "compiled",
        size,
        unit: "times",
        goal: within("compiled", size, 0, " times"),
      },
      {
        title: "… longest stall of the client",
        measure: "stallMs",
        size,
        unit: "ms",
        ...(!middle && { goal: within("stallMs", size, 50, " ms") }),
      },
      { title: "… memory of the client at its peak", measure: "memory", size, unit: "MB" },
    ]
  }),
  plot: { measure: "ms", title: "First sync: ms until a note is shown", unit: "ms a note" },
  async round(side, size, run) {
    return { ...(await pull(await run.seeds.notes(side, size), run)) }
  },
}

const PASSES = 50
export const edits: Work = {
  name: "edits",
  counts: `notes with ${PASSES} edits each`,
  sizes: [100, 300, 1_000],
  sides: { headwater: 1_000, hocuspocus: 1_000, "y-websocket": 1_000, "automerge-repo": 100, tinybase: 100 },
  rows: [
    {
      title: "1,000 notes x 50 edits: pulled and shown",
      measure: "ms",
      size: 1_000,
      unit: "ms",
      goal: against("hocuspocus", "ms", 1_000, { atMost: 1.5 }),
    },
    {
      title: "… disk of the server",
      measure: "serverMB",
      size: 1_000,
      unit: "MB",
      goal: within("serverMB", 1_000, 6, " MB"),
    },
    {
      title: "… disk of the device that pulled",
      measure: "deviceMB",
      size: 1_000,
      unit: "MB",
      goal: within("deviceMB", 1_000, 8, " MB"),
    },
    {
      title: "… disk of the device that edited",
      measure: "editorMB",
      size: 1_000,
      unit: "MB",
      goal: within("editorMB", 1_000, 8, " MB"),
    },
  ],
  plot: { measure: "ms", title: `${PASSES} edits of each note, pulled: ms until a note is shown`, unit: "ms a note" },
  async round(side, size, run) {
    const seed = await run.seeds.get(`edits-${size}`, side, async (folder) =>
      edited((await fill(side, folder, size)).seed, folder, PASSES),
    )
    const pulled = await pull(seed, run)
    return { ...pulled, serverMB: seed.serverBytes / 1e6, editorMB: seed.deviceBytes / 1e6 }
  },
}

/** Pulls all notes of a seed to a device in this folder. Returns the folder. */
async function synced(seed: Seed, { seeds }: Run, device: string): Promise<string> {
  mkdirSync(device, { recursive: true })
  const { url } = await seeds.serve(seed)
  const { count, characters, root } = seed
  const client = startClient(seed.side, "pull", { folder: device, url, root, count, characters })
  await client.next()
  await finish(client)
  return device
}

export const idle: Work = {
  name: "idle",
  counts: "notes",
  sizes: [100, MIDDLE, LARGEST],
  sides: EVERYBODY,
  rows: [
    {
      title: "idle reconnect with 1,000 notes, another device connected: messages both ways",
      measure: "messages",
      size: MIDDLE,
      unit: "",
      goal: within("messages", MIDDLE, 2, ""),
    },
    {
      title: "… bytes both ways",
      measure: "bytes",
      size: MIDDLE,
      unit: "B",
      goal: within("bytes", MIDDLE, 300, " B"),
    },
    { title: "… with 10,000 notes: bytes both ways", measure: "bytes", size: LARGEST, unit: "B" },
  ],
  plot: { measure: "bytes", title: "Idle reconnect: bytes both ways", unit: "B", whole: true },
  async round(side, size, run) {
    const seed = await run.seeds.notes(side, size)
    const folder = await run.seeds.get(`idle-${size}`, side, (device) => synced(seed, run, device))
    const server = await run.seeds.serve(seed)
    // Without a connection, a server drops the notes from memory, and with two of the peers all notes are then sent
    // again. Another device stays connected, so that only the reconnect is counted.
    const others = copy(folder, run.folder("other"))
    const other = startClient(side, "reconnect", { folder: others, url: server.url, root: seed.root })
    await other.next()
    await server.quiet(other)
    const proxy = await counted(server)
    const client = startClient(side, "reconnect", { folder, url: proxy.url, root: seed.root })
    const { ms, count } = await client.next<{ ms: number; count: number }>()
    if (count !== size) throw new Error(`the device has ${count} of ${size} notes`)
    await proxy.silence()
    const [messages, bytes] = [proxy.up.messages + proxy.down.messages, proxy.up.bytes + proxy.down.bytes]
    await finish(client)
    await finish(other)
    proxy.close()
    return { ms, messages, bytes }
  },
}

const NOTES = 1_000
/** Device A makes four fifths of the edits, in 200 notes. Device B makes one fifth, in 50 of these notes. */
const shares = { A: { part: 0.8, over: 200 }, B: { part: 0.2, over: 50 } } as const

/** Returns a seed beside whose server two devices have folders, A and B, with edits that they made offline. */
async function writtenOffline(side: Side, edits: number, run: Run, folder: string): Promise<Seed> {
  const seed = await run.seeds.notes(side, NOTES)
  for (const [letter, { part, over }] of Object.entries(shares)) {
    const device = await synced(seed, run, path.join(folder, letter))
    await runClient(side, "writeOffline", { folder: device, root: seed.root, edits: edits * part, over, letter })
  }
  await run.seeds.stop()
  return { ...seed, server: copy(seed.server, path.join(folder, "server")) }
}

export const offline: Work = {
  name: "offline",
  counts: "edits",
  sizes: [250, 1_000, 2_500],
  sides: { headwater: 2_500, hocuspocus: 2_500, "y-websocket": 2_500, "automerge-repo": 2_500 },
  rows: [
    {
      title: "two weeks offline on both sides, 2,500 edits: converged",
      measure: "ms",
      size: 2_500,
      unit: "ms",
      goal: against("hocuspocus", "ms", 2_500, { atMost: 1.5 }),
    },
    {
      title: "… bytes both ways",
      measure: "kB",
      size: 2_500,
      unit: "kB",
      goal: within("kB", 2_500, 200, " kB"),
    },
    { title: "… client CPU, both devices", measure: "cpuMs", size: 2_500, unit: "ms" },
  ],
  plot: { measure: "kB", title: "Offline on both sides: kB both ways for an edit", unit: "kB an edit" },
  async round(side, size, run) {
    const seed = await run.seeds.get(`offline-${size}`, side, (folder) => writtenOffline(side, size, run, folder))
    const server = await startServer(side, copy(seed.server, run.folder("server")))
    const proxy = await counted(server)
    const devices = Object.keys(shares).map((letter) => {
      const folder = copy(path.join(path.dirname(seed.server), letter), run.folder(letter))
      const over = Math.max(...Object.values(shares).map((one) => one.over))
      return startClient(side, "converge", { folder, root: seed.root, edits: size, over })
    })
    for (const device of devices) await device.next()
    for (const device of devices) device.go({ url: proxy.url })
    const results = await Promise.all(devices.map((device) => device.next<{ ms: number; written: number }>()))
    if (results.some(({ written }) => written !== size)) throw new Error("an edit came twice")
    await proxy.silence()
    const kB = (proxy.up.bytes + proxy.down.bytes) / 1000
    const ends = await Promise.all(devices.map((device) => finish<{ cpuMs: number }>(device)))
    proxy.close()
    await server.stop()
    return {
      ms: Math.max(...results.map(({ ms }) => ms)),
      kB,
      cpuMs: ends.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    }
  },
}
