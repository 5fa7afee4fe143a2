import { afterEach, describe, expect, it } from "vitest"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import type { ServeSizes } from "../../relay/serve/serve-sizes.ts"
import { type Entry, encode, encodeEntry, position } from "../../src/wire/protocol.ts"
import { actorOf, change, genesis, noise } from "../support/changes.ts"
import { note } from "../support/relay.ts"
import { Served, type ServedOptions } from "../support/served.ts"

let served: Served
afterEach(() => served.close())

const open = async (options: ServedOptions = {}) => (served = await Served.open(options))
const A = actorOf(1)
const notes = (from: number, to: number): Entry[] =>
  Array.from({ length: to - from }, (_, i) => note(`e${from + i}`, actorOf(from + i + 1)))
const single = (entity: string) => ({ ...note(entity, A), chunks: [genesis(entity).chunk] })
const entities = (messages: readonly { readonly t: string }[]) =>
  messages.flatMap((message) =>
    "items" in message
      ? (message.items as { entry?: Entry; own?: string }[]).map(({ entry, own }) => entry?.entity ?? `own ${own}`)
      : [],
  )

describe("a connection", () => {
  it("is not read while too much of what it sent is unanswered, and is read again afterwards", async () => {
    await open({ sizes: { unansweredBytes: 4_000 } })
    const [one, other] = [served.connect(), served.connect()]
    served.hold()
    one.push(notes(0, 1))
    expect(one.paused).toBe(false)
    one.push(notes(1, 2))
    expect(one.paused).toBe(true)
    expect(other.paused).toBe(false)
    served.release()
    await one.take("ack")
    await one.take("ack")
    await one.connection.answered()
    expect([one.paused, one.pauses]).toEqual([false, 2])
    // The answered push does not count any more, so the connection is read on after the next push.
    served.hold()
    one.push(notes(2, 3))
    expect(one.paused).toBe(false)
    served.release()
    await one.take("ack")
  })

  it("is charged for each frame and part of it, not for their bytes alone", async () => {
    const chunks = notes(0, 1).flatMap((entry) => entry.chunks)
    const chunkBytes = chunks.reduce((sum, { length }) => sum + length, 0)
    const cost =
      1024 + (512 + 256) * 2 + chunkBytes + encode({ t: "push", w: "w", id: "1", entries: notes(0, 1) }).length
    for (const [room, paused] of [
      [cost, false],
      [cost - 1, true],
    ] as const) {
      await open({ sizes: { unansweredBytes: room } })
      const one = served.connect()
      one.push(notes(0, 1))
      expect(one.paused).toBe(paused)
      await one.take("ack")
    }
  })

  it("is not read while its socket is full, and is read again when the socket has room", async () => {
    await open({ sizes: { socketBytes: 100 } })
    const one = served.connect()
    one.buffered = 101
    await one.ping()
    expect(one.paused).toBe(true)
    one.drain(100)
    expect(one.paused).toBe(false)
  })

  it("gets large answers to small messages only while its socket has room", async () => {
    await open({ sizes: { socketBytes: 0, comparedHeads: 1 } })
    const one = served.connect()
    one.buffered = 1
    one.send({ t: "have", w: "w", page: ["a", "b"].map((entity) => [entity, []] as const), more: false, single: true })
    one.push([{ ...note("e", A), chunks: [new Uint8Array(40), new Uint8Array(41)] }])
    await served.settled()
    expect(one.received).toEqual([])
    one.drain(1) // one byte is left in the socket, so it is still full
    await served.settled()
    expect(one.received).toEqual([])
    one.drain()
    await one.connection.answered()
    expect(one.received.map(({ t }) => t).toSorted()).toEqual(["ack", "reject", "reject", "want", "want"])
  })

  it("lets other work run after each slice of a push or a have", async () => {
    let breaths = 0
    const clock = {
      ...nodeClock,
      after(ms: number, f: () => void) {
        if (ms === 0) breaths++
        return nodeClock.after(ms, f)
      },
    }
    const during = async (sizes: Partial<ServeSizes>, entry: Entry | undefined) => {
      await open({ sizes, clock })
      const one = served.connect()
      breaths = 0
      if (entry) one.push([entry])
      else one.send({ t: "have", w: "w", page: [0, 1, 2, 3].map((i) => [`e${i}`, []] as const), more: false })
      await one.connection.answered()
      return breaths
    }
    const bad = { ...note("e", A), chunks: Array.from({ length: 10 }, () => new Uint8Array(76)) }
    expect(await during({}, bad)).toBe(0)
    expect(await during({ sentRejects: 5 }, bad)).toBe(2)
    expect(await during({ sentRejects: 3 }, bad)).toBe(3)
    // Each of the 10 changes counts 1,100 bytes of `judgedBytes`: its own 76 bytes and 1,024 more.
    expect(await during({ judgedBytes: 1_101 }, bad)).toBe(5)
    expect(await during({ judgedBytes: 1_100 }, bad)).toBe(10)
    expect(await during({ judgedBytes: 11_001 }, bad)).toBe(0)
    // Each of the four entities of `page` counts as one head of `comparedHeads`, because the log does not have them.
    expect(await during({}, undefined)).toBe(0)
    expect(await during({ comparedHeads: 2 }, undefined)).toBe(1)
    expect(await during({ comparedHeads: 1 }, undefined)).toBe(3)
  })

  it("has its later messages ignored once it has ended", async () => {
    await open()
    const log = await served.log()
    const one = served.connect()
    one.sendFrame(new Uint8Array(3))
    one.push(notes(0, 1))
    one.send({ t: "ping" })
    await served.settled()
    expect(one.closed).toEqual({ code: 4400, reason: "MESSAGE_BAD" })
    expect(one.received).toEqual([{ t: "notice", code: "MESSAGE_BAD" }])
    expect(one.reported).toEqual(["MESSAGE_BAD"])
    expect(log.appended).toBe(0)
  })

  it("that may only read has each change refused that it pushes, and none is appended", async () => {
    await open()
    const log = await served.log()
    const [writer, reader] = [served.connect(), served.connect({ access: "read" })]
    await writer.ack(writer.push([single("e")]))
    reader.pull()
    expect((await reader.level())[0]).toMatchObject({ access: "read" })
    const id = reader.push([note("e", A), note("f", A)])
    expect(await reader.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(reader.received).toMatchObject(
      ["e", "e", "f", "f"].map((entity) => ({ t: "reject", entity, code: "FORBIDDEN" })),
    )
    expect(log.appended).toBe(1)
  })

  it("has its entries stamped with its principal, and its session actor bound to that", async () => {
    await open()
    const [ann, bob] = [served.connect({ principal: "ann" }), served.connect({ principal: "bob" })]
    await ann.ack(ann.push([note("e", A)]))
    const last = change({ actor: A, startOp: 2, deps: [genesis("e").hash] })
    const next = change({ actor: A, seq: 2, startOp: 3, deps: [last.hash] })
    const id = bob.push([{ ...note("e", A), chunks: [next.chunk] }])
    await bob.ack(id)
    expect(bob.received).toMatchObject([{ t: "reject", id, code: "ACTOR_BOUND" }])
    bob.pull()
    expect((await bob.level())[0]).toMatchObject({ principal: "bob", items: [{ entry: { by: "ann" } }] })
  })

  it("to which no frame can be sent is ended, and others go on", async () => {
    await open()
    const fails = (message: { readonly t: string; readonly items?: readonly unknown[] }) => {
      if (message.items?.length) throw new Error("this frame cannot be sent")
    }
    const [writer, one, two] = [served.connect(), served.connect({ hears: fails }), served.connect()]
    for (const replica of [one, two]) {
      replica.pull()
      await replica.level()
    }
    await writer.ack(writer.push(notes(0, 1)))
    expect(entities(await two.level())).toEqual(["e0"])
    expect(await one.ended()).toEqual({ code: 1011, reason: "LOG_FAILED" })
  })
})

describe("a leave", () => {
  it("leaves nothing behind: no follower, no listener, no open log", async () => {
    await open()
    const [one, two] = [served.connect(), served.connect()]
    for (const replica of [one, two]) {
      replica.pull()
      await replica.level()
    }
    const workspace = served.workspaces.enter("w")
    expect(workspace.followers.size).toBe(2)
    one.disconnect()
    one.disconnect() // a socket may report its end twice
    await served.settled()
    expect([workspace.followers.size, workspace.entered]).toEqual([1, 2])
    expect(served.uses.get("w")).toEqual({ opened: 1, listeners: 2 })
    await served.workspaces.leave(workspace)
    two.disconnect()
    await served.settled()
    expect(workspace.followers.size).toBe(0)
    expect(served.uses.get("w")).toEqual({ opened: 0, listeners: 0 })
  })

  it.each([
    ["ends by its own fault", new Uint8Array(3)],
    ["is closed", undefined],
  ])("comes after the work that has begun, also for a connection that %s", async (_how, frame) => {
    await open({ sizes: { socketBytes: 0, sentRejects: 1 } })
    const log = await served.log()
    const one = served.connect()
    one.pull()
    await one.level()
    served.hold()
    one.push(notes(0, 1))
    one.push([{ ...note("f", A), chunks: [new Uint8Array(40)] }])
    one.send({ t: "have", w: "w", page: [["e0", []]], more: true })
    one.buffered = 1 // the replica reads no answer
    await served.settled()
    if (frame) one.sendFrame(frame)
    else one.disconnect()
    served.release()
    await one.connection.answered()
    await served.settled()
    expect(position(log.end)).toBe(1)
    expect(served.uses.get("w")).toEqual({ opened: 0, listeners: 0 })
  })

  it("drops the messages that wait for their turn, and frees their memory at once", async () => {
    await open()
    const log = await served.log()
    const [slow, one] = [served.connect(), served.connect()]
    served.hold()
    slow.push(notes(0, 1))
    slow.send({ t: "have", w: "w", page: [], more: true }) // waits for the flush, and later messages wait for it
    await served.settled()
    one.push([note("f", A, noise(100_000))])
    one.push([note("g", A, noise(100_000))])
    one.send({ t: "have", w: "w", page: [["e0", []]], more: true })
    one.send({ t: "have", w: "w", page: [["e0", []]], more: true })
    await served.settled()
    expect(one.connection.unanswered).toBeGreaterThan(200_000)
    const { droppable } = one.connection
    expect(droppable).toBeGreaterThan(200_000)
    const { unanswered } = one.connection
    one.disconnect()
    expect(one.connection.unanswered).toBe(unanswered - droppable)
    expect(one.connection.unanswered).toBeLessThan(6000)
    served.release()
    await Promise.all([slow.connection.answered(), one.connection.answered()])
    expect(one.connection.unanswered).toBe(0)
    expect(position(log.end)).toBe(1)
    expect(await log.entity("f")).toBeUndefined()
  })

  it("of a connection ends its wait for room in its socket", async () => {
    await open({ sizes: { socketBytes: 0 } })
    const one = served.connect()
    one.buffered = 1
    one.send({ t: "have", w: "w", page: [], more: true })
    await served.settled()
    one.disconnect()
    await one.connection.answered()
    await served.settled()
    expect(one.received).toEqual([])
    expect(served.uses.get("w")).toEqual({ opened: 0, listeners: 0 })
  })

  it("of the last connection closes the workspace, and the next one finds it as it is on the disk", async () => {
    await open()
    const one = served.connect()
    await one.ack(one.push(notes(0, 2)))
    one.disconnect()
    await served.settled()
    const two = served.connect()
    two.pull()
    expect(entities(await two.level())).toEqual(["e0", "e1"])
    await two.ack(two.push(notes(2, 3)))
    expect(entities(await two.level())).toEqual(["own 1"])
    expect(served.uses.get("w")).toEqual({ opened: 1, listeners: 2 })
  })
})

describe("a verdict on a pushed change", () => {
  it("does not let the change in when a flush fails meanwhile", async () => {
    await open({ sizes: { judgedBytes: 1 } })
    const log = await served.log()
    const [one, other] = [served.connect(), served.connect()]
    served.fail(true)
    // The first entry is appended before the second one is judged. The flush of the first fails while the second is
    // judged.
    const chunks = note("e", A).chunks
    const id = one.push([...chunks.map((chunk) => ({ ...note("e", A), chunks: [chunk] })), ...notes(5, 30)])
    expect(await one.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(new Set(one.received.map((message) => "code" in message && message.code))).toEqual(new Set(["LOG_FAILED"]))
    served.fail(false)
    expect(log.appended).toBe(0)
    expect(await log.entity("e")).toBeUndefined()
    // The failed push does not block pushes of other connections.
    await other.ack(other.push(notes(0, 1)))
    expect(log.appended).toBeGreaterThan(0)
  })

  it("does not acknowledge the change when its record is found to be damaged meanwhile", async () => {
    await open({ sizes: { judgedBytes: 1, recentBytes: 1, socketBytes: 0 } })
    const log = await served.log()
    const [e, f, g] = [single("e"), single("f"), single("g")]
    const [one, other, reader] = [served.connect(), served.connect(), served.connect()]
    await other.ack(other.push([e, f, g]))
    const { appended } = log
    reader.pull("w", null, { credit: 0 })
    await reader.take("entries")
    reader.buffered = 1
    reader.send({ t: "pull", w: "w", credit: 1000 })
    await served.settled()
    served.damage(f.chunks[0]!)
    // The log takes the change of f for known until the answer to `reader` reads its record and finds the damage.
    const id = one.push([f, ...Array.from({ length: 30 }, (_, i) => single(`n${i}`))])
    reader.drain()
    expect(await one.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(one.received[0]).toMatchObject({ t: "reject", entity: "f", hash: genesis("f").hash, code: "LOG_FAILED" })
    expect(one.received).toHaveLength(31)
    expect(log.appended).toBe(appended)
    await other.ack(other.push([f]))
    expect(await log.known("f", genesis("f").hash)).toMatchObject({ position: appended + 1 })
  })
})

describe("a break of the log", () => {
  it("clears all that the relay kept of the log, so nobody is sent a lost entry or a lost cursor", async () => {
    await open()
    const log = await served.log()
    const [writer, one, two] = [served.connect(), served.connect(), served.connect()]
    await writer.ack(writer.push([single("e")]))
    await writer.ack(writer.push([single("f")]))
    await writer.ack(writer.push([single("g")]))
    one.pull()
    expect(entities(await one.level())).toEqual(["e", "f", "g"]) // sent from recent entries, not read from the log
    served.damage(genesis("f").chunk)
    two.send({ t: "pull", w: "w", credit: 1000 })
    two.send({ t: "have", w: "w", page: [], more: false }) // the answer is read from the log
    expect(await one.take("notice")).toEqual({ t: "notice", w: "w", code: "CURSOR_UNKNOWN" })
    await writer.ack(writer.push([single("h")]))
    await served.settled()
    expect(one.received, "nothing comes before it has asked again").toEqual([])
    one.pull()
    const frames = await one.level()
    expect(entities(frames)).toEqual(["e", "g", "h"])
    expect(await log.holds(frames.at(-1)!.cursor!)).toBe(true)
  })

  it("clears it even if nothing is appended afterwards", async () => {
    await open()
    const log = await served.log()
    const [writer, one, two] = [served.connect(), served.connect(), served.connect()]
    for (const entity of ["e", "f", "g"]) await writer.ack(writer.push([single(entity)]))
    const end = position(log.end)
    one.pull()
    await one.level()
    served.damage(genesis("f").chunk)
    two.send({ t: "pull", w: "w", credit: 1000 })
    two.send({ t: "have", w: "w", page: [], more: false })
    await one.take("notice")
    one.pull()
    const frames = await one.level()
    expect(position(log.end)).toBe(end)
    expect(entities(frames)).toEqual(["e", "g"])
    expect(await log.holds(frames.at(-1)!.cursor!)).toBe(true)
  })
})

describe("a have", () => {
  it("begins its heal from the start, even if another heal is being sent", async () => {
    await open()
    const one = served.connect()
    await one.ack(one.push(["e", "f", "g"].map(single)))
    const holds = (entity: string) => [entity, [genesis(entity).hash]] as const
    one.send({ t: "pull", w: "w", credit: 1 })
    one.send({ t: "have", w: "w", page: [holds("e")], more: false })
    await served.settled()
    expect(entities(one.received)).toEqual(["f"]) // the credit is used up by this entry
    await one.ack(one.push([single("h")]))
    one.received.length = 0
    one.send({ t: "have", w: "w", page: [holds("g")], more: false })
    one.send({ t: "pull", w: "w", credit: 10_000 })
    await served.settled()
    expect(entities(one.received)).toEqual(["e", "f", "h"])
    expect(one.received.at(-1)).toMatchObject({ t: "entries", items: [], level: true })
  })

  it("neither wants nor names what was purged", async () => {
    await open()
    const log = await served.log()
    const one = served.connect()
    await one.ack(one.push([single("e"), single("f")]))
    await log.flushed(log.append({ entity: "e", collection: "notes", kind: "tombstone", chunks: [], by: "root" }, []))
    const lost = "ab".repeat(32)
    const page = ["e", "f"].map((entity) => [entity, [lost]] as const)
    for (const only of [false, true]) {
      one.send({ t: "have", w: "w", page, more: true, ...(only && { single: true }) })
      expect((await one.take("want")).page).toEqual([["f", [genesis("f").hash]]])
    }
  })

  it("is answered with a want for an entity of which the relay lacks only one head", async () => {
    await open()
    const one = served.connect()
    const forks = [2, 3].map((n) => change({ actor: actorOf(n), startOp: 2, deps: [genesis("e").hash] }))
    await one.ack(one.push([{ ...single("e"), chunks: [genesis("e").chunk, forks[0]!.chunk] }]))
    const page = [["e", [forks[0]!.hash, forks[1]!.hash].toSorted()]] as const
    one.send({ t: "have", w: "w", page, more: true })
    expect((await one.take("want")).page).toEqual([["e", [forks[0]!.hash]]])
  })
})

describe("an entry", () => {
  it("keeps the fields that replicas need, and loses those that are for the relay alone", async () => {
    await open()
    const [one, two] = [served.connect(), served.connect()]
    const kept = { once: new Uint8Array(16).fill(1), key: Uint8Array.of(2), blobs: [Uint8Array.of(3, 4)] }
    const brought: Entry = { ...single("e"), ...kept, if: [], by: "ann", adopted: true, row: Uint8Array.of(5) }
    await one.ack(one.push([brought]))
    two.pull()
    expect((await two.level())[0]!.items).toEqual([{ entry: { ...single("e"), ...kept, by: "local" } }])
  })
})

describe("a frame of new entries", () => {
  it("has as many entries as it may hold, and the others are read from the log", async () => {
    const size = encodeEntry({ ...single("e0"), by: "local" }).length
    for (const [frameBytes, items] of [
      [3 * size, [3]],
      [3 * size - 1, [1, 2]],
    ] as const) {
      await open({ sizes: { frameBytes, readBytes: 1 } })
      const [writer, reader] = [served.connect(), served.connect()]
      reader.pull()
      await reader.level()
      await writer.ack(writer.push(["e0", "e1", "e2"].map(single)))
      expect((await reader.level()).map((frame) => frame.items.length)).toEqual(items)
    }
  })

  it("is the same bytes for all followers, except for a connection that pushed a quarter of it or more", async () => {
    await open()
    const [writer, one, two] = [served.connect(), served.connect(), served.connect()]
    for (const replica of [writer, one, two]) {
      replica.pull()
      await replica.level()
    }
    await writer.ack(writer.push(notes(0, 2)))
    const [own, first, second] = [await writer.level(), await one.level(), await two.level()]
    expect(first).toEqual(second)
    expect(entities(first)).toEqual(["e0", "e1"])
    expect(own[0]!.items).toEqual([{ own: "1", from: 0, to: 2 }])
  })

  it.each([
    [4, ["own 1", "e1", "e2", "e3"]],
    [5, ["e0", "e1", "e2", "e3", "e4"]],
  ])("goes to %i connections that pushed an equal part of it: the first gets %j", async (writers, got) => {
    await open()
    const replicas = Array.from({ length: writers }, () => served.connect())
    for (const replica of replicas) {
      replica.pull()
      await replica.level()
    }
    for (const [i, replica] of replicas.entries()) replica.push([single(`e${i}`)])
    await Promise.all(replicas.map((replica) => replica.take("ack")))
    expect(entities(await replicas[0]!.level())).toEqual(got)
  })
})
