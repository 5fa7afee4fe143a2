import { openWorkspace, relayConnection } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { type Env, type Socket, systemClock } from "../../src/base/env.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { decodeClient, encode, type Push, type RelayMessage } from "../../src/wire/protocol.ts"
import { at, first, notes, open, openLevel, refuse, url, w } from "../support/foreign.ts"
import { startRelay } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// A slow line, a relay that refuses for now, an app that connects and disconnects from its status listener.
beforeAll(() => loadAutomerge())
const pushes = (relay: ScriptedRelay) => relay.heard.filter((message): message is Push => message.t === "push")

test("an app may connect from its status listener: one call is dialled, and none is left open", async () => {
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

test("an app may disconnect from its status listener: nothing is dialled, and nothing beats on", async () => {
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
  ws.connect() // its status listener disconnects while `connect` is still under way
  await relay.settle()
  expect(ws.status).toMatchObject({ phase: "offline", connected: false })
  off()
  await ws.close()
})

test("a workspace that was let go of while another one was told of the connection is not connected", async () => {
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

test("who waits is told that the connection was closed, also while disconnected", async () => {
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

test("a note that takes longer to go up the line than the heartbeat is patient arrives", async () => {
  const clock = new ScriptedRelay()
  /** A line of 160 kbit/s, with a relay behind it that answers at once. */
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

test("a note that takes longer to come down the line than the heartbeat is patient arrives", {
  timeout: 60_000,
}, async () => {
  await using relay = await startRelay()
  const a = await open({ url: relay.url })
  for (const name of ["one", "two"]) await a.notes.create({ title: name.padEnd(700_000, "x") })
  await a.whenStored()
  await a.close()
  const hurry = 100 // line and timers are this many times as fast as real ones
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
  await b.whenSynced({ signal: AbortSignal.timeout(45_000) }).catch(() => {}) // 75 min at that speed
  expect([b.notes.all().length, b.status.phase]).toEqual([2, "live"])
  await b.close()
})

test("a retry that is a month away is waited for", async () => {
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

test("a refusal does not outlive its connection in the status", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  await ws.notes.create({ title: "x" })
  await relay.settle()
  refuse(relay, relay.last("push"), () => "QUOTA", 5000)
  await relay.settle()
  expect(ws.status.error?.code).toBe("QUOTA")
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

test("a relay that says at once is not asked at once", async () => {
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

test("patience grows with every silence, and is forgotten when the line has answered for a while", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  /** ms from a ping to the end of the connection. */
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
  await answer(7) // counted anew after the silence, so not eight in a row
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

test("behind a proxy that ends what is idle for 60 s a patient connection stays", { timeout: 60_000 }, async () => {
  const relay = new ScriptedRelay()
  relay.luck = 0.1
  const ws = await openLevel(relay)
  await silences(relay, ws, 3)
  // From here on the relay answers everything.
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

test("a clock that is set during a session is measured again: ids and times are the relay's, after an offline restart too", async () => {
  const relay = new ScriptedRelay()
  const NOW = Date.UTC(2026, 10, 29)
  const YEAR = 365 * 86_400_000
  relay.now = 60_000 // 1970
  let ahead = NOW - relay.now // of the relay's clock
  relay.answer = (message) =>
    message.t === "ping"
      ? [{ t: "pong" }]
      : message.t === "pull"
        ? [{ t: "entries", w, items: [], cursor: at(1), level: true, ...first, time: relay.now + ahead }]
        : []
  const store = memoryStore()
  let ws = await open({ url }, store, relay.env)
  await relay.pass(1000)
  /** ms from the relay's time to that of a new entity. */
  const errors = async () => {
    const { id, $createdAt } = await ws.notes.create({ title: "t" })
    const [made, time] = [Number.parseInt(id.replace("-", "").slice(0, 12), 16), relay.now + ahead]
    return [made - time, ($createdAt as number) - time].map((ms) => Math.abs(ms) < 2000)
  }
  expect(await errors()).toEqual([true, true])
  for (const jump of [56 * YEAR, -3 * YEAR, 10 * 60_000]) {
    relay.setClock(jump)
    ahead -= jump
    await relay.pass(6000)
    expect(await errors()).toEqual([true, true])
  }
  const pulls = relay.count("pull")
  await relay.pass(3_600_000)
  expect(relay.count("pull")).toBe(pulls)
  await ws.close()
  ws = await open(undefined, store, relay.env)
  expect(await errors()).toEqual([true, true])
  await ws.close()
})
