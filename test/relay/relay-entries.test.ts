import * as cborg from "cborg"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { hashOf } from "../../src/wire/chunk.ts"
import {
  type Cursor,
  type Entries,
  type Entry,
  encodeEntry,
  type Item,
  limits,
  position,
} from "../../src/wire/protocol.ts"
import { actorOf, chunkOf, noise } from "../support/changes.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"
import { asPlain } from "../wire/protocol.frames.ts"

let relay: TestRelay
beforeEach(async () => {
  relay = await startRelay()
})
afterEach(() => relay[Symbol.asyncDispose]())

const notes = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => note(`e${from + i}`, actorOf(from + i + 1)))
const names = (items: readonly Item[]) => items.map((item) => ("entry" in item ? item.entry.entity : item))
const all = (frames: readonly Entries[]) => names(frames.flatMap(({ items }) => items))
const ids = (from: number, to: number) => notes(from, to).map(({ entity }) => entity)

/** Pushes these notes into workspace "w" on a new connection; returns the cursors of their acks. */
async function fill(from: number, to: number): Promise<Cursor[]> {
  const wire = await relay.dial()
  const acks = await Promise.all(notes(from, to).map((entry) => wire.ack(wire.push([entry]))))
  wire.close()
  return acks.map(({ at }) => at!)
}

describe("a pull", () => {
  it("from the beginning brings everything in order, and says level once, at the end", async () => {
    await fill(0, 5)
    const wire = await relay.dial()
    wire.pull()
    const frames = await wire.level()
    expect(all(frames)).toEqual(ids(0, 5))
    expect(position(frames.at(-1)!.cursor!)).toBe(5)
    await wire.quiet()
    expect(wire.received).toEqual([])
  })

  it("is answered at once with the principal, the access and the limits, even when the log is empty", async () => {
    const wire = await relay.dial()
    const before = Date.now()
    wire.pull()
    const [first] = await wire.level()
    expect(first).toMatchObject({ items: [], level: true, left: 0, principal: "local", access: "write" })
    expect(first).toMatchObject({ limits: { message: 4194304, chunk: 1048576, ops: 262144 } })
    expect(first!.time).toBeGreaterThanOrEqual(before)
  })

  it("names the principal before the ack of a push that was sent right behind it", async () => {
    await fill(0, 5)
    const wire = await relay.dial()
    wire.pull()
    await wire.ack(wire.push(notes(5, 6)))
    expect(wire.received[0]).toMatchObject({ t: "entries", principal: "local" })
  })

  it("from a cursor brings what follows it, and only that", async () => {
    const places = await fill(0, 6)
    const wire = await relay.dial()
    wire.pull("w", places[3]!, { reach: places[5]! })
    expect(all(await wire.level())).toEqual(ids(4, 6))
  })

  it("at the end costs one small message each way", async () => {
    const places = await fill(0, 20)
    const wire = await relay.dial()
    wire.pull("w", places.at(-1)!, { reach: places.at(-1)! })
    await wire.level()
    expect(wire.bytes).toBeLessThan(200)
  })

  it.each(["cursor", "reach"])(
    "with a %s that is not in this log is answered with CURSOR_UNKNOWN, and brings nothing",
    async (which) => {
      const [place] = await fill(0, 1)
      const wire = await relay.dial()
      const strange = place!.slice()
      strange[15]! ^= 1
      if (which === "cursor") wire.pull("w", strange)
      else wire.pull("w", place!, { reach: strange })
      expect(await wire.take("notice")).toEqual({ t: "notice", w: "w", code: "CURSOR_UNKNOWN" })
      await fill(1, 2)
      await wire.quiet()
      expect(wire.received).toEqual([])
    },
  )

  it("with a reach beyond the end of the log is answered with CURSOR_UNKNOWN", async () => {
    const [place] = await fill(0, 1)
    const wire = await relay.dial()
    const further = place!.slice()
    further[7] = 9
    wire.pull("w", place!, { reach: further })
    expect((await wire.take("notice")).code).toBe("CURSOR_UNKNOWN")
  })

  it("never brings what is appended and not yet flushed", async () => {
    relay.disk.hold()
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    const id = writer.push(notes(0, 1))
    await writer.ping()
    reader.pull()
    expect(all(await reader.level())).toEqual([])
    relay.disk.release()
    await writer.ack(id)
    expect(all(await reader.level())).toEqual(["e0"])
  })
})

describe("entries whose chunks are far more than their bytes on the wire", () => {
  /** A note with `changes` changes, each of which depends on the one before. */
  function edited(entity: string, actor: string, changes: number): Entry {
    const { chunks, ...entry } = note(entity, actor)
    const all = [...chunks]
    for (let seq = 2; all.length < changes; seq++) {
      all.push(chunkOf({ actor, seq, startOp: seq + 1, deps: [hashOf(all.at(-1)!)] }))
    }
    return { ...entry, chunks: all }
  }
  const large = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => note(`e${from + i}`, actorOf(from + i), "x".repeat(900_000)))
  const chunkBytes = ({ items }: Entries) =>
    items.reduce(
      (sum, item) => sum + ("own" in item ? 0 : item.entry.chunks.reduce((n, { length }) => n + length, 0)),
      0,
    )

  const chunkCount = ({ items }: Entries) =>
    items.reduce((sum, item) => sum + ("own" in item ? 0 : item.entry.chunks.length), 0)
  const many = Array.from({ length: 6 }, (_, i) => edited(`e${i}`, actorOf(i), 700))

  it.each([
    ["bytes fit", large(0, 6), chunkBytes, limits.message],
    ["number fits", many, chunkCount, limits.chunks],
  ])("come in frames of chunks whose %s a receiver, from the log and live", async (_, entries, measure, most) => {
    const [writer, follower] = [await relay.dial(), await relay.dial()]
    follower.pull()
    await follower.level()
    relay.disk.hold()
    const acks = entries.map((entry) => writer.push([entry]))
    await writer.ping()
    relay.disk.release()
    for (const id of acks) await writer.ack(id)
    const reader = await relay.dial()
    reader.pull()
    for (const wire of [follower, reader]) {
      const frames = await wire.level()
      expect(all(frames)).toEqual(ids(0, 6))
      expect(Math.max(...frames.map(measure))).toBeGreaterThan(most / 2)
      expect(Math.max(...frames.map(measure))).toBeLessThanOrEqual(most)
    }
  })

  it("are logged and served as they were pushed", async () => {
    const wire = await relay.dial()
    const entry = note("e0", actorOf(1))
    const asTheyAre = Buffer.from(cborg.encode(asPlain({ t: "push", w: "w", id: "1", entries: [entry] })))
    wire.socket.send(asTheyAre)
    await wire.take("ack")
    const reader = await relay.dial()
    reader.socket.removeAllListeners("message")
    const got = new Promise<Buffer>((resolve) => reader.socket.on("message", (frame: Buffer) => resolve(frame)))
    reader.pull()
    const { s: pushed } = cborg.decode(asTheyAre).entries[0]
    expect((await got).includes(Buffer.from(pushed))).toBe(true)
    expect(encodeEntry(entry).length).toBeLessThan(pushed.length)
  })
})

describe("credit", () => {
  /** The bytes that the notes `from` to `to` have in the log. */
  const size = (from: number, to: number) =>
    notes(from, to).reduce((sum, entry) => sum + encodeEntry({ ...entry, by: "local" }).length, 0)

  it("bounds what is sent; more credit brings more, in order and nothing twice", async () => {
    await fill(0, 9)
    const wire = await relay.dial()
    wire.pull("w", null, { credit: size(0, 3) })
    const first = await wire.take("entries")
    expect(first).toMatchObject({ items: [], principal: "local" })
    expect(first.left).toBeGreaterThan(size(0, 9)) // `left` is about the bytes left on the disk
    expect(first.left).toBeLessThan(4 * size(0, 9))
    const next = await wire.take("entries")
    expect(next.level).toBeUndefined()
    expect(names(next.items)).toEqual(ids(0, 3))
    await wire.quiet()
    expect(wire.received).toEqual([])
    wire.send({ t: "pull", w: "w", credit: size(3, 7) })
    expect(names((await wire.take("entries")).items)).toEqual(ids(3, 7))
    wire.send({ t: "pull", w: "w", credit: size(7, 9) + 1 })
    expect(all(await wire.level())).toEqual(ids(7, 9))
  })

  it("that is smaller than an entry still brings one entry, because otherwise nothing would ever come", async () => {
    await fill(0, 2)
    const wire = await relay.dial()
    wire.pull("w", null, { credit: 1 })
    await wire.take("entries", ({ principal }) => principal === "local")
    expect(names((await wire.take("entries")).items)).toEqual(["e0"])
  })

  it("of 0 is answered with an `entries` without items", async () => {
    await fill(0, 2)
    const wire = await relay.dial()
    wire.pull("w", null, { credit: 0 })
    expect(await wire.take("entries")).toMatchObject({ items: [], principal: "local" })
  })

  it("bounds new entries too", async () => {
    const wire = await relay.dial()
    wire.pull("w", null, { credit: size(0, 2) })
    await wire.level()
    await fill(0, 5)
    const got = all([await wire.take("entries")])
    while (got.length < 2) got.push(...all([await wire.take("entries")]))
    await wire.quiet()
    expect(got).toEqual(ids(0, 2))
    expect(wire.received).toEqual([])
    wire.send({ t: "pull", w: "w", credit: 10 * size(0, 1) })
    expect(all(await wire.level())).toEqual(ids(2, 5))
  })
})

describe("new entries", () => {
  it("reach all followers, and those of one flush come in one frame", async () => {
    const places = await fill(0, 1)
    const readers = [await relay.dial(), await relay.dial(), await relay.dial()]
    for (const reader of readers) reader.pull("w", places[0]!)
    for (const reader of readers) await reader.level()
    const writers = [await relay.dial(), await relay.dial(), await relay.dial()]
    relay.disk.hold()
    for (const [i, writer] of writers.entries()) {
      writer.push(notes(2 * i + 1, 2 * i + 3))
      await writer.ping() // the first push is being flushed, the others wait for the next flush
    }
    relay.disk.release()
    for (const reader of readers) {
      const frames = [await reader.take("entries"), await reader.take("entries")]
      expect(frames.map(({ items }) => names(items))).toEqual([ids(1, 3), ids(3, 7)])
      expect(frames.map(({ cursor, level }) => [position(cursor!), level])).toEqual([
        [3, true],
        [7, true],
      ])
    }
  })

  it("reach a connection that pulls while they come, each once", async () => {
    const writing = fill(0, 200)
    const wire = await relay.dial()
    wire.pull()
    const got: unknown[] = []
    while (got.length < 200) got.push(...names((await wire.take("entries")).items))
    await writing
    expect(got).toEqual(ids(0, 200))
  })

  it("come in the workspace to which they were pushed, and in no other of the same connection", async () => {
    const wire = await relay.dial()
    wire.pull("v")
    wire.pull("w")
    await wire.level("v")
    await wire.level("w")
    const id = wire.push(notes(0, 1), { w: "v" })
    await wire.ack(id)
    await fill(1, 2)
    expect(all(await wire.level("v"))).toEqual([{ own: id, from: 0, to: 1 }])
    expect(all(await wire.level("w"))).toEqual(["e1"])
  })
})

describe("the entries that a connection pushed", () => {
  it("come back to it as runs, and to every other connection as bytes", async () => {
    const [mine, other] = [await relay.dial(), await relay.dial()]
    mine.pull()
    await mine.level()
    const id = mine.push(notes(0, 3))
    await mine.ack(id)
    expect(all(await mine.level())).toEqual([{ own: id, from: 0, to: 3 }])
    other.pull()
    expect(all(await other.level())).toEqual(ids(0, 3))
    const again = await relay.dial()
    again.pull()
    expect(all(await again.level())).toEqual(ids(0, 3))
  })

  it("come back to it as runs even when their push takes more than one flush", async () => {
    const wire = await relay.dial()
    wire.pull()
    await wire.level()
    const many = (name: string, n: number) =>
      Array.from({ length: n }, (_, i) => note(`${name}${i}`, actorOf(n + i), noise(6400)))
    const [first, second] = note("e", actorOf(1)).chunks.map((chunk) => ({ ...note("e", actorOf(1)), chunks: [chunk] }))
    const id = wire.push([...many("a", 50), first!, second!, ...many("b", 400)])
    await wire.ack(id)
    const items: Item[] = []
    while (!items.some((item) => !("own" in item) || item.to === 452)) items.push(...(await wire.take("entries")).items)
    expect(items.filter((item) => !("own" in item))).toEqual([])
  })

  it("come back to it without those that were known or refused", async () => {
    await fill(1, 2)
    const wire = await relay.dial()
    wire.pull()
    await wire.level()
    const bad = { ...note("e9", actorOf(9)), chunks: [new Uint8Array(40)] }
    const id = wire.push([
      note("e0", actorOf(1)),
      note("e1", actorOf(2)),
      note("e2", actorOf(3)),
      note("e3", actorOf(4)),
      bad,
    ])
    await wire.ack(id)
    expect(all(await wire.level())).toEqual([
      { own: id, from: 0, to: 1 },
      { own: id, from: 2, to: 4 },
    ])
  })

  it("come back to it in the order of the log, between those of others", async () => {
    const [mine, other] = [await relay.dial(), await relay.dial()]
    mine.pull()
    await mine.level()
    relay.disk.hold()
    const one = mine.push(notes(0, 2))
    await mine.ping()
    other.push(notes(2, 3))
    await other.ping()
    const two = mine.push(notes(3, 4))
    await mine.ping()
    relay.disk.release()
    expect(all(await mine.level())).toEqual([{ own: one, from: 0, to: 2 }, "e2", { own: two, from: 0, to: 1 }])
  })
})

describe("a connection that is behind the recent entries", () => {
  it("is sent entries from the log, and recent entries again once it has caught up", async () => {
    await using small = await startRelay({ sizes: { recentBytes: 1000 } })
    relay = small
    const wire = await relay.dial()
    wire.pull("w", null, { credit: 100 })
    await wire.level()
    await fill(0, 50)
    wire.send({ t: "pull", w: "w", credit: 2 ** 20 })
    expect(all(await wire.level())).toEqual(ids(0, 50))
    await fill(50, 51)
    expect(all(await wire.level())).toEqual(["e50"])
  })

  it("is sent its own entries as bytes", async () => {
    await using small = await startRelay({ sizes: { recentBytes: 120 } })
    relay = small
    const wire = await relay.dial()
    wire.pull()
    await wire.level()
    relay.disk.hold()
    const id = wire.push(notes(0, 4))
    await wire.ping()
    relay.disk.release()
    await wire.ack(id)
    expect(all(await wire.level())).toEqual(["e0", "e1", "e2", { own: id, from: 3, to: 4 }])
  })
})
