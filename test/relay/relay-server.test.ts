import { request } from "node:http"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { Clock } from "../../src/base/env.ts"
import { type ClientMessage, encode, limits } from "../../src/wire/protocol.ts"
import { actorOf, change, genesis, noise } from "../support/changes.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"
import type { Wire } from "../support/wire.ts"

const A = actorOf(1)

/** Asks for an upgrade; returns the HTTP status of the answer. */
function upgrade(url: string, headers: Record<string, string> = {}): Promise<{ status: number; protocol?: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url.replace("ws:", "http:"), {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": "headwater.2",
        ...headers,
      },
    })
    asked.on("upgrade", ({ headers }, socket) => {
      socket.destroy()
      resolve({ status: 101, protocol: headers["sec-websocket-protocol"] ?? "" })
    })
    asked.on("response", (response) => resolve({ status: response.statusCode ?? 0 }))
    asked.on("error", reject)
    asked.end()
  })
}

describe("an upgrade", () => {
  it("selects headwater.2, and never repeats the token that was offered", async () => {
    await using relay = await startRelay()
    const offered = { "sec-websocket-protocol": "bearer.c2VjcmV0, headwater.3, headwater.2" }
    expect(await upgrade(relay.url, offered)).toEqual({ status: 101, protocol: "headwater.2" })
  })

  it.each(["headwater.3", "bearer.headwater.2", "chat"])("refuses the protocol %s", async (protocol) => {
    await using relay = await startRelay()
    expect(await upgrade(relay.url, { "sec-websocket-protocol": protocol })).toEqual({ status: 400 })
  })

  it.each([
    ["http://localhost:5173", 101],
    ["http://notes.localhost", 101],
    ["http://127.0.0.1:4400", 101],
    ["http://127.8.9.1", 101],
    ["http://[::1]:8080", 101],
    ["https://notes.example", 101],
    ["https://evil.example", 403],
    ["http://127.0.0.1.evil.example", 403],
    ["http://localhost.evil.example", 403],
    ["https://notes.example.evil.example", 403],
    ["null", 403],
    ["file://", 403],
  ])("answers a page from %s with %i", async (origin, status) => {
    await using relay = await startRelay({ origins: ["https://notes.example"] })
    expect((await upgrade(relay.url, { origin })).status).toBe(status)
  })

  it("lets any page connect when every origin is allowed", async () => {
    await using relay = await startRelay({ origins: ["*"] })
    expect((await upgrade(relay.url, { origin: "https://any.example" })).status).toBe(101)
  })

  it("is refused with 503 when too many sockets are open, until one has closed", async () => {
    await using relay = await startRelay({ connections: 2 })
    const [one] = [await relay.dial(), await relay.dial()]
    expect((await upgrade(relay.url)).status).toBe(503)
    one.close()
    while ((await upgrade(relay.url)).status === 503) await sleep(5)
  })

  it("is what the answer to a plain HTTP request asks for (426), except at /healthz", async () => {
    await using relay = await startRelay()
    const http = relay.url.replace("ws:", "http:")
    const health = await fetch(`${http}/healthz`)
    expect([health.status, await health.json()]).toEqual([200, { ok: true }])
    expect((await fetch(http)).status).toBe(426)
  })

  it("that is not followed by a pull, push or have within 30 s has its socket closed, and no other has", async () => {
    const timers: [ms: number, f: () => void][] = []
    const clock: Clock = {
      now: Date.now,
      random: (n) => new Uint8Array(n),
      after(ms, f) {
        timers.push([ms, f])
        return () => {}
      },
    }
    await using relay = await startRelay({ clock })
    const [silent, busy] = [await relay.dial(), await relay.dial()]
    await silent.ping() // a ping does not count
    busy.pull()
    await busy.level()
    expect(timers.map(([ms]) => ms)).toEqual([30_000, 30_000])
    for (const [, f] of timers.splice(0)) f()
    expect((await silent.ended()).code).toBe(4408)
    await busy.ping()
    for (const [, f] of timers) setTimeout(f, 50) // the time limit of the close, and the watch for silence of `busy`
  })
})

/** Asks for an upgrade on a bare TCP socket, which never closes its half by itself. */
function askForUpgrade(url: string, headers: readonly string[] = []): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  socket.on("error", () => {})
  const lines = ["GET / HTTP/1.1", "host: x", "upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13"]
  socket.write(`${[...lines, "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==", ...headers].join("\r\n")}\r\n\r\n`)
  return socket
}

/** All bytes that come until the other side closes its half of the socket. */
async function allFrom(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on("data", (chunk) => chunks.push(chunk))
  await new Promise((resolve) => socket.once("end", resolve))
  return Buffer.concat(chunks)
}

/** Asks for an upgrade that is refused, and then leaves the client's half of the socket open. */
async function leaveHalfOpen(url: string): Promise<Socket> {
  const socket = askForUpgrade(url)
  expect((await allFrom(socket)).toString()).toMatch(/^HTTP\/1.1 400 /)
  return socket
}

describe("a refused upgrade", () => {
  it("neither counts as a socket nor delays a stop, even if its sender leaves its half open", async () => {
    await using relay = await startRelay({ connections: 1 })
    // Besides its WebSockets, the relay accepts 64 plain connections. Refused upgrades must not use these up.
    const sockets = []
    for (let i = 0; i < 66; i++) sockets.push(await leaveHalfOpen(relay.url))
    expect((await upgrade(relay.url)).status).toBe(101)
    const stopped = await Promise.race([relay.server.stop().then(() => "stopped"), sleep(2_000)])
    expect(stopped).toBe("stopped")
    for (const socket of sockets) socket.destroy()
  })
})

describe("a stop", () => {
  it("answers the pushes that have arrived before it closes, with 1001", async () => {
    await using relay = await startRelay()
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    reader.pull()
    await reader.level()
    relay.disk.hold()
    const id = writer.push([note("e", A)])
    await writer.ping()
    const stopped = relay.server.stop()
    await sleep(20)
    expect(writer.closed).toBeUndefined()
    expect((await upgrade(relay.url).catch(() => ({ status: 0 }))).status).not.toBe(101)
    relay.disk.release()
    await writer.ack(id)
    expect((await reader.level()).at(-1)!.items).toHaveLength(1)
    expect((await writer.ended()).code).toBe(1001)
    expect((await reader.ended()).code).toBe(1001)
    await stopped
  })

  it("ends even if a client answers no close frame and a push is never flushed", async () => {
    await using relay = await startRelay({ sizes: { answerMs: 50, closeMs: 50 } })
    const writer = await relay.dial()
    const socket = askForUpgrade(relay.url, ["sec-websocket-protocol: headwater.2"])
    const deaf = allFrom(socket)
    await new Promise((resolve) => socket.once("data", resolve))
    relay.disk.hold()
    writer.push([note("e", A)])
    await writer.ping()
    await relay.server.stop()
    expect(await writer.ended()).toEqual({ code: 1001, reason: "the relay stops" })
    expect(writer.received).toEqual([])
    expect((await deaf).toString()).toMatch(/^HTTP\/1.1 101 .*the relay stops$/s)
  })

  it("reads no further message, even when the answers to earlier ones make room", async () => {
    await using relay = await startRelay({ sizes: { unansweredBytes: 1 } })
    const log = await relay.log()
    const wire = await relay.dial()
    relay.disk.hold()
    const id = wire.push([note("e", A)])
    while (log.appended === 0) await sleep(1)
    wire.push([note("f", A)]) // this push is not read while the first one is unanswered
    await sleep(50)
    const stopped = relay.server.stop()
    relay.disk.release()
    await wire.ack(id)
    await stopped
    expect(wire.received).toEqual([])
    expect(log.appended).toBe(1)
  })

  it("answers a /healthz request that had begun before with 503", async () => {
    await using relay = await startRelay()
    const { hostname, port } = new URL(relay.url)
    const socket = connect(Number(port), hostname)
    const answer = new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString())))
    socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\n")
    await sleep(50)
    const stopped = relay.server.stop()
    socket.write("\r\n")
    expect(await answer).toMatch(/^HTTP\/1.1 503 .*\{"ok":false\}\n/s)
    await stopped
  })
})

describe("a connection that is closed by the relay", () => {
  it("is cut off when it does not answer the close frame", async () => {
    await using relay = await startRelay({ sizes: { firstMessageMs: 50, closeMs: 50 } })
    const before = performance.now()
    const got = await allFrom(askForUpgrade(relay.url, ["sec-websocket-protocol: headwater.2"]))
    expect(got.toString("latin1").endsWith("\x11\x38no pull, push or have came")).toBe(true) // \x11\x38 is 4408
    // The WebSocket library alone would wait for 30 s.
    expect(performance.now() - before).toBeLessThan(20_000)
  })
})

/** Runs `hostile` beside a healthy connection, and checks that the relay still serves the healthy one. */
async function unharmed(relay: TestRelay, hostile: (healthy: Wire) => Promise<void>): Promise<void> {
  const healthy = await relay.dial()
  healthy.pull()
  await healthy.level()
  await hostile(healthy)
  await healthy.ack(healthy.push([note("e", A)]))
  expect(await healthy.level()).toHaveLength(1)
}

describe("a malformed frame", () => {
  const pull = encode({ t: "pull", w: "w", cursor: null, reach: null, credit: 1 })
  const push = encode({ t: "push", w: "w", id: "1", entries: [note("e", A)] })
  const frames: [string, Uint8Array][] = [
    ["nothing", new Uint8Array(0)],
    ["null", Uint8Array.of(0xf6)],
    ["half a pull", pull.subarray(0, pull.length >> 1)],
    ["a pull and a half", Uint8Array.of(...pull, ...pull.subarray(0, 9))],
    ["a push with a bit wrong in a length", push.map((byte, i) => (i === 20 ? byte ^ 0x40 : byte))],
    ["an array that claims to be long", Uint8Array.of(0x9b, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ["a nest of arrays", new Uint8Array(100_000).fill(0x81)],
    ["a big number with a tag", Buffer.concat([Buffer.of(0xc2, 0x5a, 0, 4, 0, 0), Buffer.alloc(2 ** 18)])],
  ]

  it.each(frames)("ends its connection with a notice and 4400, and disturbs no other: %s", async (_name, frame) => {
    await using relay = await startRelay()
    await unharmed(relay, async () => {
      for (const pulled of [false, true]) {
        const wire = await relay.dial()
        if (pulled) {
          wire.pull()
          await wire.level()
        }
        wire.socket.send(frame)
        expect(await wire.ended()).toEqual({ code: 4400, reason: "MESSAGE_BAD" })
        expect(wire.received).toEqual([{ t: "notice", code: "MESSAGE_BAD" }])
      }
    })
  })

  it("is also any frame of text", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    wire.socket.send("hello")
    expect((await wire.ended()).code).toBe(4400)
  })

  it("ends no other connection, whatever the bytes of 2,000 frames are", async () => {
    await using relay = await startRelay()
    const seeds = [pull, push, encode({ t: "have", w: "w", page: [["e", ["ab".repeat(32)]]], more: true })]
    const mutant = fc.tuple(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    )
    const arbitrary = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      mutant.map(([seed, edits]) =>
        edits.reduce((bytes, [at, byte]) => bytes.with(at % bytes.length, byte), seed.slice()),
      ),
      mutant.map(([seed, [edit]]) => seed.slice(0, edit![0] % seed.length)),
    )
    await unharmed(relay, async () => {
      let closed = 0
      let wire = await relay.dial()
      for (const frame of fc.sample(arbitrary, { numRuns: 2000, seed: 7 })) {
        wire.socket.send(frame)
        await wire.ping().catch(() => {})
        if (!wire.closed) continue
        expect([4400, 1009]).toContain(wire.closed.code)
        closed++
        wire = await relay.dial()
      }
      expect(closed).toBeGreaterThan(500)
      wire.close()
    })
  })

  it("of more than 4 MiB ends its connection with 1009", async () => {
    await using relay = await startRelay()
    await unharmed(relay, async () => {
      const wire = await relay.dial()
      wire.socket.send(new Uint8Array(limits.message + 1))
      expect((await wire.ended()).code).toBe(1009)
    })
  })

  it("in more than 256 fragments ends its connection with 1008, and in fewer it is accepted", async () => {
    await using relay = await startRelay()
    await unharmed(relay, async () => {
      const wire = await relay.dial()
      const sendIn = (fragments: number) => {
        const frame = encode({ t: "push", w: "other", id: `${fragments}`, entries: [note("e", A, noise(1000))] })
        for (let i = 0; i < fragments; i++) {
          const last = i === fragments - 1
          wire.socket.send(frame.subarray(i, last ? undefined : i + 1), { fin: last })
        }
      }
      for (const fragments of [64, 256]) {
        sendIn(fragments)
        await wire.ack(`${fragments}`)
      }
      sendIn(257)
      expect((await wire.ended()).code).toBe(1008)
    })
  })

  it("below the level of messages (bad opcodes, no mask, a reset) ends only its own connection", async () => {
    await using relay = await startRelay()
    await unharmed(relay, async () => {
      const bad = [
        [0x83, 0x80, 0, 0, 0, 0],
        [0x82, 0x05, 1, 2, 3, 4, 5],
        [0xf2, 0x80, 0, 0, 0, 0],
        [0x89, 0xfe, 1, 0],
        [0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255],
      ]
      for (const bytes of bad) {
        const wire = await relay.dial()
        const raw = (wire.socket as unknown as { _socket: import("node:net").Socket })._socket
        raw.write(Uint8Array.from(bytes))
        await wire.ended()
      }
      const wire = await relay.dial()
      ;(wire.socket as unknown as { _socket: import("node:net").Socket })._socket.resetAndDestroy()
      const stranger = connect(Number(new URL(relay.url).port), "127.0.0.1")
      stranger.on("error", () => {})
      stranger.write("GARBAGE\r\n\r\n")
      await new Promise((resolve) => stranger.once("close", resolve))
    })
  })
})

describe("a message of a later version of the protocol", () => {
  const later: ClientMessage[] = [
    { t: "purge", w: "w", id: "1", entity: "e" },
    { t: "auth", token: "x" },
    { t: "grants" },
    { t: "quarantine", w: "w", entity: "e", hash: "ab".repeat(32), automerge: "3.5.0" },
    {
      t: "digest",
      w: "w",
      entity: "e",
      heads: [],
      sha256: new Uint8Array(32),
      row: new Uint8Array(32),
      projection: "1",
    },
    {
      t: "snapshot",
      w: "w",
      entity: "e",
      heads: [],
      bytes: new Uint8Array(50),
      by: [],
      row: new Uint8Array(9),
      projection: "1",
    },
  ]

  it.each(later)("is answered with FORBIDDEN: $t", async (message) => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    wire.send(message)
    const w = "w" in message ? { w: message.w } : {}
    expect(await wire.take("notice")).toEqual({ t: "notice", ...w, code: "FORBIDDEN" })
    await wire.ping()
  })

  it("or of an unknown type is ignored, and so is presence", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    wire.send({ t: "presence", w: "w", data: null })
    wire.socket.send(Uint8Array.of(0xa1, 0x61, 0x74, 0x63, 0x6e, 0x65, 0x77)) // {t: "new"}
    await wire.quiet()
    expect(wire.received).toEqual([])
  })
})

it("opens no more than 256 workspaces for one connection", async () => {
  await using relay = await startRelay()
  const wire = await relay.dial()
  for (let i = 0; i < 257; i++) wire.send({ t: "pull", w: `w${i}`, cursor: null, reach: null, credit: 1 })
  expect(await wire.take("notice")).toEqual({ t: "notice", w: "w256", code: "RATE" })
  wire.pull("w0")
  await wire.level("w0")
})

describe("a client that does not read", () => {
  it("costs the relay a bounded amount of memory, and is sent everything in the end", async () => {
    await using relay = await startRelay({ sizes: { recentBytes: 2 ** 20 } })
    const [writer, stalled] = [await relay.dial(), await relay.dial()]
    stalled.pull("w", null, { credit: 2 ** 40 })
    await stalled.level()
    stalled.socket.pause()
    const value = noise(100_000)
    const count = 500 // 50 MB
    for (let i = 0; i < count; i += 10) {
      await writer.ack(writer.push(Array.from({ length: 10 }, (_, k) => note(`e${i + k}`, A, value))))
    }
    expect(relay.server.buffered()).toBeLessThan(2.5 * 2 ** 20)
    stalled.socket.resume()
    const got: string[] = []
    while (got.length < count) {
      const { items } = await stalled.take("entries")
      got.push(...items.map((item) => ("entry" in item ? item.entry.entity : "")))
    }
    expect(got).toEqual(Array.from({ length: count }, (_, i) => `e${i}`))
  })

  it("is answered no faster than it reads, and other work runs meanwhile", async () => {
    await using relay = await startRelay()
    const writer = await relay.dial()
    const root = genesis("forked")
    const forks = Array.from({ length: 1000 }, (_, i) => {
      return change({ actor: actorOf(i), startOp: 2, deps: [root.hash] }).chunk
    })
    await writer.ack(writer.push([{ ...note("forked", A), chunks: [root.chunk, ...forks] }]))
    await unharmed(relay, async (healthy) => {
      const wire = await relay.dial()
      wire.socket.pause()
      const page = Array.from({ length: limits.page }, () => ["forked", []] as const)
      for (let i = 0; i < 100; i++) wire.send({ t: "have", w: "w", page, more: false, single: true })
      let pings = 0
      let meanwhile = 0
      for (let last = 0, still = 0; still < 10; last = relay.server.buffered()) {
        await healthy.ping()
        pings++
        const now = relay.server.buffered()
        expect(now).toBeLessThan(2 ** 21)
        if (now > last) meanwhile = pings
        still = now > 0 && now === last ? still + 1 : 0
        if (still > 0) await sleep(10)
      }
      expect(meanwhile).toBeGreaterThan(2)
      expect(relay.server.buffered()).toBeGreaterThan(2 ** 20)
    })
  })

  it("is not read from either, so answers to it cannot pile up", async () => {
    await using relay = await startRelay()
    await unharmed(relay, async () => {
      const wire = await relay.dial()
      wire.socket.pause()
      const ask = encode({
        t: "have",
        w: "w",
        page: Array.from({ length: 1000 }, (_, i) => [`e${i}`, []] as const),
        more: false,
        single: true,
      })
      for (let i = 0; i < 2000; i++) wire.socket.send(ask)
      for (let last = -1; last !== wire.socket.bufferedAmount; await sleep(100)) last = wire.socket.bufferedAmount
      expect(wire.socket.bufferedAmount).toBeGreaterThan(2 ** 20)
      expect(relay.server.buffered()).toBeLessThan(6 * 2 ** 20)
    })
  })
})
