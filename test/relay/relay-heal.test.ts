import { createHash } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import path from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { readChange } from "../../src/wire/chunk.ts"
import { type EntityHeads, type Entry, limits, position } from "../../src/wire/protocol.ts"
import { actorOf, change, genesis, noise } from "../support/changes.ts"
import { dice } from "../support/dice.ts"
import { note, startRelay, type TestRelay } from "../support/relay.ts"
import { type Replica, Served } from "../support/served.ts"
import type { Wire } from "../support/wire.ts"

let relay: TestRelay
let wire: Wire
beforeEach(async () => {
  relay = await startRelay()
  wire = await relay.dial()
})
afterEach(() => relay[Symbol.asyncDispose]())

const A = actorOf(1)
const headOf = (entry: Entry) => readChange(entry.chunks.at(-1)!).hash
const holding = (entry: Entry): EntityHeads => [entry.entity, [headOf(entry)]]

/** A second change of an entity that `note` made, as an entry of its own. */
function more(entry: Entry): Entry {
  const last = readChange(entry.chunks.at(-1)!)
  const { chunk } = change({ actor: A, seq: last.seq + 1, startOp: last.maxOp + 1, deps: [last.hash] })
  return { ...entry, chunks: [chunk] }
}

async function fill(...entries: Entry[]) {
  const writer = await relay.dial()
  await writer.ack(writer.push(entries))
  writer.close()
}

/** Sends these pages of have, with credit for the answer; returns what the relay wants and what it sends. */
async function heal(...pages: EntityHeads[][]) {
  wire.send({ t: "pull", w: "w", credit: limits.credit })
  pages.forEach((page, i) => {
    wire.send({ t: "have", w: "w", page, more: i < pages.length - 1 })
  })
  return healed()
}
async function healed() {
  const sent: string[] = []
  for (;;) {
    const frame = await wire.take("entries")
    sent.push(...frame.items.map((item) => ("entry" in item ? item.entry.entity : item.own)))
    if (!frame.cursor) continue
    const wants = wire.received.filter((message) => message.t === "want")
    for (const want of wants) wire.received.splice(wire.received.indexOf(want), 1)
    return { sent, frame, wanted: wants.flatMap(({ page }) => page), wants: wants.length }
  }
}

describe("a heal", () => {
  it("sends whole entities whose heads differ, asks for what the relay lacks, and leaves out equal ones", async () => {
    const [same, behind, ahead, only] = ["same", "behind", "ahead", "only"].map((id) => note(id, A)) as [
      Entry,
      Entry,
      Entry,
      Entry,
    ]
    await fill(same, behind, ahead, only, more(behind))
    const { sent, wanted, frame } = await heal([
      holding(same),
      holding(behind),
      holding(more(ahead)),
      holding(note("mine", A)),
    ])
    expect(sent).toEqual(["behind", "ahead", "only", "behind"])
    expect(wanted).toEqual([
      ["ahead", [headOf(ahead)]],
      ["mine", []],
    ])
    expect(frame).toMatchObject({ items: [], level: true, principal: "local", access: "write" })
    expect(position(frame.cursor!)).toBe(5)
  })

  it("is followed by the entries that are appended after it", async () => {
    await fill(note("e", A))
    await heal([])
    await fill(note("f", A))
    expect((await wire.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "f" } }])
  })

  it("is answered with a want, a cursor and level where there is nothing on either side", async () => {
    const { sent, wants, frame } = await heal([])
    expect({ sent, wants }).toEqual({ sent: [], wants: 1 })
    expect(position(frame.cursor!)).toBe(0)
  })

  it("says with every want but the last that more of them answer the same page", async () => {
    await relay[Symbol.asyncDispose]()
    relay = await startRelay({ sizes: { comparedHeads: 1 } })
    wire = await relay.dial()
    await fill(note("e", A))
    wire.send({ t: "have", w: "w", page: ["a", "e", "z"].map((id) => holding(note(id, A))), more: true })
    const wants = [await wire.take("want"), await wire.take("want")]
    expect(wants).toEqual([
      { t: "want", w: "w", page: [["a", []]], more: true },
      { t: "want", w: "w", page: [["z", []]] },
    ])
    await wire.quiet()
    expect(wire.received).toEqual([])
  })

  it("ends at the place where its first page was compared, so entries appended since then are sent too", async () => {
    const [one, two] = [note("one", A), note("two", A)]
    await fill(one, two)
    wire.send({ t: "pull", w: "w", credit: limits.credit })
    wire.send({ t: "have", w: "w", page: [holding(one)], more: true })
    await wire.take("want")
    await fill(more(one), note("three", A))
    wire.send({ t: "have", w: "w", page: [holding(two)], more: false })
    const { sent, frame } = await healed()
    expect(sent).toEqual([])
    expect(position(frame.cursor!)).toBe(2)
    expect(frame.level).toBeUndefined()
    expect(frame.left).toBeGreaterThan(0)
    const after = (await wire.level()).flatMap(({ items }) => items)
    expect(after).toMatchObject([{ entry: { entity: "one" } }, { entry: { entity: "three" } }])
  })

  it("compares with the log as it is after the flush that goes on", async () => {
    relay.disk.hold()
    const writer = await relay.dial()
    writer.push([note("e", A)])
    await writer.ping()
    wire.send({ t: "pull", w: "w", credit: limits.credit })
    wire.send({ t: "have", w: "w", page: [holding(note("e", A))], more: false })
    await wire.quiet()
    expect(wire.received).toEqual([])
    relay.disk.release()
    expect(await healed()).toMatchObject({ sent: [], wanted: [] })
  })

  it("may use the credit of a pull that was answered with CURSOR_UNKNOWN", async () => {
    await fill(note("e", A))
    wire.pull("w", new Uint8Array(16).fill(9), { credit: 1000 })
    await wire.take("notice", ({ code }) => code === "CURSOR_UNKNOWN")
    wire.send({ t: "have", w: "w", page: [], more: false })
    expect((await healed()).sent).toEqual(["e"])
  })

  it("sends no more than the credit allows and the entry that uses it up", async () => {
    await fill(...Array.from({ length: 10 }, (_, i) => note(`e${i}`, A, noise(1000))))
    wire.send({ t: "pull", w: "w", credit: 2500 })
    wire.send({ t: "have", w: "w", page: [], more: false })
    await wire.take("want")
    await wire.take("entries")
    await wire.quiet()
    expect(wire.bytes).toBeLessThan(2500 + 1500)
    wire.received.length = 0
    wire.send({ t: "pull", w: "w", credit: limits.credit })
    expect((await healed()).sent).toContain("e9")
  })

  it("of many pages and entities of many sizes gives each side exactly what it lacks", async () => {
    const entries = Array.from({ length: 900 }, (_, i) => note(`e${i}`, A, noise(i * 3)))
    await fill(...entries.slice(0, 500))
    await fill(...entries.slice(500))
    const held = entries.filter((_, i) => i % 3 !== 0)
    const page = (from: number) => held.slice(from, from + 200).map(holding)
    const { sent, wanted } = await heal(page(0), page(200), page(400))
    expect(sent).toEqual(entries.filter((_, i) => i % 3 === 0).map(({ entity }) => entity))
    expect(wanted).toEqual([])
  })

  it("is given up when a pull names a cursor", async () => {
    await fill(note("e", A))
    wire.send({ t: "have", w: "w", page: [], more: true })
    await wire.take("want")
    wire.pull()
    const frames = await wire.level()
    expect(position(frames.at(-1)!.cursor!)).toBe(1)
  })
})

describe("a log that breaks", () => {
  it("is reported to its followers, and they give back what it lost while they stay connected", async () => {
    const [pusher, reader] = [await relay.dial(), await relay.dial()]
    const [e, f] = [note("e", A), note("f", A)]
    wire.pull()
    await wire.level()
    await pusher.ack(pusher.push([e, f]))
    await wire.level()
    await damage()
    reader.send({ t: "pull", w: "w", credit: 1000 })
    reader.send({ t: "have", w: "w", page: [], more: false }) // the relay finds the damage when it reads the record
    expect(await wire.take("notice")).toEqual({ t: "notice", w: "w", code: "CURSOR_UNKNOWN" })
    const { wanted, sent } = await heal([holding(e), holding(f)])
    expect(sent).toEqual([]) // the heads of e are equal, and no change of e has lost its deps
    expect(wanted).toEqual([["f", []]])
    await wire.ack(wire.push([f], { adopt: true }))
    await wire.level()
    await pusher.ack(pusher.push([note("g", A)]))
    expect((await wire.level()).flatMap(({ items }) => items)).toMatchObject([{ entry: { entity: "g" } }])
    expect(pusher.received).toEqual([]) // it never sent a pull, so it is sent nothing
  })

  it("between two pages of have ignores the rest, and the replica begins anew after its last page", async () => {
    const [pusher, reader] = [await relay.dial(), await relay.dial()]
    await pusher.ack(pusher.push([note("e", A), note("f", A)]))
    wire.send({ t: "have", w: "w", page: [], more: true })
    await wire.take("want")
    await damage()
    reader.send({ t: "pull", w: "w", credit: 1000 })
    reader.send({ t: "have", w: "w", page: [], more: false })
    await reader.take("notice", ({ code }) => code === "CURSOR_UNKNOWN")
    wire.send({ t: "have", w: "w", page: [holding(note("e", A))], more: true })
    await wire.quiet()
    expect(wire.received).toEqual([])
    wire.send({ t: "have", w: "w", page: [holding(note("f", A))], more: false })
    expect(await wire.take("notice")).toMatchObject({ w: "w", code: "LOG_FAILED" })
    expect(wire.received).toEqual([])
    const { wanted } = await heal([holding(note("e", A)), holding(note("f", A))])
    expect(wanted).toEqual([["f", []]])
  })

  it("sends what depends on a lost change though heads are equal, until the lost one is given back", async () => {
    const e = note("e", A)
    const lost = more(e)
    const orphan = more(lost)
    const f = note("f", A)
    await fill(e, lost)
    const end = (await readFile(file())).length
    await fill(orphan, f)
    await damage(end)
    const reader = await relay.dial()
    reader.send({ t: "pull", w: "w", credit: 1000 })
    reader.send({ t: "have", w: "w", page: [], more: false }) // the relay finds the damage when it reads the record
    await reader.take("notice", ({ code }) => code === "CURSOR_UNKNOWN")
    expect((await heal([holding(e), holding(f)])).sent).toEqual(["e", "e"])
    expect((await heal([holding(e), holding(f)])).sent, "asked again").toEqual(["e", "e"])
    const { wanted } = await heal([holding(orphan), holding(f)])
    expect(wanted).toEqual([["e", [headOf(e)]]])
    await wire.ack(wire.push([lost, orphan], { adopt: true }))
    wire = await relay.dial()
    expect((await heal([holding(orphan), holding(f)])).sent, "given back").toEqual([])
  })

  const file = () => path.join(relay.folder, createHash("sha256").update("w").digest("hex"), "00000001.log")

  /** Damages the record that ends at this offset, or the last record of the file. */
  async function damage(end?: number) {
    const bytes = await readFile(file())
    bytes[(end ?? bytes.length) - 20]! ^= 1
    await writeFile(file(), bytes)
  }
})

describe("a have for single entities", () => {
  it("is answered with the relay's heads of each, even if they are equal or there are none", async () => {
    const entry = note("e", A)
    await fill(entry)
    wire.send({ t: "have", w: "w", page: [holding(entry), ["f", [genesis("f").hash]]], more: false, single: true })
    expect(await wire.take("want")).toEqual({
      t: "want",
      w: "w",
      page: [
        ["e", [headOf(entry)]],
        ["f", []],
      ],
    })
  })

  it("moves no cursor", async () => {
    wire.pull()
    await wire.level()
    wire.send({ t: "have", w: "w", page: [["e", []]], more: false, single: true })
    await wire.take("want")
    await fill(note("e", A))
    expect((await wire.level()).flatMap(({ items }) => items)).toHaveLength(1)
  })
})

/** A replica that heals, and the answers that it must get. */
interface Healing {
  readonly replica: Replica
  /** For each entity: how many of its changes the replica holds. */
  readonly holds: ReadonlyMap<string, number>
  /** The pages of have that are not sent yet. */
  readonly pages: string[][]
  /** The position of the log's end when the first page was compared. */
  until?: number
  /** Entities of which the replica and the log held the same when their page was sent. The heal leaves them out. */
  readonly same: Set<string>
  /** The relay's wants must be these, in this order. */
  readonly wanted: EntityHeads[]
}

/** Two replicas and the log each hold some of the changes of a few entities. The replicas heal at the same time. */
async function healAtOnce(seed: number, options: { sizes: Record<string, number>; waits: boolean }) {
  const random = dice(seed)
  const below = (n: number) => Math.floor(random() * n)
  const served = await Served.open({ sizes: options.sizes })
  const log = await served.log()
  const writer = served.connect()
  const names = Array.from({ length: 12 }, (_, i) => `e${i}`)
  const changes = new Map(
    names.map((entity, i) => {
      const all = [genesis(entity)]
      while (all.length < 1 + below(4)) {
        const [last, seq] = [all.at(-1)!, all.length]
        all.push(change({ actor: actorOf(i + 1), seq, startOp: last.maxOp + 1, deps: [last.hash] }))
      }
      return [entity, all] as const
    }),
  )
  /** For each entity: how many of its changes the log holds. `entries` has the entity of each of its entries. */
  const logged = new Map(names.map((entity) => [entity, 0]))
  const entries: string[] = []
  const headsAfter = (entity: string, n: number) => (n > 0 ? [changes.get(entity)![n - 1]!.hash] : [])
  const append = async () => {
    const entity = names[below(names.length)]!
    const n = logged.get(entity)!
    const next = changes.get(entity)![n]
    if (!next) return
    await writer.ack(writer.push([{ entity, collection: "notes", kind: "change", chunks: [next.chunk] }]))
    logged.set(entity, n + 1)
    entries.push(entity)
  }
  for (let i = 0; i < 20; i++) await append()

  const healing = [0, 1].map((): Healing => {
    const holds = new Map(
      names.map((entity) => [entity, below(3) > 0 ? logged.get(entity)! : below(changes.get(entity)!.length + 1)]),
    )
    const left = names.filter((entity) => holds.get(entity)! > 0)
    const pages: string[][] = []
    while (left.length > 0) pages.push(left.splice(0, 1 + below(3)))
    if (pages.length === 0 || below(3) === 0) pages.push([])
    return { replica: served.connect(), holds, pages, same: new Set(), wanted: [] }
  })
  const sendPage = ({ replica, holds, pages, wanted, same, ...rest }: Healing) => {
    const page = pages.shift()!
    const at = entries.length
    for (const entity of page) {
      const [theirs, ours] = [holds.get(entity)!, logged.get(entity)!]
      if (theirs === ours) same.add(entity)
      else if (theirs > ours) wanted.push([entity, headsAfter(entity, ours)])
    }
    const listed = page.map((entity) => [entity, headsAfter(entity, holds.get(entity)!)] as const)
    replica.send({ t: "have", w: "w", page: listed, more: pages.length > 0 })
    return rest.until ?? at
  }
  while (healing.some(({ pages }) => pages.length > 0)) {
    const one = healing[below(2)]!
    if (one.pages.length === 0) continue
    one.until = sendPage(one)
    if (!options.waits) continue
    await served.settled()
    if (below(3) === 0) await append()
    if (below(4) === 0) one.replica.send({ t: "pull", w: "w", credit: 200 })
    if (below(4) === 0) {
      one.replica.send({ t: "have", w: "w", page: [["e0", []]], more: false, single: true })
      one.wanted.push(["e0", headsAfter("e0", logged.get("e0")!)])
    }
    await served.settled()
  }
  await served.settled()
  for (const { replica } of healing) {
    for (let i = 0; i < 20; i++) {
      replica.send({ t: "pull", w: "w", credit: 400 })
      await served.settled()
    }
  }

  for (const { replica, until, same, wanted } of healing) {
    const frames = replica.received.filter((message) => message.t === "entries")
    const named = (some: typeof frames) =>
      some.flatMap(({ items }) => items.map((item) => ("entry" in item ? item.entry.entity : item.own)))
    const end = frames.findIndex(({ cursor }) => cursor !== undefined)
    expect(replica.received.filter((message) => message.t === "want").flatMap(({ page }) => page)).toEqual(wanted)
    expect(named(frames.slice(0, end))).toEqual(entries.slice(0, until).filter((entity) => !same.has(entity)))
    expect(frames[end]!.items).toEqual([])
    expect(position(frames[end]!.cursor!)).toBe(until)
    expect(named(frames.slice(end + 1))).toEqual(entries.slice(until))
    expect(frames.at(-1)!.level).toBe(true)
  }
  const workspace = served.workspaces.enter("w")
  expect(names.filter((entity) => workspace.entityNumbers.get(log.key(entity)) !== undefined)).toEqual([])
  await served.close()
}

describe("two heals at once", () => {
  it.each([
    ["page by page, while others write", { sizes: {}, waits: true }],
    [
      "an entity and an entry at a time, while others write",
      { sizes: { comparedHeads: 1, readBytes: 1 }, waits: true },
    ],
    ["all pages behind each other", { sizes: { comparedHeads: 3, readBytes: 300 }, waits: false }],
  ])("each bring what each side lacks, and nothing else: %s", async (_how, options) => {
    for (let seed = 1; seed <= 12; seed++) {
      await healAtOnce(seed, options).catch((error) => {
        throw new Error(`seed ${seed}`, { cause: error })
      })
    }
  })
})
