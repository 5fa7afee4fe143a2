import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { usualServeSizes } from "../../relay/serve/serve-sizes.ts"
import { Silence } from "../../relay/serve/sockets/silence.ts"
import type { Clock } from "../../src/base/env.ts"
import { encode } from "../../src/wire/protocol.ts"
import { actorOf, noise } from "../support/changes.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"
import type { Wire } from "../support/wire.ts"

const A = actorOf(1)
const SECOND = 1000

/** A clock that a test turns with `pass`. A timer of 0 ms fires in real time, and real sockets go on meanwhile. */
class TurnedClock implements Clock {
  #now = 1_700_000_000_000
  #timers = new Map<number, { readonly at: number; readonly f: () => void }>()
  #next = 0

  now(): number {
    return this.#now
  }

  random(n: number): Uint8Array {
    return new Uint8Array(n)
  }

  after(ms: number, f: () => void): () => void {
    if (ms === 0) {
      const end = setImmediate(f)
      return () => clearImmediate(end)
    }
    const timer = this.#next++
    this.#timers.set(timer, { at: this.#now + ms, f })
    return () => void this.#timers.delete(timer)
  }

  pass(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const [next] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)
      if (!next || next[1].at > until) break
      this.#timers.delete(next[0])
      this.#now = next[1].at
      next[1].f()
    }
    this.#now = until
  }
}

/** A relay with a clock that stands still, and a client that has pulled. Since then 30 s have passed. */
async function startTurned(): Promise<{ clock: TurnedClock; relay: TestRelay; wire: Wire }> {
  const clock = new TurnedClock()
  const relay = await startRelay({ clock })
  const wire = await relay.dial()
  wire.pull()
  await wire.level()
  clock.pass(30 * SECOND)
  return { clock, relay, wire }
}

/** Stops the relay. Meanwhile turns the clock, so that the time limits of the stop end. */
async function end(relay: TestRelay, clock: TurnedClock): Promise<void> {
  const turning = setInterval(() => clock.pass(SECOND), 5)
  await relay[Symbol.asyncDispose]()
  clearInterval(turning)
}

const raw = (wire: Wire) => (wire.socket as unknown as { _socket: import("node:net").Socket })._socket

/** Sends these bytes from the client, and gives the relay time to read them. */
async function sendBytes(wire: Wire, bytes: Uint8Array): Promise<void> {
  raw(wire).write(bytes)
  await sleep(30)
}

describe("a socket", () => {
  it("from which nothing comes for 90 s is closed, and not before", async () => {
    const { clock, relay, wire } = await startTurned()
    clock.pass(89 * SECOND)
    await wire.ping()
    clock.pass(89 * SECOND)
    await sleep(20)
    expect(wire.closed).toBeUndefined()
    clock.pass(16 * SECOND)
    expect(await wire.ended()).toEqual({ code: 4408, reason: "nothing came for too long" })
    await end(relay, clock)
  })

  it("that pings every 15 s stays open", async () => {
    const { clock, relay, wire } = await startTurned()
    for (let i = 0; i < 100; i++) {
      clock.pass(15 * SECOND)
      await wire.ping()
    }
    await end(relay, clock)
  })

  it("is not closed because the machine slept or its clock was set", async () => {
    const { clock, relay, wire } = await startTurned()
    await wire.ping()
    clock.now = () => 1_800_000_000_000
    clock.pass(20 * SECOND)
    await wire.ping()
    await end(relay, clock)
  })

  it("that waits for an answer of the relay is not closed", async () => {
    const { clock, relay, wire } = await startTurned()
    relay.disk.hold()
    const id = wire.push([note("e", A)])
    await wire.ping()
    clock.pass(3600 * SECOND)
    relay.disk.release()
    await wire.ack(id)
    await end(relay, clock)
  })

  it("may take 15 min for one frame, as long as enough bytes come each minute", async () => {
    const { clock, relay, wire } = await startTurned()
    const step = 2 ** 16
    const frame = encode({ t: "push", w: "w", id: "slow", entries: [note("e", A, noise(15 * step))] })
    const masked = Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), frame])
    masked.writeUInt32BE(frame.length, 6)
    for (let i = 0; i < 13; i++) {
      await sendBytes(wire, masked.subarray(i * step, (i + 1) * step))
      clock.pass(60 * SECOND)
    }
    await sendBytes(wire, masked.subarray(13 * step))
    await wire.ack("slow")
    for (let i = 0; i < 14; i++) {
      await sendBytes(wire, masked.subarray(i * step, (i + 1) * step))
      clock.pass(60 * SECOND)
    }
    expect(wire.closed).toBeUndefined()
    await sendBytes(wire, masked.subarray(14 * step, 15 * step))
    clock.pass(75 * SECOND)
    expect((await wire.ended()).code).toBe(4408)
    await end(relay, clock)
  })

  it("that sends a byte every 15 s, and never a frame, is closed after 90 s", async () => {
    const { clock, relay, wire } = await startTurned()
    const started = [0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 1, 1]
    for (const byte of started.slice(0, 6)) {
      expect(wire.closed).toBeUndefined()
      await sendBytes(wire, Buffer.of(byte))
      clock.pass(15 * SECOND)
    }
    clock.pass(15 * SECOND)
    expect((await wire.ended()).code).toBe(4408)
    await end(relay, clock)
  })

  it("that sends only pings or pongs of WebSocket stays open", async () => {
    const { clock, relay, wire } = await startTurned()
    for (let i = 0; i < 10; i++) {
      if (i % 2) wire.socket.ping("here")
      else wire.socket.pong("here")
      await sleep(20)
      clock.pass(60 * SECOND)
    }
    await wire.ping()
    await end(relay, clock)
  })

  /** Makes a client stop reading, and fills its socket with more than the relay buffers for one socket. */
  async function fill(relay: TestRelay, wire: Wire): Promise<Wire> {
    const writer = await relay.dial()
    wire.socket.pause()
    wire.send({ t: "pull", w: "w", credit: 2 ** 40 })
    for (let i = 0; i < 8; i++) {
      const value = noise(900_000)
      await writer.ack(writer.push(Array.from({ length: 4 }, (_, k) => note(`e${4 * i + k}`, A, value))))
    }
    await sleep(50)
    expect(relay.server.buffered()).toBeGreaterThan(2 ** 20)
    return writer
  }

  it("that is full and takes nothing is closed after 90 s", async () => {
    const { clock, relay, wire } = await startTurned()
    const writer = await fill(relay, wire)
    for (let s = 0; s < 120; s += 15) {
      clock.pass(15 * SECOND)
      await writer.ping()
      if (s < 60) expect(relay.server.buffered()).toBeGreaterThan(2 ** 20)
    }
    // The relay cut off the socket without a close frame, because a close frame could not get through a full socket.
    expect(relay.server.buffered()).toBe(0)
    wire.socket.resume()
    expect((await wire.ended()).code).toBe(1006)
    await end(relay, clock)
  })

  it("that is full and takes some bytes each minute stays open", async () => {
    const { clock, relay, wire } = await startTurned()
    const writer = await fill(relay, wire)
    for (let i = 0; i < 4; i++) {
      const taken = raw(wire).bytesRead + 1_200_000
      wire.socket.resume()
      for (let n = 0; n < 1000 && raw(wire).bytesRead < taken; n++) await new Promise((next) => setImmediate(next))
      wire.socket.pause()
      await sleep(10)
      for (let s = 0; s < 60; s += 15) {
        wire.send({ t: "ping" }) // the relay reads this only while the socket is not full
        clock.pass(15 * SECOND)
        await writer.ping()
      }
    }
    expect(wire.closed).toBeUndefined()
    wire.socket.resume()
    await wire.ping()
    await end(relay, clock)
  })

  it("that is full counts as alive while parts of a write are taken, for 15 min at most", () => {
    const clock = new TurnedClock()
    let ended = false
    const untaken: [number, number] = [2_000_000, 900_000]
    const silent = () => {
      ended = true
    }
    const watched = { bytesRead: () => 7, busy: () => true, full: () => true, untaken: () => [...untaken], silent }
    for (const [pause, lasts] of [
      [60, 14 * 60],
      [120, 60],
    ] as const) {
      ended = false
      const silence = new Silence(clock, usualServeSizes, watched)
      for (let s = 0; s < lasts; s += pause) {
        expect(ended).toBe(false)
        untaken[1]--
        clock.pass(pause * SECOND)
      }
      expect(ended).toBe(pause === 120)
      clock.pass(60 * SECOND)
      expect(ended).toBe(true)
      silence.stop()
    }
  })
})
