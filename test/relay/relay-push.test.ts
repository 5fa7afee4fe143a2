import { createHash } from "node:crypto"
import { rm, writeFile } from "node:fs/promises"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { LOGGED_ENTRY } from "../../relay/serve/admit-entry.ts"
import { type Clock, systemClock } from "../../src/base/env.ts"
import { hashOf, readChange } from "../../src/wire/chunk.ts"
import { type ClientMessage, type Entry, limits, position } from "../../src/wire/protocol.ts"
import { actorOf, change, chunkOf, genesis, noise } from "../support/changes.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"

let relay: TestRelay
beforeEach(async () => {
  relay = await startRelay()
})
afterEach(() => relay[Symbol.asyncDispose]())

const A = actorOf(1)

/** Chunks that are too small to be changes. */
const many = (count: number): Uint8Array[] => Array(count).fill(new Uint8Array(34))

describe("an ack", () => {
  it("comes after the flush, and no other connection gets the entry before it", async () => {
    const log = await relay.log()
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    reader.pull()
    await reader.level()
    relay.disk.hold()
    const id = writer.push([note("e", A)])
    await writer.ping()
    await reader.quiet()
    expect(log.appended).toBe(1)
    expect(writer.received).toEqual([])
    expect(reader.received).toEqual([])
    relay.disk.release()
    expect(position((await writer.ack(id)).at!)).toBe(1)
    expect(await reader.level()).toHaveLength(1)
  })

  it("for a duplicate comes after the flush of the first push", async () => {
    const log = await relay.log()
    const [one, two] = [await relay.dial(), await relay.dial()]
    relay.disk.hold()
    const first = one.push([note("e", A)])
    await one.ping()
    const second = two.push([note("e", A)])
    await two.quiet()
    expect(log.appended).toBe(1)
    expect(two.received).toEqual([])
    relay.disk.release()
    const at = (await one.ack(first)).at
    expect((await two.ack(second)).at).toEqual(at)
  })

  it("for a duplicate names the place of the first push, even if that is long ago", async () => {
    const wire = await relay.dial()
    const { at } = await wire.ack(wire.push([note("e", A)]))
    await wire.ack(wire.push([note("f", A)]))
    expect((await wire.ack(wire.push([note("e", A)]))).at).toEqual(at)
  })

  it("names the furthest place among the changes of a push", async () => {
    const wire = await relay.dial()
    expect(position((await wire.ack(wire.push([note("e", A), note("f", A), note("g", A)]))).at!)).toBe(3)
    expect(position((await wire.ack(wire.push([note("g", A), note("e", A)]))).at!)).toBe(3)
  })

  it("names no place when all of a push was refused", async () => {
    const wire = await relay.dial()
    const lost = change({ actor: A, deps: ["ab".repeat(32)] })
    const id = wire.push([{ entity: "e", collection: "notes", kind: "change", chunks: [lost.chunk] }])
    expect(await wire.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(wire.received).toEqual([{ t: "reject", w: "w", id, entity: "e", hash: lost.hash, code: "DEPS_UNKNOWN" }])
  })
})

describe("a reject", () => {
  it("comes before the ack of its push, and after the flush of the change because of which it is refused", async () => {
    const [one, two] = [await relay.dial(), await relay.dial()]
    relay.disk.hold()
    one.push([note("e", A)])
    await one.ping()
    const taken = change({ actor: A, startOp: 2, deps: [genesis("e").hash], value: "other" })
    const id = two.push([{ ...note("e", A), chunks: [taken.chunk] }])
    await two.quiet()
    expect(two.received).toEqual([])
    relay.disk.release()
    await two.ack(id)
    expect(two.received).toMatchObject([{ t: "reject", id, hash: taken.hash, code: "SEQ_TAKEN" }])
  })

  it("stops neither the other changes of its entry nor the other entries", async () => {
    const wire = await relay.dial()
    const fine = note("e", A)
    const id = wire.push([{ ...fine, chunks: [new Uint8Array(50), ...fine.chunks] }, note("f", A)])
    expect(position((await wire.ack(id)).at!)).toBe(2)
    expect(wire.received).toMatchObject([{ t: "reject", id, entity: "e", code: "CHUNK_BAD" }])
  })
})

describe("what is logged", () => {
  it("names the principal that pushed it, whatever the push says", async () => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    await writer.ack(writer.push([{ ...note("e", A), by: "somebody else", adopted: true, once: new Uint8Array(16) }]))
    reader.pull()
    const [item] = (await reader.level())[0]!.items
    expect(item).toEqual({ entry: { ...note("e", A), by: "local", once: new Uint8Array(16) } })
  })

  it("is marked as adopted, with the principal that the adopter names", async () => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    await writer.ack(writer.push([{ ...note("e", A), by: "ann" }, note("f", A)], { adopt: true }))
    reader.pull()
    expect((await reader.level())[0]!.items).toMatchObject([
      { entry: { entity: "e", by: "ann", adopted: true } },
      { entry: { entity: "f", by: "local", adopted: true } },
    ])
  })

  it("has those changes of an entry that were neither known nor refused", async () => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    const first = genesis("e")
    const push = (...chunks: Uint8Array[]) => writer.push([{ ...note("e", A), chunks }])
    await writer.ack(push(first.chunk))
    const [, content] = note("e", A).chunks
    await writer.ack(push(first.chunk, new Uint8Array(50), content!))
    reader.pull()
    expect((await reader.level()).flatMap(({ items }) => items)).toMatchObject([
      { entry: { chunks: [first.chunk] } },
      { entry: { chunks: [content] } },
    ])
  })
})

describe("two pushes at once", () => {
  it("never both take the same seq of an actor, even when look-ups take time", async () => {
    const log = await relay.log()
    const slowly =
      <A extends unknown[], T>(look: (...args: A) => T) =>
      (...args: A) =>
        new Promise((resolve) => setImmediate(() => resolve(look.apply(log, args))))
    Object.assign(log, { tail: slowly(log.tail), known: slowly(log.known) })
    const wires = await Promise.all(Array.from({ length: 8 }, () => relay.dial()))
    await wires[0]!.ack(wires[0]!.push([{ ...note("e", A), chunks: [genesis("e").chunk] }]))
    const acks = wires.map((wire, i) => {
      const { chunk } = change({ actor: A, startOp: 2, deps: [genesis("e").hash], value: `${i}` })
      return wire.ack(wire.push([{ ...note("e", A), chunks: [chunk] }]))
    })
    expect((await Promise.all(acks)).filter(({ at }) => at)).toHaveLength(1)
    expect(wires.flatMap(({ received }) => received)).toMatchObject(Array(7).fill({ t: "reject", code: "SEQ_TAKEN" }))
    expect(log.appended).toBe(2)
  })
})

describe("a large entry", () => {
  const sized = (id: string, size: number): Entry => {
    const blobs = Array.from({ length: 1000 }, () => new Uint8Array(64))
    const own = note(id, A)
    const part = 2 ** 20 - 400
    const deps = [readChange(own.chunks[1]!).hash]
    const chunks = Array.from({ length: 4 }, (_, i) => {
      const value = noise(i < 3 ? part : size - 3 * part)
      return chunkOf({ actor: actorOf(100 + i), startOp: 3, deps, value })
    })
    return { ...own, chunks: [...own.chunks, ...chunks], blobs }
  }

  const sizeOf = ({ chunks, blobs = [] }: Entry) => [...chunks, ...blobs].reduce((sum, { length }) => sum + length, 0)
  /** With this size, the chunks and blobs of `sized` have as many bytes as a whole entry may have in the log. */
  const exact = 4_060_000 + LOGGED_ENTRY - sizeOf(sized("e", 4_060_000))
  it.each([
    ["its chunks and blobs", exact + 1],
    ["what goes around them in the log", exact],
  ])("that no frame could carry to others is refused: too large by %s", async (_what, size) => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    reader.pull()
    await reader.level()
    const entry = sized("e", size)
    expect(sizeOf(entry) > LOGGED_ENTRY).toBe(size > exact)
    const id = writer.push([entry])
    await writer.ack(id)
    const refused = entry.chunks.map((chunk) => ({
      t: "reject",
      w: "w",
      id,
      entity: "e",
      hash: hashOf(chunk),
      code: "TOO_LARGE",
    }))
    expect(writer.received).toEqual(refused)
    await writer.ack(writer.push([note("f", A)]))
    expect((await reader.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "f" } }])
  })

  it("that is just small enough reaches everybody, as a new entry and from the log", async () => {
    const [writer, live] = [await relay.dial(), await relay.dial()]
    live.pull("w", null, { credit: 2 ** 24 })
    await live.level()
    await writer.ack(writer.push([sized("e", 4_060_000)]))
    expect(writer.received).toEqual([])
    for (const credit of [2 ** 24, 1]) {
      const late = await relay.dial()
      late.pull("w", null, { credit })
      expect((await late.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "e" } }])
    }
    expect((await live.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "e" } }])
  })
})

describe("a connection that pushes what cannot be stored", () => {
  const junk = (size: number, count = 1): Entry => ({
    ...note("junk", A),
    chunks: Array(count).fill(new Uint8Array(size)),
  })

  it.each<[string, number, Entry]>([
    ["16 pushes with a small chunk", 16, junk(40)],
    ["2 pushes with 600,000 bytes", 2, junk(600_000)],
    ["1 push of 1 MiB", 1, junk(2 ** 17, 8)],
    ["8 pushes of 1,022 small chunks", 8, junk(34, limits.chunks - 2)],
    ["6 pushes of a chunk that is too large", 6, junk(limits.chunk + 1)],
    ["2 pushes of an entry that is too large", 2, junk(65_540, 63)],
    ["16 pushes of a tombstone", 16, { ...junk(0, 0), kind: "tombstone" as const }],
    ["8 pushes of a snapshot of 600,000 bytes", 8, { ...junk(600_000), kind: "snapshot" as const }],
  ])("is ended after %s, with all of them answered and its valid notes stored", async (_what, most, entry) => {
    const [hostile, healthy] = [await relay.dial(), await relay.dial()]
    healthy.pull()
    await healthy.level()
    const rejects = Math.max(1, entry.chunks.length)
    for (let n = 1; n <= most; n++) {
      const id = hostile.push([note(`e${n}`, A), entry])
      await hostile.ack(id)
      expect(hostile.received.splice(0, rejects)).toHaveLength(rejects)
      await healthy.level()
      if (n < most) await hostile.ping()
    }
    expect(await hostile.ended()).toEqual({ code: 4400, reason: "MESSAGE_BAD" })
    expect(hostile.received).toEqual([{ t: "notice", code: "MESSAGE_BAD" }])
    await healthy.ack(healthy.push([note("e", actorOf(2))]))
  })

  it("is not ended for changes that are refused for other reasons than being unreadable or too large", async () => {
    const wire = await relay.dial()
    for (let n = 0; n < 40; n++) {
      const gap = chunkOf({ actor: A, startOp: 9, seq: 5, deps: [genesis("e").hash] })
      await wire.ack(wire.push([{ ...note("e", A), chunks: [gap] }]))
    }
    await wire.ping()
  })
})

describe("a large push", () => {
  it("lets other work run in between", async () => {
    let breaths = 0
    const clock: Clock = {
      ...systemClock,
      after(ms, f) {
        if (ms === 0) breaths++
        return systemClock.after(ms, f)
      },
    }
    await using watched = await startRelay({ clock })
    const writer = await watched.dial()
    const entries = Array.from({ length: 500 }, (_, i) => note(`e${i}`, A, noise(2000)))
    await writer.ack(writer.push(entries.slice(0, 10)))
    expect(breaths).toBe(0)
    await writer.ack(writer.push(entries))
    expect(breaths).toBeGreaterThan(5)

    // The relay also lets other work run in the middle of an entry: 8 times while it judges the entry, and 8 times
    // while it sends the rejects.
    breaths = 0
    await writer.ack(writer.push([{ ...note("f", A), chunks: many(limits.chunks) }]))
    expect(breaths).toBeGreaterThan(12)
  })

  const crowded: Record<string, ClientMessage> = {
    push: {
      t: "push",
      w: "w",
      id: "1",
      entries: Array.from({ length: 8 }, (_, i) => ({
        ...note(`f${i}`, A),
        blobs: Array(limits.parts / 8 - 2).fill(new Uint8Array(32)),
      })),
    },
    have: {
      t: "have",
      w: "w",
      page: Array.from({ length: 10 }, (_, i) => [`e${i}`, Array(1000).fill("ab".repeat(32))] as const),
      more: true,
    },
  }
  it.each(["push", "have"])("with many parts is answered before its connection is read again: a %s", async (t) => {
    relay.disk.hold()
    const [other, few, crowd] = [await relay.dial(), await relay.dial(), await relay.dial()]
    other.push([note("e", A)]) // the answers to all later messages wait for the flush of this push
    await other.ping()
    few.push([{ ...note("f", A), chunks: [new Uint8Array(100_000)] }])
    crowd.send(crowded[t]!)
    await sleep(100)
    await few.ping()
    crowd.send({ t: "ping" })
    await sleep(100)
    expect(crowd.received).toEqual([])
    relay.disk.release()
    await crowd.take("pong")
  })

  it("is flushed at once, and comes to others in one frame", async () => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    reader.pull()
    await reader.level()
    await writer.ack(writer.push(Array.from({ length: limits.chunks / 2 }, (_, i) => note(`e${i}`, A))))
    const frames = await reader.level()
    expect(frames.map(({ items }) => items.length)).toEqual([limits.chunks / 2])
  })

  it("may hold several entries of one entity, one depending on the other", async () => {
    const [first, content] = note("e", A).chunks
    const writer = await relay.dial()
    const push = writer.push([first!, content!].map((chunk) => ({ ...note("e", A), chunks: [chunk] })))
    expect(position((await writer.ack(push)).at!)).toBe(2)
    expect(writer.received).toEqual([])
  })
})

describe("a log that cannot be opened", () => {
  const failed = { t: "notice", w: "w", code: "LOG_FAILED", retryIn: 10_000 }
  let folder: string
  beforeEach(async () => {
    folder = path.join(relay.folder, createHash("sha256").update("w").digest("hex"))
    await writeFile(folder, "not a folder")
  })

  it("stops its own followers, until it can be opened, but no other workspace of their connection", async () => {
    const wire = await relay.dial()
    wire.pull("v")
    wire.pull("w")
    await wire.level("v")
    expect(await wire.take("notice")).toEqual(failed)
    await wire.ack(wire.push([note("e", A)], { w: "v" }))
    await wire.level("v")
    wire.pull("w")
    expect(await wire.take("notice")).toEqual(failed)
    await rm(folder)
    wire.pull("w")
    await wire.level("w")
    await wire.ack(wire.push([note("e", A)]))
    expect((await wire.level("w")).flatMap(({ items }) => items)).toHaveLength(1)
    expect(wire.received).toEqual([])
  })

  it("makes every change of a push be refused for now, and the push be acknowledged", async () => {
    const wire = await relay.dial()
    const id = wire.push([note("e", A), note("f", A)])
    expect(await wire.ack(id)).toEqual({ t: "ack", w: "w", id })
    const refused = [note("e", A), note("f", A)].flatMap(({ entity, chunks }) =>
      chunks.map((chunk) => ({ entity, hash: readChange(chunk).hash })),
    )
    expect(wire.received).toEqual(
      refused.map((change) => ({ t: "reject", w: "w", id, ...change, code: "LOG_FAILED", retryIn: 10_000 })),
    )
    await rm(folder)
    wire.received.length = 0
    expect(position((await wire.ack(wire.push([note("e", A), note("f", A)]))).at!)).toBe(2)
    expect(wire.received).toEqual([])
  })

  it("makes all later pages of a heal be ignored, and LOG_FAILED come after the last one", async () => {
    const wire = await relay.dial()
    const have = (more: boolean) => wire.send({ t: "have", w: "w", page: [["e", []]], more })
    have(true)
    await wire.quiet()
    await rm(folder)
    have(true)
    await wire.quiet()
    expect(wire.received).toEqual([])
    have(false)
    expect(await wire.take("notice")).toEqual(failed)
    have(false)
    await wire.take("want")
    await wire.level("w")
    expect(wire.received).toEqual([])
  })
})

describe("a failed flush", () => {
  it("refuses the changes with LOG_FAILED, so that nothing unflushed counts as stored", async () => {
    relay.disk.break()
    const writer = await relay.dial()
    const id = writer.push([note("e", A)])
    expect(await writer.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(writer.received).toMatchObject([{ code: "LOG_FAILED" }, { code: "LOG_FAILED" }])
    relay.disk.mend()
    expect(position((await writer.ack(writer.push([note("e", A)]))).at!)).toBeGreaterThan(0)
  })

  it("answers LOG_FAILED instead of a verdict that rests on a change lost with that flush", async () => {
    const writer = await relay.dial()
    await writer.ack(writer.push([note("e", A)]))
    relay.disk.hold()
    const first = genesis("f")
    const two = [1, 2].map((n) => chunkOf({ actor: A, startOp: 2, deps: [first.hash], value: `${n}` }))
    // Both changes of A have the same seq. The verdict on the second would be SEQ_TAKEN if the first were not lost.
    const id = writer.push([{ ...note("f", A), chunks: [first.chunk, ...two] }])
    await writer.quiet()
    relay.disk.break()
    relay.disk.release()
    expect(await writer.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(writer.received.map((message) => "code" in message && message.code)).toEqual(Array(3).fill("LOG_FAILED"))
  })

  it("leaves no entry behind that could be sent to others", async () => {
    const [writer, reader] = [await relay.dial(), await relay.dial()]
    await writer.ack(writer.push([note("e", A)]))
    reader.pull()
    await reader.level()
    relay.disk.break()
    await writer.ack(writer.push([note("f", A)]))
    relay.disk.mend()
    const again = await relay.dial()
    await again.ack(again.push([note("g", A)]))
    expect((await reader.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "g" } }])
    await again.ack(again.push([note("f", A)]))
    expect((await reader.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "f" } }])
  })
})
