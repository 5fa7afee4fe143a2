import { setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import type { ServeSizes } from "../../relay/serve/serve-sizes.ts"
import type { SharedFrame } from "../../relay/serve/served-workspace.ts"
import { encode } from "../../src/wire/protocol.ts"
import { actorOf, noise } from "../support/changes.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"
import { Served } from "../support/served.ts"
import type { Wire } from "../support/wire.ts"

const A = actorOf(1)

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const raw = (wire: Wire) => (wire.socket as unknown as { _socket: import("node:net").Socket })._socket

describe("the frame that brings a flush to all followers", () => {
  it("is made once for all followers, and freed afterwards", async () => {
    const served = await Served.open()
    const frames = new Map<string, WeakRef<SharedFrame>[]>()
    for (const w of ["v", "w"]) {
      const writer = served.connect()
      const workspace = served.workspaces.enter(w)
      const seen: WeakRef<SharedFrame>[] = []
      frames.set(w, seen)
      for (let i = 0; i < 3; i++) {
        workspace.followers.add({ flushed: () => seen.push(new WeakRef(workspace.sharedFrame(0)!)), broke() {} })
      }
      await writer.ack(writer.push([note("e", A)], { w }))
      expect(seen).toHaveLength(3)
      expect(new Set(seen.map((ref) => ref.deref()!.position))).toEqual(new Set([1]))
    }
    await sleep(10) // a WeakRef keeps its target alive until the end of the turn
    collect()
    for (const seen of frames.values())
      expect(seen.map((ref) => ref.deref())).toEqual([undefined, undefined, undefined])
    await served.close()
  })
})

const SOCKETS = process.env["HEADWATER_LONG"] === "1" ? 1000 : 100

/** A relay with room for all sockets. Its reported events are added to `reported`. */
const started = (sizes: Partial<ServeSizes>, reported: string[]): Promise<TestRelay> =>
  startRelay({ sizes, connections: SOCKETS + 10, report: (_level, event) => reported.push(event) })

/** How many entries the client has received. */
const entriesOf = (wire: Wire) => wire.received.reduce((n, m) => n + (m.t === "entries" ? m.items.length : 0), 0)

/** The header of a frame of 4 MiB, and the first `bytes` bytes of the frame. */
const begun = (bytes: number) => {
  const frame = Buffer.alloc(14 + bytes)
  frame.set([0x82, 0xff, 0, 0, 0, 0, 0, 0x3f, 0xff, 0xff])
  return frame
}

/** Sends the first `bytes` bytes of a frame on each connection, byte by byte, so that each byte arrives alone. */
async function dribble(wires: readonly Wire[], bytes: number, each: () => void = () => {}): Promise<void> {
  for (const wire of wires) raw(wire).setNoDelay(true)
  const frame = begun(bytes)
  for (let i = 0; i < bytes; i++) {
    for (const wire of wires) if (!wire.closed) raw(wire).write(frame.subarray(i, i + 1))
    await sleep(2)
    each()
  }
}

describe("all connections together", () => {
  const budget = SOCKETS * 30_000
  const sizes = { memoryBytes: budget, socketBytes: 100_000, unansweredBytes: 100_000 }
  const value = noise(60_000)

  const deeds: [string, (wire: Wire, relay: TestRelay, i: number) => void][] = [
    ["frames that are not whole", (wire) => raw(wire).write(begun(60_000))],
    ["frames that are not answered", (wire, _relay, i) => wire.push([note(`e${i}`, A, value)])],
  ]

  it.each(deeds)(
    `take no more memory than the budget, and others go on: ${SOCKETS} sockets with %s`,
    async (_, deed) => {
      const reported: string[] = []
      await using relay = await started(sizes, reported)
      const healthy = await relay.dial()
      const wires: Wire[] = []
      for (let i = 0; i < SOCKETS; i++) wires.push(await relay.dial())
      relay.disk.hold()
      let most = 0
      for (const [i, wire] of wires.entries()) {
        deed(wire, relay, i)
        if (i % 10 === 9) await sleep(5)
        most = Math.max(most, relay.server.memory())
      }
      for (let still = 0; still < 10; still++) {
        await sleep(20)
        most = Math.max(most, relay.server.memory())
      }
      expect(most).toBeGreaterThan(budget / 2)
      expect(most).toBeLessThanOrEqual(budget)
      expect(reported).toContain("connection cut off")
      relay.disk.release()
      await healthy.ack(healthy.push([note("mine", A)], { w: "mine" }))
    },
  )

  it(`take no more memory than the budget, and others go on: ${SOCKETS} sockets that send byte by byte`, async () => {
    const memoryBytes = SOCKETS * 6000
    const reported: string[] = []
    await using relay = await started({ memoryBytes }, reported)
    const healthy = await relay.dial()
    const wires: Wire[] = []
    for (let i = 0; i < SOCKETS; i++) wires.push(await relay.dial())
    let most = 0
    await dribble(wires, 100, () => {
      most = Math.max(most, relay.server.memory())
    })
    expect(most).toBeGreaterThan(memoryBytes / 2)
    expect(most).toBeLessThanOrEqual(memoryBytes)
    expect(reported).toContain("connection cut off")
    await healthy.ack(healthy.push([note("mine", A)], { w: "mine" }))
  })

  it("that do not read their answers are given less at a time, and none is cut off", async () => {
    const sizes = { memoryBytes: 3 * 2 ** 20, socketBytes: 2 ** 20 }
    const reported: string[] = []
    await using relay = await started(sizes, reported)
    const healthy = await relay.dial()
    for (let i = 0; i < 160; i++) await healthy.ack(healthy.push([note(`e${i}`, A, noise(50_000))]))
    const wires: Wire[] = []
    let most = 0
    for (let i = 0; i < 12; i++) {
      const wire = await relay.dial()
      wires.push(wire)
      wire.socket.pause() // the system buffers some MB for the client, and the relay must keep the rest
      wire.pull("w", null, { credit: 2 ** 40 })
      for (let still = 0; still < 10; still++) {
        await sleep(20)
        most = Math.max(most, relay.server.memory())
      }
    }
    for (let i = 0; i < 500 && most <= 2 ** 19; i++) {
      await sleep(20) // a busy machine needs longer to read the log for all of them
      most = Math.max(most, relay.server.memory())
    }
    expect(most).toBeGreaterThan(2 ** 19)
    expect(most).toBeLessThanOrEqual(sizes.memoryBytes)
    await healthy.ping()
    for (const wire of wires) wire.socket.resume()
    for (const wire of wires) expect((await wire.level()).flatMap(({ items }) => items)).toHaveLength(160)
    expect(reported).toEqual([])
  })

  it("are charged once for a frame that all of them are sent", async () => {
    const reported: string[] = []
    await using relay = await started({ memoryBytes: 12 * 2 ** 20, socketBytes: 2 ** 20 }, reported)
    const writer = await relay.dial()
    const followers: Wire[] = []
    for (let i = 0; i < 22; i++) {
      const wire = await relay.dial()
      followers.push(wire)
      wire.pull("w", null, { credit: 2 ** 40 })
      await wire.level()
    }
    for (const wire of followers.slice(2)) wire.socket.pause()
    for (let i = 0; i < 8; i++) await writer.ack(writer.push([note(`e${i}`, A, noise(900_000))]))
    await sleep(50)
    expect(relay.server.buffered()).toBeGreaterThan(12 * 2 ** 20)
    expect(relay.server.memory()).toBeLessThan(6 * 2 ** 20)
    for (const wire of followers) wire.socket.resume()
    for (const wire of followers) while (entriesOf(wire) < 8) await sleep(5)
    expect(relay.server.memory()).toBeLessThan(6000)
    expect(reported).toEqual([])
  })

  it("lose the connection that takes the most memory, and no other", async () => {
    await using relay = await startRelay({ sizes: { memoryBytes: 2 ** 20 } })
    const wires: Wire[] = []
    for (let i = 0; i < 10; i++) wires.push(await relay.dial())
    for (const wire of wires) raw(wire).write(begun(50_000))
    while (relay.server.memory() < 500_000) await sleep(5)
    raw(wires[3]!).write(begun(700_000))
    await wires[3]!.ended()
    await sleep(50)
    expect(wires.filter(({ closed }) => closed)).toEqual([wires[3]])
  })

  it("take no memory once all frames are answered, however these were split into pieces", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    for (let i = 0; i < 20; i++) {
      await wire.ack(wire.push([note(`e${i}`, A, noise(i * 5000))]))
      wire.socket.ping("control")
      await wire.ping()
    }
    await sleep(20)
    expect(relay.server.memory()).toBeLessThan(2000)
  })
})

/** Bytes of the heap, and of buffers outside it, that stay after a garbage collection. */
async function heap(): Promise<number> {
  await sleep(20)
  collect()
  await sleep(20)
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

describe("a frame in fragments of one byte, with pongs between them", () => {
  const PIECE = 65_507

  /**
   * 65 kB that are sent at once: a fragment of one byte, then pongs. The WebSocket library keeps all 65 kB in memory
   * for the one byte.
   */
  const piece = (first: boolean) => {
    const fragment = Buffer.of(first ? 2 : 0, 0x81, 0, 0, 0, 0, 1)
    const pong = Buffer.concat([Buffer.of(0x8a, 0xfd, 0, 0, 0, 0), Buffer.alloc(125)])
    return Buffer.concat([fragment, ...Array.from({ length: 500 }, () => pong)])
  }

  async function sendPieces(wire: Wire, n: number): Promise<void> {
    for (let i = 0; i < n && !wire.closed; i++) {
      await new Promise((resolve) => raw(wire).write(piece(i === 0), resolve))
      await sleep(1)
    }
  }

  it("is charged all that it keeps in memory, until it is whole", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    const before = await heap()
    await sendPieces(wire, 100)
    await sleep(50)
    const kept = (await heap()) - before
    expect(kept).toBeGreaterThan(50 * PIECE)
    expect(relay.server.memory()).toBeGreaterThan(0.8 * kept)
    expect(relay.server.memory()).toBeLessThan(1.3 * kept)
    raw(wire).write(Buffer.of(0x80, 0x80, 0, 0, 0, 0)) // the last fragment: it completes an invalid message
    expect((await wire.ended()).code).toBe(4400)
    expect(await heap()).toBeLessThan(before + 20 * PIECE)
  })

  it("takes no more than the budget", async () => {
    const memoryBytes = 2 ** 24
    await using relay = await startRelay({ sizes: { memoryBytes } })
    const before = await heap()
    for (let i = 0; i < 5; i++) await sendPieces(await relay.dial(), 200)
    expect((await heap()) - before).toBeLessThan(1.5 * memoryBytes)
    expect(relay.server.memory()).toBeLessThanOrEqual(memoryBytes)
    await (await relay.dial()).ping()
  })

  it("costs an honest client nothing for pongs, and nothing for fragments once they are answered", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    for (let i = 0; i < 50; i++) wire.socket.pong("alive")
    wire.socket.ping("alive")
    await sleep(50)
    expect(relay.server.memory()).toBe(0)
    const frame = encode({ t: "push", w: "w", id: "p", entries: [note("e", A, noise(100_000))] })
    wire.socket.send(frame.subarray(0, 50_000), { fin: false })
    wire.socket.pong("alive")
    wire.socket.send(frame.subarray(50_000))
    await wire.ack("p")
    await wire.ping()
    expect(relay.server.memory()).toBeLessThan(500)
  })
})

/** Encodes a push. It is called once: the clients share this process with the relay, and its heap is measured. */
const push = (id: string) =>
  encode({ t: "push", w: "w", id, entries: [0, 1].map((i) => note(`e${i}`, A, noise(950_000))) })

describe("a connection that pushes and goes", () => {
  const sizes = { memoryBytes: 2 ** 24 }
  const pushed = push("p")

  /** Connects, pushes and disconnects 40 times; returns how often the relay let it in. */
  async function pushAndGo(relay: TestRelay, frame: Uint8Array): Promise<number> {
    let times = 0
    for (let i = 0; i < 40; i++) {
      const wire = await relay.dial().catch(() => undefined)
      if (!wire) continue
      times++
      await new Promise((resolve) => wire.socket.send(frame, resolve))
      await sleep(10)
      wire.close()
    }
    return times
  }

  it("leaves nothing in memory of its pushes that wait for their turn", async () => {
    await using relay = await started(sizes, [])
    const [healthy, blocking] = [await relay.dial(), await relay.dial()]
    await healthy.ping()
    relay.disk.hold()
    blocking.push([note("first", A)])
    blocking.send({ t: "have", w: "w", page: [], more: true }) // waits for the flush, and later messages wait for it
    await blocking.ping()
    const before = await heap()
    expect(await pushAndGo(relay, pushed)).toBe(40)
    expect((await heap()) - before).toBeLessThan(2 ** 24)
    relay.disk.release()
    await healthy.ack(healthy.push([note("mine", A)]))
    expect((await relay.log()).appended).toBe(2)
  })

  it("is charged until its work is ended", async () => {
    const reported: string[] = []
    await using relay = await started(sizes, reported)
    const healthy = await relay.dial()
    relay.disk.hold()
    const before = await heap()
    await pushAndGo(relay, pushed)
    expect(relay.server.memory()).toBeGreaterThan(sizes.memoryBytes / 2)
    expect(relay.server.memory()).toBeLessThanOrEqual(sizes.memoryBytes)
    expect((await heap()) - before).toBeLessThan(2 * sizes.memoryBytes)
    expect(reported).toContain("connection cut off")
    await healthy.ping()
    relay.disk.release()
    await healthy.ack(healthy.push([note("mine", A)]))
    expect(relay.server.memory()).toBeLessThan(2000)
  })

  it("leaves no room for a new connection once the work of closed ones fills the budget", async () => {
    await using relay = await started({ memoryBytes: 40_000 }, [])
    const healthy = await relay.dial()
    relay.disk.hold()
    const small = encode({ t: "push", w: "w", id: "p", entries: [note("e", A)] })
    expect(await pushAndGo(relay, small)).toBeLessThan(30)
    expect(relay.server.memory()).toBeLessThan(50_000)
    await expect(relay.dial()).rejects.toThrow("503")
    await healthy.ping()
    relay.disk.release()
    await healthy.ack(healthy.push([note("mine", A)]))
    await (await relay.dial()).ping()
  })
})

describe("a frame that comes byte by byte", () => {
  it("is charged the memory that its pieces take, which is far more than its bytes", async () => {
    await using relay = await started({}, [])
    const wires: Wire[] = []
    for (let i = 0; i < 100; i++) wires.push(await relay.dial())
    await dribble(wires, 50) // takes the memory that a connection takes once
    const [before, charged] = [await heap(), relay.server.memory()]
    await dribble(wires, 200)
    const kept = (await heap()) - before
    expect(kept).toBeGreaterThan(100 * 200 * 20)
    expect(relay.server.memory() - charged).toBeGreaterThan(0.6 * kept)
    expect(relay.server.memory() - charged).toBeLessThan(1.6 * kept)
  })

  it("ends its connection with 1008 after too many pieces, and is accepted in fewer", async () => {
    await using relay = await startRelay({ sizes: { pieces: 60 } })
    const frame = encode({ t: "push", w: "w", id: "slow", entries: [note("e", A)] })
    const masked = Buffer.concat([Buffer.of(0x82, 0xfe, frame.length >> 8, frame.length & 255, 0, 0, 0, 0), frame])
    const dribbled = async (wire: Wire, pieces: number) => {
      raw(wire).setNoDelay(true)
      for (let i = 0; i < pieces && !wire.closed; i++) {
        raw(wire).write(masked.subarray(i, i + 1))
        await sleep(2)
      }
      raw(wire).write(masked.subarray(pieces))
    }
    const honest = await relay.dial()
    await dribbled(honest, 40)
    await honest.ack("slow")
    const hostile = await relay.dial()
    await dribbled(hostile, 120)
    expect((await hostile.ended()).code).toBe(1008)
    await honest.ping()
  })
})
