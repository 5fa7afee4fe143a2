import { openWorkspace, relayConnection } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test, vi } from "vitest"
import { type Env, type Socket, systemClock } from "../../src/base/env.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { receiveEntries } from "../../src/replica/exchange/receive-entries.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { decodeClient, encode, type Push, type RelayMessage } from "../../src/wire/protocol.ts"
import { at, first, notes, open, openLevel, refuse, url, w } from "../support/foreign.ts"
import { startRelay } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// Tests with a slow line, a relay that refuses for now, or an app that connects and disconnects in its status listener.
vi.mock("../../src/replica/exchange/receive-entries.ts", { spy: true })
beforeAll(() => loadAutomerge())
const pushes = (relay: ScriptedRelay) => relay.heard.filter((message): message is Push => message.t === "push")

test("an app may connect in its status listener: one socket is dialled, and none is left open", async () => {
  const relay = new ScriptedRelay()
  const sockets = new Set<Socket>()
  const env: Env = {
    ...relay.env,
    dial: (...call) => {
      const socket = relay.env.dial(...call)
      sockets.add(socket)
      socket.close = () => void sockets.delete(socket)
      return socket
    },
  }
  const ws = await openLevel(relay, memoryStore(), env)
  ws.onStatus(({ phase }) => {
    if (phase === "connecting") ws.connect()
  })
  sockets.clear()
  relay.hangUp()
  await relay.pass(1000)
  const dialled = sockets.size
  await ws.close()
  expect([dialled, sockets.size]).toEqual([1, 0])
})

test("an app may disconnect in its status listener: no socket is dialled, and no ping is sent", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const off = ws.onStatus(({ phase }) => {
    if (phase === "connecting") ws.disconnect()
  })
  relay.hangUp()
  await relay.pass(1000)
  const pings = relay.count("ping")
  await relay.pass(60_000)
  expect([ws.status.phase, relay.count("ping") - pings]).toEqual(["offline", 0])
  ws.connect() // the status listener disconnects before `connect` has returned
  await relay.settle()
  expect(ws.status).toMatchObject({ phase: "offline", connected: false })
  off()
  await ws.close()
})

test("a workspace that another one's status listener disconnects does not count as connected", async () => {
  const relay = new ScriptedRelay()
  relay.silent = true
  const shared = relayConnection({ url })
  const join = (id: string) =>
    openWorkspace({ id, collections: { notes }, store: memoryStore(), relay: shared, env: relay.env })
  const a = await join("a")
  const b = await join("b")
  const off = a.onStatus(({ connected }) => {
    if (!connected) return
    off()
    b.disconnect()
  })
  relay.silent = false
  await relay.pass(20_000)
  expect([a.status.connected, b.status.connected, b.status.phase]).toEqual([true, false, "offline"])
  await a.close()
  await b.close()
})

test("a closed connection rejects whenStored with CLOSED, even for a disconnected workspace", async () => {
  const relay = new ScriptedRelay()
  const shared = relayConnection({ url })
  const ws = await openWorkspace({ id: w, collections: { notes }, store: memoryStore(), relay: shared, env: relay.env })
  await ws.notes.create({ title: "x" })
  const wait = ws.whenStored().then(
    () => "stored",
    ({ code }) => code,
  )
  ws.disconnect()
  await shared.close()
  expect(await Promise.race([wait, relay.settle().then(() => "still waits")])).toBe("CLOSED")
  await ws.close()
})

test("a note arrives at the relay though sending it takes longer than the heartbeat waits", async () => {
  const clock = new ScriptedRelay()
  /** A line of 160 kbit/s to a relay that answers at once. */
  const dial = (): Socket => {
    let free = clock.now
    let live = true
    const say = (message: RelayMessage) => live && socket.onmessage?.(encode(message))
    const socket: Socket = {
      bufferedAmount: 0,
      onopen: null,
      onmessage: null,
      onclose: null,
      send(frame) {
        free = Math.max(free, clock.now) + frame.length / 20
        clock.env.after(free - clock.now, () => {
          const message = decodeClient(frame)
          if (message?.t === "ping") say({ t: "pong" })
          if (message?.t === "pull") say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
          if (message?.t === "push") say({ t: "ack", w, id: message.id, at: at(2) })
        })
      },
      close: () => void (live = false),
    }
    queueMicrotask(() => socket.onopen?.())
    return socket
  }
  const ws = await open({ url }, memoryStore(), { ...clock.env, dial })
  await clock.pass(1000)
  await ws.notes.create({ title: "x".repeat(700_000) })
  await clock.pass(30 * 60_000)
  expect(ws.status.pending).toBe(0)
  await ws.close()
})

test("a note arrives at the device though receiving it takes longer than the heartbeat waits", {
  timeout: 60_000,
}, async () => {
  await using relay = await startRelay()
  const a = await open({ url: relay.url })
  for (const name of ["one", "two"]) await a.notes.create({ title: name.padEnd(700_000, "x") })
  await a.whenStored()
  await a.close()
  const hurry = 100 // a line of 160 kbit/s and the library's timers are this many times as fast here
  const dial = (...call: Parameters<Env["dial"]>): Socket => {
    const socket = systemEnv.dial(...call)
    let free = performance.now()
    let live = true
    const slow: Socket = {
      ...socket,
      send: (frame) => socket.send(frame),
      close(code) {
        live = false
        socket.close(code)
      },
    }
    socket.onopen = () => slow.onopen?.()
    socket.onclose = (...why) => slow.onclose?.(...why)
    socket.onmessage = (frame) => {
      free = Math.max(free, performance.now()) + frame.length / 20 / hurry
      setTimeout(() => live && slow.onmessage?.(frame), free - performance.now())
    }
    return slow
  }
  const env: Env = { ...systemEnv, dial, after: (ms, f) => systemClock.after(ms / hurry, f) }
  const b = await open({ url: relay.url }, memoryStore(), env)
  await b.whenSynced({ signal: AbortSignal.timeout(45_000) }).catch(() => {}) // 45 s of this test stand for 75 min
  expect([b.notes.all().length, b.status.phase]).toEqual([2, "live"])
  await b.close()
})

test("a retry that is due in a month is not made at once", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay, memoryStore(), { ...relay.env, after: systemClock.after })
  await ws.notes.create({ title: "T" })
  for (let i = 0, answered = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    for (const push of pushes(relay).slice(answered)) refuse(relay, push, () => "QUOTA", 30 * 86_400_000)
    answered = pushes(relay).length
  }
  expect(pushes(relay).length).toBe(1)
  await ws.close()
})

test("the status shows no refusal of a connection that has ended", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  await ws.notes.create({ title: "x" })
  await relay.settle()
  refuse(relay, relay.last("push"), () => "FORBIDDEN", 5000)
  await relay.settle()
  expect(ws.status.error?.code).toBe("FORBIDDEN")
  relay.hangUp()
  await relay.pass(1000)
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
  await relay.settle()
  relay.say({ t: "ack", w, id: relay.last("push").id, at: at(2) })
  await relay.pass(9000)
  await ws.notes.create({ title: "taken at once" })
  expect(ws.status).toMatchObject({ phase: "live", pending: 2, error: null })
  await ws.close()
})

test("a relay that refuses with retryIn 0 is not asked again at once", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  await ws.notes.create({ title: "T" })
  await relay.settle()
  refuse(relay, relay.last("push"), () => "RATE", 0)
  await relay.pass(999)
  expect(pushes(relay).length).toBe(1)
  await relay.pass(1)
  expect(pushes(relay).length).toBe(2)
  await ws.close()
})

test("the wait for an answer doubles with every silence, and is short again after 8 answers", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  /** Seconds from a ping to the end of the connection. */
  const silence = async () => {
    const pings = relay.count("ping")
    while (relay.count("ping") === pings) await relay.pass(500)
    const asked = relay.now
    while (ws.status.connected) await relay.pass(500)
    const { now } = relay
    while (!ws.status.connected) await relay.pass(500)
    return Math.round((now - asked) / 1000)
  }
  const answer = async (times: number) => {
    const pings = relay.count("ping")
    for (let n = 1; n <= times; n++) {
      while (relay.count("ping") < pings + n) await relay.pass(500)
      relay.say({ t: "pong" })
    }
  }
  const silences = [await silence(), await silence(), await silence()]
  await answer(7)
  silences.push(await silence())
  await answer(7) // not eight in a row, because a silence came between
  silences.push(await silence())
  await answer(8)
  silences.push(await silence(), await silence(), await silence(), await silence(), await silence(), await silence())
  expect(silences).toEqual([10, 20, 40, 80, 160, 10, 20, 40, 80, 160, 160])
  await ws.close()
})

const silences = async (relay: ScriptedRelay, ws: Awaited<ReturnType<typeof openLevel>>, n: number) => {
  for (let i = 0; i < n; i++) {
    while (ws.status.connected) await relay.pass(500)
    while (!ws.status.connected) await relay.pass(500)
  }
}

test("a connection with a long wait stays open behind a proxy's limit of 60 s", { timeout: 60_000 }, async () => {
  const relay = new ScriptedRelay()
  relay.luck = 0.1
  const ws = await openLevel(relay)
  await silences(relay, ws, 3)
  // From now on the relay answers everything. The connection ends after 60 s without a message from the client.
  const dials = relay.dials.length
  let known = { dials, heard: relay.heard.length, at: relay.now }
  for (const end = relay.now + 3_600_000; relay.now < end; ) {
    await relay.pass(1000)
    if (relay.dials.length > known.dials) {
      known = { dials: relay.dials.length, heard: relay.heard.length, at: relay.now }
      relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
    }
    const news = relay.heard.slice(known.heard)
    if (news.some(({ t }) => t === "ping")) relay.say({ t: "pong" })
    if (news.length > 0) known = { ...known, heard: relay.heard.length, at: relay.now }
    if (!ws.status.connected || relay.now - known.at < 60_000) continue
    relay.hangUp()
    known = { ...known, at: relay.now }
  }
  expect(relay.dials.length - dials).toBe(0)
  await ws.close()
})

test("a dead connection is noticed though the page is looked at now and then", async () => {
  const relay = new ScriptedRelay()
  relay.luck = 0.1
  const ws = await openLevel(relay)
  await silences(relay, ws, 4)
  for (let i = 0; i < 2; i++) {
    await relay.pass(120_000)
    relay.wake()
  }
  expect(relay.dials.length).toBeGreaterThan(5)
  await ws.close()
})

test("after the clock was set during a session, ids and times follow the relay's clock, offline too", async () => {
  const relay = new ScriptedRelay()
  const NOW = Date.UTC(2026, 10, 29)
  const YEAR = 365 * 86_400_000
  relay.now = 60_000 // the device's clock is in 1970
  let ahead = NOW - relay.now // by how much the relay's clock is ahead
  relay.answer = (message) =>
    message.t === "ping"
      ? [{ t: "pong" }]
      : message.t === "pull"
        ? [{ t: "entries", w, items: [], cursor: at(1), level: true, ...first, time: relay.now + ahead }]
        : []
  const store = memoryStore()
  let ws = await open({ url }, store, relay.env)
  await relay.pass(1000)
  /** Makes a note. Whether the times in its id and in its row are the time of the relay, within 2 s. */
  const isTimeRight = async () => {
    const { id, $createdAt } = await ws.notes.create({ title: "t" })
    const [made, time] = [Number.parseInt(id.replace("-", "").slice(0, 12), 16), relay.now + ahead]
    return [made - time, ($createdAt as number) - time].map((ms) => Math.abs(ms) < 2000)
  }
  expect(await isTimeRight()).toEqual([true, true])
  for (const jump of [56 * YEAR, -3 * YEAR, 10 * 60_000]) {
    relay.setClock(jump)
    ahead -= jump
    await relay.pass(6000)
    expect(await isTimeRight()).toEqual([true, true])
  }
  const pulls = relay.count("pull")
  await relay.pass(3_600_000)
  expect(relay.count("pull")).toBe(pulls)
  await ws.close()
  ws = await open(undefined, store, relay.env)
  expect(await isTimeRight()).toEqual([true, true])
  await ws.close()
})

test("a defect met while a message is handled is not called a fault of the disk, and the message is asked for again", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const pulls = relay.count("pull")
  const defect = new TypeError("a defect")
  vi.mocked(receiveEntries).mockRejectedValueOnce(defect)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true })
  await relay.pass(100)
  expect(ws.status).toMatchObject({ connected: true, error: { code: "MESSAGE_BAD", cause: defect } })
  await relay.pass(5000)
  expect(relay.count("pull")).toBe(pulls + 1)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  expect(ws.status).toMatchObject({ phase: "live", error: null })
  await ws.close()
})
