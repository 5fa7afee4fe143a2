import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Value, Write } from "../../src/store/store.ts"
import { Process, Scheduler } from "./world/clock.ts"
import { type Line, type Listener, Network } from "./world/network.ts"
import { Device } from "./world/store.ts"

const quick = { usual: 5, worst: 50 }
const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

describe("the scheduler", () => {
  /** A program that reacts to each event with more events, through several promises. */
  async function program(seed: number): Promise<{ trace: string; order: string }> {
    const scheduler = new Scheduler(seed)
    const process = new Process(scheduler, "p")
    const lanes = [scheduler.lane("a", quick), scheduler.lane("b", quick)] as const
    let order = ""
    const react = async (name: string, depth: number) => {
      order += name
      for (let i = 0; i < depth; i++) await null
      if (order.length < 200) {
        const byte = process.random(1)[0]!
        lanes[byte & 1]!.push(name, () => void react(String.fromCharCode(97 + (byte % 26)), byte & 7), process)
        if (byte < 120) process.after(byte, () => void react("T", 2))
      }
    }
    void react("x", 1)
    void react("y", 3)
    await scheduler.pass(60_000)
    return { trace: scheduler.trace, order }
  }

  test("gives the same run for the same seed and another one for another seed", async () => {
    const runs = new Set<string>()
    for (let seed = 1; seed <= 20; seed++) {
      const once = await program(seed)
      expect(await program(seed)).toEqual(once)
      runs.add(once.trace)
    }
    expect(runs.size).toBe(20)
  })

  test("moves time only from event to event, and lets the program react before the next event", async () => {
    const scheduler = new Scheduler(1)
    const process = new Process(scheduler, "p")
    const start = process.now()
    const log: string[] = []
    process.after(10, async () => {
      await null
      log.push(`first ${process.now() - start}`)
      process.after(0, () => log.push(`inner ${process.now() - start}`))
    })
    process.after(11, () => log.push(`second ${process.now() - start}`))
    const cancel = process.after(5, () => log.push("cancelled"))
    cancel()
    expect(process.now()).toBe(start)
    await scheduler.pass(1000)
    expect(log).toEqual(["first 10", "inner 10", "second 11"])
    expect(process.now()).toBe(start + 1000)
  })

  test("keeps the order inside a lane, not between lanes", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const scheduler = new Scheduler(seed)
        const lane = scheduler.lane("one", quick)
        const seen: number[] = []
        for (let i = 0; i < 20; i++) lane.push("n", () => seen.push(i))
        await scheduler.pass(10_000)
        expect(seen).toEqual([...Array(20).keys()])
      }),
      { numRuns: 30, seed: 1 },
    )
    const orders = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const scheduler = new Scheduler(seed)
      let order = ""
      for (const name of ["a", "b"]) scheduler.lane(name, quick).push("n", () => (order += name))
      await scheduler.pass(10_000)
      orders.add(order)
    }
    expect(orders).toEqual(new Set(["ab", "ba"]))
  })

  test("lets the events of a held lane happen one by one, each when it is released", async () => {
    const scheduler = new Scheduler(1)
    const lane = scheduler.lane("one", quick)
    const seen: number[] = []
    lane.held = true
    for (let i = 0; i < 3; i++) lane.push("n", () => seen.push(i))
    await scheduler.pass(1000)
    expect(seen).toEqual([])
    await lane.release()
    expect(seen).toEqual([0])
    lane.held = false
    await scheduler.pass(1000)
    expect(seen).toEqual([0, 1, 2])
    expect(await lane.release()).toBe(false)
  })

  test("runs nothing of a dead process", async () => {
    const scheduler = new Scheduler(1)
    const process = new Process(scheduler, "p")
    let ran = false
    process.after(1, () => {
      ran = true
    })
    process.kill()
    process.after(1, () => {
      ran = true
    })
    await scheduler.pass(1000)
    expect(ran).toBe(false)
  })
})

describe("a device", () => {
  const claimed = async (scheduler: Scheduler, device: Device, process = new Process(scheduler, "p")) => {
    const store = device.open(process)
    void store.claim("w")
    await scheduler.pass(1000)
    return store
  }
  const key = (n: number) => ["w", `k${n}`] as const
  const content = (device: Device): Record<string, Value> =>
    Object.fromEntries([...device.records.values()].map(([k, v]) => [k.join("/"), v]))

  test("loses only whole, unreported commits in a crash, and keeps earlier ones before later ones", async () => {
    const kept = new Set<number>()
    await fc.assert(
      fc.asyncProperty(seeds, fc.nat(30), async (seed, steps) => {
        const scheduler = new Scheduler(seed)
        const device = new Device(scheduler, "d", quick)
        const process = new Process(scheduler, "p")
        const store = await claimed(scheduler, device, process)
        let reported = 0
        for (let i = 0; i < 6; i++) {
          void store
            .commit([
              [key(i), "1"],
              [["w", "last"], `${i}`],
            ])
            .then(() => {
              reported = i + 1
            })
        }
        await scheduler.steps(steps)
        process.kill()
        device.crash()
        const held = [...Array(6).keys()].filter((i) => content(device)[key(i).join("/")] !== undefined)
        expect(held).toEqual([...Array(held.length).keys()])
        expect(held.length).toBeGreaterThanOrEqual(reported)
        expect(content(device)["w/last"]).toBe(held.length ? `${held.length - 1}` : undefined)
        kept.add(held.length)
        const left = content(device)
        await scheduler.pass(1000)
        expect(content(device)).toEqual(left)
      }),
      { numRuns: 200, seed: 1 },
    )
    expect(kept.size).toBeGreaterThan(4)
  })

  test("fails the commits that it is told to fail, but may have written them", async () => {
    const left = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const scheduler = new Scheduler(seed)
      const device = new Device(scheduler, "d", quick)
      const store = await claimed(scheduler, device)
      device.failCommits(1)
      const results = Promise.allSettled([store.commit([[key(1), "a"]]), store.commit([[key(2), "b"]])])
      await scheduler.pass(1000)
      const codes = (await results).map((r) => (r.status === "rejected" ? r.reason.code : r.status))
      expect(codes).toEqual(["STORE_FAILED", "fulfilled"])
      left.add(Object.keys(content(device)).join())
    }
    expect(left).toEqual(new Set(["w/k2", "w/k1,w/k2"]))
  })

  test("writes nothing when a key does not hold the expected value", async () => {
    const scheduler = new Scheduler(1)
    const device = new Device(scheduler, "d", quick)
    const store = await claimed(scheduler, device)
    const write: Write[] = [[key(1), new Uint8Array([1])]]
    const results = Promise.allSettled([
      store.commit(write, { expect: [[key(1), undefined]] }),
      store.commit(write, { expect: [[key(1), undefined]] }),
      store.commit([[key(2), "b"]], { expect: [[key(1), new Uint8Array([1])]] }),
    ])
    await scheduler.pass(1000)
    expect((await results).map((r) => (r.status === "rejected" ? r.reason.code : r.status))).toEqual([
      "fulfilled",
      "STORE_MOVED",
      "fulfilled",
    ])
  })

  test("belongs to one program at a time, goes back to a backup and can be copied", async () => {
    const scheduler = new Scheduler(1)
    const device = new Device(scheduler, "d", quick)
    const first = new Process(scheduler, "p1")
    const run = async <T>(promise: Promise<T>): Promise<T> => {
      await scheduler.pass(1000)
      return promise
    }
    const store = device.open(first)
    await run(store.claim("w"))
    await run(expect(device.open(new Process(scheduler, "p2")).claim("w")).rejects.toThrow("STORE_IN_USE"))
    await run(store.commit([[key(1), "a"]]))
    const backup = device.backup()
    await run(
      store.commit([
        [key(1), undefined],
        [key(2), "b"],
      ]),
    )
    first.kill()
    device.crash()
    expect(content(device)).toEqual({ "w/k2": "b" })
    device.restore(backup)
    expect(content(device)).toEqual({ "w/k1": "a" })
    const release = await run(device.open(new Process(scheduler, "p3")).claim("w"))
    await run(release())
    await run(device.open(new Process(scheduler, "p4")).claim("w"))
  })
})

describe("the network", () => {
  function world(seed: number, duplicates = 0) {
    const scheduler = new Scheduler(seed)
    const tapped: string[] = []
    const network = new Network(scheduler, quick, {
      up: (c, frame) => void tapped.push(`${c.id} up ${frame[0]}`),
      down: (c, frame) => void tapped.push(`${c.id} down ${frame[0]}`),
      arrived: () => {},
      changed: (_, frame) => frame,
      isPush: (frame) => frame[0] === 7,
      reached: () => {},
      isNews: (frame) => frame[0] === 8,
    })
    network.duplicates = duplicates
    const relay: { line: Line; got: number[]; closed: boolean }[] = []
    network.host = {
      accept(_url, line): Listener {
        const end = { line, got: [] as number[], closed: false }
        relay.push(end)
        return {
          receive: (frame) => void end.got.push(frame[0]!),
          closed: () => (end.closed = true),
          drained: () => {},
        }
      },
    }
    const process = new Process(scheduler, "p")
    const dial = () => {
      const socket = network.dial("p", process, "ws://relay")
      const events: string[] = []
      socket.onopen = () => events.push("open")
      socket.onmessage = (frame) => events.push(`${frame[0]}`)
      socket.onclose = (code) => events.push(`close ${code}`)
      return { socket, events, connection: network.connections.at(-1)! }
    }
    return { scheduler, network, relay, process, dial, tapped }
  }
  const frame = (n: number) => new Uint8Array([n])

  test("delivers frames in order both ways, and a close after them", async () => {
    const { scheduler, network, relay, dial } = world(3)
    const { socket, events } = dial()
    await scheduler.pass(1000)
    for (let i = 0; i < 5; i++) socket.send(frame(i))
    for (let i = 5; i < 9; i++) relay[0]!.line.send(frame(i))
    await scheduler.pass(1000)
    expect(relay[0]!.got).toEqual([0, 1, 2, 3, 4])
    socket.send(frame(9))
    socket.close(4001)
    await scheduler.pass(1000)
    expect(relay[0]).toMatchObject({ got: [0, 1, 2, 3, 4, 9], closed: true })
    expect(events).toEqual(["open", "5", "6", "7", "8", "close 4001"])
    expect(network.connections).toEqual([])
  })

  test("loses the frames on their way when a connection is cut, and tells both ends once", async () => {
    const lost = new Set<number>()
    for (let seed = 0; seed < 30; seed++) {
      const { scheduler, network, relay, dial } = world(seed)
      const { socket, events, connection } = dial()
      await scheduler.pass(1000)
      for (let i = 0; i < 5; i++) socket.send(frame(i))
      await scheduler.steps(seed % 6)
      const before = relay[0]!.got.length
      connection.cut()
      socket.send(frame(9))
      await scheduler.pass(1000)
      expect(relay[0]!.got).toEqual([0, 1, 2, 3, 4].slice(0, before))
      expect(relay[0]!.closed).toBe(true)
      expect(events).toEqual(["open", "close 1006"])
      expect(network.connections).toEqual([])
      lost.add(before)
    }
    expect(lost.size).toBeGreaterThan(3)
  })

  test("delivers what a zombie had sent, after its client is gone", async () => {
    const { scheduler, relay, dial } = world(1)
    const { socket, events, connection } = dial()
    await scheduler.pass(1000)
    socket.send(frame(1))
    relay[0]!.line.send(frame(2))
    connection.zombie()
    expect(events).toEqual(["open", "close 1006"])
    expect(relay[0]).toMatchObject({ got: [], closed: false })
    await scheduler.pass(1000)
    expect(relay[0]).toMatchObject({ got: [1], closed: true })
    expect(events).toEqual(["open", "close 1006"])
  })

  test("delivers a zombie's push after those of a later connection, and counts it and the lost frames", async () => {
    const { scheduler, network, relay, dial } = world(1)
    const first = dial()
    await scheduler.pass(1000)
    first.socket.send(frame(7))
    relay[0]!.line.send(frame(2))
    first.connection.zombie(5000)
    const second = dial()
    await scheduler.pass(1000)
    second.socket.send(frame(7))
    await scheduler.pass(1000)
    expect(relay.map(({ got }) => got)).toEqual([[], [7]])
    await scheduler.pass(10_000)
    expect(relay.map(({ got }) => got)).toEqual([[7], [7]])
    expect(network.seen).toMatchObject({ overtaken: 1, lost: { up: 0, down: 1 } })
  })

  test("doubles pushes to the relay and news from the relay, and nothing else", async () => {
    const { scheduler, network, relay, dial } = world(1, 1)
    const { socket, events } = dial()
    await scheduler.pass(1000)
    for (const n of [1, 7, 8]) socket.send(frame(n))
    for (const n of [1, 7, 8]) relay[0]!.line.send(frame(n))
    await scheduler.pass(1000)
    expect(relay[0]!.got).toEqual([1, 7, 7, 8])
    expect(events).toEqual(["open", "1", "7", "8", "8"])
    expect(network.seen.duplicates).toEqual({ up: 1, down: 1 })
  })

  test("tells neither end of a half-open connection until one closes it", async () => {
    const { scheduler, network, relay, dial } = world(1)
    const { socket, events, connection } = dial()
    await scheduler.pass(1000)
    connection.silence("down")
    socket.send(frame(1))
    relay[0]!.line.send(frame(2))
    await scheduler.pass(100_000)
    expect(relay[0]).toMatchObject({ got: [1], closed: false })
    expect(events).toEqual(["open"])
    socket.close()
    await scheduler.pass(1000)
    expect(relay[0]!.closed).toBe(true)
    expect(events).toEqual(["open", "close 1000"])
    expect(network.connections).toEqual([])
  })

  test("refuses a dial while nobody listens", async () => {
    const { scheduler, network, dial } = world(1)
    network.host = undefined
    const { events } = dial()
    await scheduler.pass(1000)
    expect(events).toEqual(["close 1006"])
  })

  test("loses the relay: some clients are told, the others hear nothing more", async () => {
    const { scheduler, network, relay, dial } = world(1)
    const [a, b] = [dial(), dial()]
    await scheduler.pass(1000)
    network.hostDied((connection) => connection === a.connection)
    b.socket.send(frame(1))
    await scheduler.pass(10_000)
    expect(relay.flatMap((end) => end.got)).toEqual([])
    expect(a.events).toEqual(["open", "close 1006"])
    expect(b.events).toEqual(["open"])
    b.socket.close()
    await scheduler.pass(1000)
    expect(b.events).toEqual(["open", "close 1000"])
    expect(network.connections).toEqual([])
  })
})
