/** The clock of a device is set back while it is not connected. New ids and times still follow the relay's clock. */
import { memoryStore } from "headwater/memory"
import { beforeEach, expect, test } from "vitest"
import { at, first, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const HOUR = 3_600_000
const YEAR = 365 * 24 * HOUR

let relay: ScriptedRelay
let store: ReturnType<typeof memoryStore>
let ws: Awaited<ReturnType<typeof open>>
beforeEach(() => {
  relay = new ScriptedRelay()
  store = memoryStore()
})

/** Whether the times in the id and the row of a new note are `time`, within 2 s. */
async function isMadeAt(time: number): Promise<boolean> {
  const { id, $createdAt } = await ws.notes.create({ title: "t" })
  const made = Number.parseInt(id.replace("-", "").slice(0, 12), 16)
  return [made, $createdAt as number].every((ms) => Math.abs(ms - time) < 2000)
}

/** Connects once to a relay whose clock is `ahead` ms ahead, and disconnects. */
async function hear(ahead: number): Promise<void> {
  relay.now -= ahead
  relay.answer = (message) =>
    message.t === "pull"
      ? [{ t: "entries", w, items: [], cursor: at(1), level: true, ...first, time: relay.now + ahead }]
      : []
  ws = await open({ url }, store, relay.env)
  await relay.pass(1000)
  expect(ws.status.phase).toBe("live")
  ws.disconnect()
}

const clocks: [string, number][] = [
  ["is right", 0],
  ["is an hour slow", HOUR],
  ["is years fast", -73 * YEAR],
]

test.each(clocks)("while the workspace is open offline, on a device whose clock %s", async (_, ahead) => {
  await hear(ahead)
  const time = relay.now + ahead
  for (const back of [HOUR, 50 * YEAR]) {
    relay.setClock(-back)
    await relay.pass(5000)
  }
  expect(await isMadeAt(time + 10_000)).toBe(true)
  await ws.close()
})

test.each(clocks)("just before the relay names its time, on a device whose clock %s", async (_, ahead) => {
  await hear(ahead)
  await relay.pass(6000)
  const time = relay.now + ahead
  relay.setClock(-HOUR)
  relay.answer = (message) =>
    message.t === "pull"
      ? [{ t: "entries", w, items: [], cursor: at(1), level: true, ...first, time: time + 1000 }]
      : []
  ws.connect({ url })
  await relay.pass(1000)
  ws.disconnect()
  await relay.pass(9000)
  expect(await isMadeAt(time + 10_000)).toBe(true)
  await ws.close()
})

test.each(clocks)("while the program is not running, on a device whose clock %s", async (_, ahead) => {
  await hear(ahead)
  await ws.close()
  const time = relay.now + ahead
  relay.setClock(-HOUR)
  ws = await open(undefined, store, relay.env)
  // Nothing shows how long the program was not running, so its time goes on from the time of the close.
  expect(await isMadeAt(time)).toBe(true)
  await relay.pass(60_000)
  await ws.close()
  ws = await open(undefined, store, relay.env)
  expect(await isMadeAt(time + 60_000)).toBe(true)
  await ws.close()
})

test("without a relay's time, the device's own clock is used as it is", async () => {
  ws = await open(undefined, store, relay.env)
  relay.setClock(-HOUR)
  await relay.pass(10_000)
  expect(await isMadeAt(relay.now)).toBe(true)
  await ws.close()
})

test("a sleep of the device, which looks as if the clock was set forward, changes nothing", async () => {
  await hear(HOUR)
  relay.setClock(8 * HOUR)
  await relay.pass(10_000)
  expect(await isMadeAt(relay.now + HOUR)).toBe(true)
  await ws.close()
})
