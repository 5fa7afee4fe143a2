/**
 * Runs clients that speak the wire protocol without documents. They run in a process of their own, so that their cost
 * does not count as the server's. stdin has one JSON command a line, stdout one JSON answer a line.
 */
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { decodeRelay, type Entry, encode, limits } from "../src/wire/protocol.ts"
import { actorOf, change, genesis } from "../test/support/changes.ts"
import { Wire } from "../test/support/wire.ts"

const VALUE = "x".repeat(100)
let actors = 0

/** Yields the entries of a note: its genesis and `changes` changes, each depending on the one before. */
function* history(entity: string, changes: number): Generator<Entry> {
  const actor = actorOf(++actors * 2 ** 16 + (process.pid % 2 ** 16))
  let last = genesis(entity)
  yield entryOf(entity, last.chunk)
  for (let seq = 1; seq <= changes; seq++) {
    last = change({ actor, seq, startOp: last.maxOp + 1, deps: [last.hash], value: VALUE })
    yield entryOf(entity, last.chunk)
  }
}

const entryOf = (entity: string, chunk: Uint8Array): Entry => ({
  entity,
  collection: "notes",
  kind: "change",
  chunks: [chunk],
})

const frameOf = (w: string, id: number, entry: Entry) => encode({ t: "push", w, id: String(id), entries: [entry] })
const isAck = (frame: Uint8Array, id: number) => {
  const message = decodeRelay(frame)
  return message?.t === "ack" && message.id === String(id)
}

// ── many writers ──────────────────────────────────────────────────────────────────────────────────────────────────────

interface Write {
  readonly url: string
  /** Whether to check that each answer is an ack of the protocol. A bare server answers with other bytes. */
  readonly acks: boolean
  readonly name: string
  readonly writers: number
  readonly changes: number
}

/**
 * Each writer sends its next change when the change before is acknowledged. `ms`: the time from the first frame to the
 * last ack. `latencies`: ms from sending a change to its ack, one for each change.
 */
async function write({ url, acks, name, writers, changes }: Write): Promise<{ ms: number; latencies: number[] }> {
  const frames = Array.from({ length: writers }, (_, writer) =>
    [...history(`${name}-${writer}`, changes)].map((entry, i) => frameOf("writers", i, entry)),
  )
  const wires = await Promise.all(frames.map(() => Wire.dial(url)))
  const answers = wires.map((wire) => {
    wire.socket.removeAllListeners("message")
    const got: Uint8Array[] = []
    wire.socket.on("message", (frame: Buffer) => got.push(frame))
    return got
  })
  const latencies: number[] = []
  const exchange = (writer: number, from: number, to: number) =>
    new Promise<void>((resolve) => {
      const { socket } = wires[writer]!
      let next = from
      let sent = 0
      const send = () => {
        sent = performance.now()
        socket.send(frames[writer]![next++]!)
      }
      const answered = () => {
        latencies.push(performance.now() - sent)
        if (next < to) return send()
        socket.off("message", answered)
        resolve()
      }
      socket.on("message", answered)
      send()
    })
  await Promise.all(wires.map((_, writer) => exchange(writer, 0, 1)))
  latencies.length = 0
  const begun = performance.now()
  await Promise.all(wires.map((_, writer) => exchange(writer, 1, changes + 1)))
  const ms = performance.now() - begun
  for (const wire of wires) wire.close()
  if (acks && !answers.every((got) => got.length === changes + 1 && got.every(isAck)))
    throw new Error("not all were acks")
  return { ms, latencies }
}

// ── one writer, many subscribers ──────────────────────────────────────────────────────────────────────────────────────

interface Fanout {
  readonly url: string
  readonly relay: boolean
  readonly w: string
  readonly subscribers: number
}
interface Subscriber {
  readonly wire: Wire
  /** The received frames, each with its time of arrival in ms. They are decoded afterwards. */
  readonly arrived: { readonly at: number; readonly frame: Uint8Array }[]
}
let fanout: { writer: Wire; subscribers: Subscriber[]; options: Fanout; entries: Generator<Entry> } | undefined

async function openFanout(options: Fanout): Promise<object> {
  const writer = await Wire.dial(options.url)
  writer.socket.removeAllListeners("message")
  const subscribers: Subscriber[] = []
  for (let i = 0; i < options.subscribers; i++) {
    const wire = await Wire.dial(options.relay ? options.url : `${options.url}/follow`)
    if (options.relay) {
      wire.pull(options.w, null, { credit: Number.MAX_SAFE_INTEGER })
      await wire.level(options.w)
    }
    wire.socket.removeAllListeners("message")
    const arrived: Subscriber["arrived"] = []
    wire.socket.on("message", (frame: Buffer) => arrived.push({ at: performance.now(), frame }))
    subscribers.push({ wire, arrived })
  }
  fanout = { writer, subscribers, options, entries: history(options.w, Number.MAX_SAFE_INTEGER) }
  return {}
}

/** `latencies`: ms from sending a change to its arrival, one for each change and subscriber. */
async function runFanout({ changes, every }: { changes: number; every: number }): Promise<{ latencies: number[] }> {
  const { writer, subscribers, options, entries } = fanout!
  for (const { arrived } of subscribers) arrived.length = 0
  const sent: number[] = []
  const begun = performance.now()
  for (let i = 0; i < changes; i++) {
    await sleep(begun + i * every - performance.now())
    const frame = frameOf(options.w, i, entries.next().value as Entry)
    sent.push(performance.now())
    writer.socket.send(frame)
  }
  const count = (frame: Uint8Array) => {
    if (!options.relay) return 1
    const message = decodeRelay(frame)
    return message?.t === "entries" ? message.items.length : 0
  }
  const deadline = performance.now() + 30_000
  const latencies: number[] = []
  for (const { arrived } of subscribers) {
    let next = 0
    for (let i = 0; next < changes; i++) {
      while (i >= arrived.length) {
        if (performance.now() > deadline) throw new Error(`a subscriber got ${next} of ${changes} changes`)
        await sleep(5)
      }
      const { at, frame } = arrived[i]!
      for (const last = next + count(frame); next < last; next++) latencies.push(at - sent[next]!)
    }
  }
  return { latencies }
}

async function closeFanout(): Promise<object> {
  fanout?.writer.close()
  for (const { wire } of fanout?.subscribers ?? []) wire.close()
  fanout = undefined
  return {}
}

// ── one client, a large log ───────────────────────────────────────────────────────────────────────────────────────────

/** Pushes the entries `from` to `to` of a log in which each note has 20 entries. */
async function fill({ url, w, from, to }: { url: string; w: string; from: number; to: number }): Promise<object> {
  const wire = await Wire.dial(url)
  const inFlight: string[] = []
  let batch: Entry[] = []
  const push = async (most: number) => {
    if (batch.length > 0) inFlight.push(wire.push(batch, { w }))
    batch = []
    while (inFlight.length > most) await wire.ack(inFlight.shift()!)
  }
  for (let note = from / 20; note < to / 20; note++) {
    batch.push(...history(`note-${note}`, 19))
    if (batch.length > limits.entries - 20) await push(4)
  }
  await push(0)
  if (wire.received.some(({ t }) => t === "reject")) throw new Error("the relay refused entries")
  wire.close()
  return {}
}

/** Pulls a whole log and counts its entries. */
async function pull({ url, w }: { url: string; w: string }): Promise<{ entries: number }> {
  const wire = await Wire.dial(url)
  wire.pull(w)
  let entries = 0
  let granted = 0
  for (;;) {
    const message = await wire.take("entries")
    entries += message.items.length
    if (message.level) break
    const credit = wire.bytes - granted
    if (credit < 2 ** 20) continue
    wire.send({ t: "pull", w, credit })
    granted = wire.bytes
  }
  wire.close()
  return { entries }
}

async function ping({ url, times }: { url: string; times: number }): Promise<object> {
  const wire = await Wire.dial(url)
  for (let sent = 0; sent < times; sent += 100) {
    for (let i = 0; i < 100; i++) wire.send({ t: "ping" })
    for (let i = 0; i < 100; i++) await wire.take("pong")
  }
  wire.close()
  return {}
}

const commands: Record<string, (command: any) => Promise<object>> = {
  write,
  openFanout,
  runFanout,
  closeFanout,
  fill,
  pull,
  ping,
}
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as { do: string }
  console.log(JSON.stringify(await commands[command.do]!(command)))
}
