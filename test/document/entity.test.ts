import * as Automerge from "@automerge/automerge"
import { sha256 } from "@noble/hashes/sha2.js"
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import type { Code } from "../../src/base/errors.ts"
import { hex } from "../../src/base/hash.ts"
import { textCell } from "../../src/document/cells.ts"
import { automergeVersion, Entity, loadAutomerge } from "../../src/document/entity.ts"
import { History } from "../../src/document/history/history.ts"
import { project } from "../../src/document/projection.ts"
import { verdicts } from "../../src/document/verdicts.ts"
import { planned } from "../../src/document/writing.ts"
import { type Changes, created } from "../../src/schema/draft.ts"
import { type Change, isDerived, readChange } from "../../src/wire/chunk.ts"
import { limits } from "../../src/wire/protocol.ts"
import { actorOf, createdNote, ID, notes, Replica, runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

const scalar = (value: string) => new Automerge.ImmutableString(value)
const opsOf = (change: Change) => Automerge.decodeChange(change.chunk).ops
const nothing: Changes = { set: new Map(), remove: [], text: new Map(), splices: [] }
const codeOf = (act: () => unknown): Code | undefined => {
  try {
    act()
  } catch (error) {
    return (error as { code?: Code }).code
  }
  return undefined
}

/** Makes a change with Automerge alone, as another tool does. Returns an entity with `base` and this change. */
function foreign(
  make: (doc: Record<string, unknown>) => void,
  base: readonly Change[] = [],
  n = 7,
): { entity: Entity; changes: Change[] } {
  let doc = Automerge.applyChanges(
    Automerge.init<Record<string, unknown>>({ actor: actorOf(n) }),
    base.map((c) => c.chunk),
  )[0]
  doc = Automerge.change(doc, { time: 1 }, make)
  const changes = [...base, readChange(Automerge.getLastLocalChange(doc) as Uint8Array)]
  return { entity: Entity.hydrate(ID, History.of(changes), actorOf(n + 1)), changes }
}

test("genesis and containers are byte for byte what Automerge writes under the derived actor", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const [container] = entity.write(notes, createdNote({ body: "x" }), 5) as [Change]
  for (const { change, author } of [
    { change: entity.genesis, author: (doc: Record<string, unknown>) => void (doc["@type"] = scalar("notes")) },
    { change: container, author: (doc: Record<string, unknown>) => void (doc["body"] = "") },
  ]) {
    expect(change).toMatchObject({ seq: 1, time: 0, message: null })
    const write = (actor: string) => {
      const base = Automerge.init<Record<string, unknown>>({ actor })
      const doc = change === container ? Automerge.applyChanges(base, [entity.genesis.chunk])[0] : base
      return Automerge.getLastLocalChange(Automerge.change(doc, { time: 0 }, author)) as Uint8Array
    }
    const template = write("00".repeat(16)).subarray(8)
    const digest = sha256(Buffer.concat([Buffer.from(ID), template]))
    expect(change.actor).toBe(hex(digest.subarray(0, 16)))
    expect(hex(write(change.actor))).toBe(hex(change.chunk))
  }
  expect(container.deps).toEqual([entity.genesis.hash])
})

test("genesis is a function of id and collection alone", () => {
  const [a, b] = [Entity.create("a", "notes", actorOf(0)), Entity.create("a", "notes", actorOf(1))]
  expect(a.genesis.hash).toBe(b.genesis.hash)
  expect(Entity.create("b", "notes", actorOf(0)).genesis.hash).not.toBe(a.genesis.hash)
  expect(Entity.create("a", "tasks", actorOf(0)).genesis.hash).not.toBe(a.genesis.hash)
  expect(opsOf(a.genesis)).toEqual([{ action: "set", obj: "_root", key: "@type", value: "notes", pred: [] }])
})

test("replicas that create the same entity and its texts concurrently make one object for each text", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "é", "😀"), minLength: 1, maxLength: 4 })
  const property = fc.property(fc.array(fc.tuple(word, word), { minLength: 2, maxLength: 4 }), (texts) => {
    const replicas = texts.map((_, n) => new Replica(n))
    for (const [n, [body, summary]] of texts.entries()) {
      replicas[n]?.update((draft, edit) => {
        edit.splice("body", 0, 0, body)
        draft.summary = summary
      }, n)
    }
    for (const a of replicas) for (const b of replicas) a.pull(b)
    const [first] = replicas as [Replica]
    const { body, summary } = first.entity.whole(notes) as { body: string; summary: string }
    for (const replica of replicas) expect(replica.entity.whole(notes)).toEqual({ body, summary })
    for (const [text, words] of [
      [body, texts.map(([b]) => b)],
      [summary, texts.map(([, s]) => s)],
    ] as const) {
      expect(text).toHaveLength(words.join("").length)
      for (const w of words) expect(text).toContain(w)
    }
    for (const replica of replicas) replica.free()
  })
  fc.assert(property, { numRuns: runs(50, 2000) })
})

test("an update makes one change, and an update that changes nothing makes none", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const first = entity.write(notes, createdNote({ title: "T", body: "b", tags: ["x"] }), 5)
  expect(first.map(({ time, seq, actor }) => [time, seq, actor === actorOf(0)])).toEqual([
    [0, 1, false],
    [5, 1, true],
  ])
  expect(entity.write(notes, nothing, 6)).toEqual([])
  expect(entity.write(notes, { ...nothing, text: new Map([["body", "b"]]), remove: ["absent"] }, 6)).toEqual([])
  const second = entity.write(
    notes,
    { ...nothing, set: new Map([["title", "U"]]), splices: [{ key: "body", at: 1, remove: 0, insert: "c" }] },
    6,
  )
  expect(second.map(({ seq }) => seq)).toEqual([2])
  expect(entity.heads).toEqual([second[0]?.hash])
})

test("an empty text makes no container, and clearing one keeps it", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  expect(entity.write(notes, createdNote({ title: "T", body: "" }), 5)).toHaveLength(1)
  expect(
    entity.write(notes, { ...nothing, splices: [{ key: "body", at: 0, remove: 0, insert: "abc" }] }, 6),
  ).toHaveLength(2)
  const [cleared] = entity.write(notes, { ...nothing, remove: ["body"] }, 7) as [Change]
  expect(opsOf(cleared).map(({ action }) => action)).toEqual(["del", "del", "del"])
  expect(entity.whole(notes)).toEqual({ body: "", title: "T" })
})

test("a register is written whole, its strings as scalars at every depth, and is read back unchanged", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const meta = { s: "x", list: ["y", { z: "deep" }, 1, 1.5, -3, true, null, []], empty: {} }
  const input = { meta, title: "", n: 2 ** 53 - 1, f: 1e-7 }
  const made = entity.write(notes, created(notes, input).changes, 5)
  const actions = made.flatMap(opsOf).map(({ action }) => action)
  expect(actions).not.toContain("makeText")
  const again = Entity.hydrate(ID, History.of([entity.genesis, ...made]), actorOf(1))
  expect(again.whole(notes)).toEqual({ f: 1e-7, meta, n: 2 ** 53 - 1, title: "" })
  expect(JSON.stringify(project(again, notes))).toBe(JSON.stringify(project(entity, notes)))
})

test("splice positions count UTF-16 units of the text after the splices before", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const made = entity.write(notes, createdNote({ body: "a😀b" }), 5)
  const splices = [
    { key: "body", at: 3, remove: 1, insert: "👩‍👧" },
    { key: "body", at: 8, remove: 0, insert: "!" },
    { key: "body", at: 1, remove: 2, insert: "" },
  ]
  made.push(...entity.write(notes, { ...nothing, splices }, 6))
  expect(entity.whole(notes)).toEqual({ body: "a👩‍👧!" })
  expect(Entity.hydrate(ID, History.of([entity.genesis, ...made]), actorOf(1)).whole(notes)).toEqual({ body: "a👩‍👧!" })
})

test("the values in memory equal those of the document after any writes", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "\n", "é", "😀", "👩‍👧"), maxLength: 12 })
  const property = fc.property(fc.array(text, { minLength: 1, maxLength: 8 }), (bodies) => {
    const replica = new Replica(0)
    for (const [i, body] of bodies.entries()) replica.update((draft) => void (draft.body = body), i + 1)
    const again = Entity.hydrate(ID, History.of([...replica.changes.values()]), actorOf(1))
    expect(again.whole(notes)).toEqual(replica.entity.whole(notes))
    expect(again.whole(notes)["body"] ?? "").toBe(bodies.at(-1))
    again.free()
    replica.free()
  })
  fc.assert(property, { numRuns: runs(100, 5000) })
})

test("a refused write leaves everything as it was, and the next write gets its seq", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const made = [entity.genesis, ...entity.write(notes, createdNote({ title: "T" }), 5)]
  const before = { heads: entity.heads, row: project(entity, notes) }
  const refusals: [Code, Changes][] = [
    ["TOO_LARGE", { ...nothing, text: new Map([["body", "x".repeat(300_000)]]) }],
    ["TOO_LARGE", { ...nothing, text: new Map([["summary", "x"]]), set: new Map([["title", "x".repeat(2 ** 20)]]) }],
    ["TOO_LARGE", { ...nothing, set: new Map([["title", "€".repeat(400_000)]]) }],
    ["TOO_LARGE", { ...nothing, set: new Map([["meta", Array.from({ length: 300_000 }, () => 0)]]) }],
    ["SPLICE_RANGE", { ...nothing, splices: [{ key: "body", at: 1, remove: 0, insert: "x" }] }],
    ["SPLICE_RANGE", { ...nothing, splices: [{ key: "body", at: 0, remove: 1, insert: "x" }] }],
    ["FIELD_KIND", { ...nothing, splices: [{ key: "title", at: 0, remove: 0, insert: "x" }] }],
    [
      "FIELD_KIND",
      { ...nothing, set: new Map([["n", 1]]), splices: [{ key: "undeclared", at: 0, remove: 0, insert: "x" }] },
    ],
  ]
  for (const [code, changes] of refusals) {
    expect(codeOf(() => entity.write(notes, changes, 6))).toBe(code)
    expect({ heads: entity.heads, row: project(entity, notes) }).toEqual(before)
  }
  const [plain] = entity.write(notes, { ...nothing, set: new Map([["title", "U"]]) }, 7) as [Change]
  expect(plain.deps).toEqual(before.heads)
  made.push(plain)
  const after = entity.write(notes, { ...nothing, text: new Map([["body", "fits"]]) }, 7)
  expect(after.map(({ seq, deps }) => [seq, deps.length])).toEqual([
    [1, 1],
    [3, 2],
  ])
  expect(Entity.hydrate(ID, History.of([...made, ...after]), actorOf(1)).whole(notes)).toEqual({
    body: "fits",
    title: "U",
  })
})

test("a text in the document is written by difference even if the schema declares a register", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const other = foreign((doc) => void (doc["title"] = "made as text"), [entity.genesis])
  const [made] = other.entity.write(notes, { ...nothing, set: new Map([["title", "made a text"]]) }, 5) as [Change]
  expect(opsOf(made).every(({ obj }) => obj !== "_root")).toBe(true)
  expect(other.entity.whole(notes)).toEqual({ title: "made a text" })
  expect(codeOf(() => other.entity.write(notes, { ...nothing, set: new Map([["title", 5]]) }, 6))).toBe("FIELD_KIND")
  other.entity.write(notes, { ...nothing, remove: ["title"] }, 6)
  expect(other.entity.whole(notes)).toEqual({ title: "" })
})

test("a scalar under a text() key is assigned whole and never spliced; an object or a counter is FIELD_KIND", () => {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const { entity } = foreign(
    (doc) => {
      doc["body"] = scalar("old app")
      doc["summary"] = { not: 1 }
      doc["n"] = new Automerge.Counter(2)
    },
    [genesis],
  )
  expect(entity.whole(notes)).toEqual({ body: "old app", n: 2, summary: { not: 1 } })
  const wrong: Changes[] = [
    { ...nothing, splices: [{ key: "body", at: 0, remove: 0, insert: "x" }] },
    { ...nothing, text: new Map([["summary", "x"]]) },
    { ...nothing, splices: [{ key: "summary", at: 0, remove: 0, insert: "x" }] },
    { ...nothing, set: new Map([["n", 3]]) },
    { ...nothing, remove: ["n"] },
  ]
  for (const changes of wrong) expect(codeOf(() => entity.write(notes, changes, 6))).toBe("FIELD_KIND")
  const [made] = entity.write(notes, { ...nothing, text: new Map([["body", "new app"]]) }, 6) as [Change]
  expect(opsOf(made)).toMatchObject([{ action: "set", key: "body", value: "new app" }])
})

test("a text among conflicting values is shown, and its first write deletes the others by a derived change", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.body = "typed"), 5)
  const scalars = [3, 4].map(
    (n) =>
      foreign((doc) => void (doc["body"] = scalar(`scalar ${n}`)), [a.entity.genesis], 10 * n).changes[1] as Change,
  )
  const b = new Replica(1)
  for (const replica of [a, b]) {
    replica.entity.apply(scalars)
    replica.keep(scalars)
  }
  b.pull(a)
  expect(b.entity.whole(notes)).toEqual({ body: "typed" })
  const [pruneA, ...restA] = a.update((draft) => void (draft.body = "typed!"), 6)
  const [pruneB] = b.update((draft) => void (draft.body = "?typed"), 7)
  expect(pruneA?.hash).toBe(pruneB?.hash)
  expect(restA).toHaveLength(1)
  expect(isDerived(ID, pruneA as Change)).toBe(true)
  a.pull(b)
  b.pull(a)
  for (const { entity } of [a, b]) expect(entity.whole(notes)).toEqual({ body: "?typed!" })
  expect(a.update((draft) => void (draft.body = "plain"), 8)).toHaveLength(1)
})

test("one update can write two texts hidden by conflicting values, and other replicas accept its changes", () => {
  const a = new Replica(0)
  a.update((draft) => {
    draft.body = "one"
    draft.summary = "two"
  }, 5)
  const hide = (doc: Record<string, unknown>) => {
    doc["body"] = scalar("scalar")
    doc["summary"] = scalar("scalar")
  }
  const hidden = foreign(hide, [a.entity.genesis], 10).changes[1] as Change
  a.entity.apply([hidden])
  a.keep([hidden])
  const made = a.update((draft) => {
    draft.body = "one!"
    draft.summary = "two!"
  }, 6)
  expect(made.map((change) => isDerived(ID, change))).toEqual([true, true, false])
  for (const [i, change] of made.entries()) if (i > 0) expect(change.startOp).toBe((made[i - 1] as Change).maxOp + 1)
  const all = [...a.changes.values()]
  expect(verdicts(ID, all, new Set(a.changes.keys())).order).toHaveLength(all.length)
  expect(Entity.hydrate(ID, History.of(all), actorOf(3)).whole(notes)).toEqual({ body: "one!", summary: "two!" })
})

test("several definitions show one document, each according to its own field kinds", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.body = "typed"), 5)
  const hidden = foreign((doc) => void (doc["body"] = scalar("scalar")), [a.entity.genesis], 10).changes[1] as Change
  a.entity.apply([hidden])
  for (const [def, body] of [
    [notes, "typed"],
    [undefined, "scalar"],
    [notes, "typed"],
  ] as const) {
    expect(a.entity.whole(def)).toEqual({ body })
    expect(a.entity.whole(def)).toBe(a.entity.whole(def))
  }
})

test("a write that is certainly too large is refused before Automerge gets it", () => {
  const size = (changes: Partial<Changes>) => codeOf(() => planned(notes, { ...nothing, ...changes }, new Map()))
  const set = (value: unknown) => ({ set: new Map([["f", value]]) })
  expect(size(set(Array(limits.ops - 1).fill(0)))).toBeUndefined()
  expect(size(set(Array(limits.ops).fill(0)))).toBe("TOO_LARGE")
  expect(size(set({ deep: [Array(limits.ops - 3).fill(0)] }))).toBeUndefined()
  expect(size(set({ deep: [Array(limits.ops - 2).fill(0)] }))).toBe("TOO_LARGE")
  expect(size(set("x".repeat(limits.chunk)))).toBeUndefined()
  expect(size(set("x".repeat(limits.chunk + 1)))).toBe("TOO_LARGE")
  expect(size(set({ ["k".repeat(limits.chunk)]: "" }))).toBeUndefined()
  expect(size(set({ ["k".repeat(limits.chunk)]: "x" }))).toBe("TOO_LARGE")
  const insert = (units: number) => ({ splices: [{ key: "body", at: 0, remove: 0, insert: "x".repeat(units) }] })
  expect(size(insert(limits.ops))).toBeUndefined()
  expect(size(insert(limits.ops + 1))).toBe("TOO_LARGE") // each character is one operation
  const pairs = (characters: number) => ({ text: new Map([["body", "😀".repeat(characters)]]) })
  expect(size(pairs(limits.ops))).toBeUndefined()
  expect(size(pairs(limits.ops + 1))).toBe("TOO_LARGE")
  const two = (a: number, b: number) => ({
    text: new Map([
      ["body", "x".repeat(a)],
      ["summary", "😀".repeat(b)],
    ]),
  })
  expect(size(two(150_000, limits.ops - 150_000))).toBeUndefined()
  expect(size(two(150_000, limits.ops - 149_999))).toBe("TOO_LARGE")
})

test("a write that certainly removes and inserts too much is refused before Automerge gets it", () => {
  const size = (before: string, changes: Partial<Changes>) => {
    const cells = new Map([["body", textCell({ object: "1@aa", value: before, others: [] })]])
    return codeOf(() => planned(notes, { ...nothing, ...changes }, cells))
  }
  const assigned = (value: string) => ({ text: new Map([["body", value]]) })
  for (const [was, is] of [
    ["a", "b"],
    ["😀", "🌍"],
    ["Some words. ", "Another sentence altogether! "],
  ] as const) {
    const before = was.repeat(200_000 / [...was].length)
    const after = (characters: number) => is.repeat(characters / [...is].length)
    expect(size(before, assigned(after(60_000)))).toBeUndefined()
    expect(size(before, assigned(after(200_000)))).toBe("TOO_LARGE")
  }
  const splices = (removed: number, inserted: number) => ({
    splices: [
      { key: "body", at: 0, remove: 2 * removed, insert: "" },
      { key: "body", at: 0, remove: 0, insert: "x".repeat(inserted) },
    ],
  })
  const pairs = "😀".repeat(200_000)
  expect(size(pairs, splices(200_000, limits.ops - 200_000))).toBeUndefined()
  expect(size(pairs, splices(200_000, limits.ops - 199_999))).toBe("TOO_LARGE")
})

test("a text hidden by a conflicting value shows the later edits of others", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.body = "typed"), 5)
  const b = new Replica(1)
  b.pull(a)
  const hidden = foreign((doc) => void (doc["body"] = scalar("scalar")), [a.entity.genesis], 10).changes[1] as Change
  a.entity.apply([hidden])
  a.keep([hidden])
  b.update((_, edit) => edit.splice("body", 5, 0, "!"), 6)
  a.pull(b)
  expect(a.entity.whole(notes)).toEqual({ body: "typed!" })
})

test("the derived container is preferred to another tool's text under the same key", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.body = "ours"), 5)
  const theirs = foreign((doc) => void (doc["body"] = "theirs"), [a.entity.genesis], 4).changes[1] as Change
  a.entity.apply([theirs])
  expect(a.entity.whole(notes)).toEqual({ body: "ours" })
  expect(Entity.hydrate(ID, History.of([...a.changes.values(), theirs]), actorOf(3)).whole(notes)).toEqual({
    body: "ours",
  })
})

test("fields of another tool are read as far as JSON can hold them, and the entity can be written", () => {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const write = (doc: Record<string, unknown>) => {
    Object.assign(doc, {
      id: scalar("not ours"),
      $x: 1,
      title: "text",
      when: new Date(5000),
      bytes: new Uint8Array([1]),
      nested: { at: new Date(6), none: new Uint8Array([1]), list: [new Uint8Array([1]), Number.NaN] },
      count: new Automerge.Counter(4),
      infinite: Number.POSITIVE_INFINITY,
    })
  }
  const { entity, changes } = foreign(write, [genesis])
  expect(entity.collection).toBe("notes")
  const plain = { count: 4, infinite: null, nested: { at: 6, list: [null, null] }, title: "text", when: 5000 }
  expect(entity.whole(notes)).toEqual(plain)
  const made = entity.write(notes, { ...nothing, text: new Map([["body", "b"]]) }, 5)
  expect(made.map((change) => isDerived(ID, change))).toEqual([true, false])
  expect(Entity.hydrate(ID, History.of([...changes, ...made]), actorOf(1)).whole(notes)).toEqual({
    ...plain,
    body: "b",
  })
})

test("a foreign value is cut off below 64 levels, which is the deepest value that can be written here", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: nested(levels - 1) })
  const depth = (value: unknown): number =>
    value === null ? 0 : typeof value === "object" ? 1 + depth((value as { a: unknown }).a) : 1
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const read = (levels: number) =>
    foreign((doc) => void (doc["deep"] = nested(levels)), [genesis]).entity.whole(notes)["deep"]
  expect(read(63)).toEqual(nested(63))
  expect(read(64)).toEqual(nested(64))
  expect(depth(read(65))).toBe(64)
  expect(depth(read(90))).toBe(64)
})

test("keys of another tool are read in sorted order, at every depth", () => {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const value = { z: 1, a: { y: 1, b: 2 }, m: [{ q: 1, c: 2 }] }
  const { entity } = foreign((doc) => void (doc["v"] = value), [genesis])
  expect(JSON.stringify(entity.whole(notes)["v"])).toBe('{"a":{"b":2,"y":1},"m":[{"c":2,"q":1}],"z":1}')
  // The keys of a value are sorted by UTF-16 units, as in a value that is written here. Automerge sorts them by UTF-8
  // bytes, which would swap these two keys.
  const beyond = foreign((doc) => void (doc["v"] = { "😀": 1, "｡": [{ "😀": 2, "｡": 3 }] }), [genesis])
  expect(JSON.stringify(beyond.entity.whole(notes)["v"])).toBe('{"😀":1,"｡":[{"😀":2,"｡":3}]}')
})

test("a text that another tool has deleted cannot be written again", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.body = "x"), 5)
  const { entity } = foreign((doc) => void delete doc["body"], [...a.changes.values()])
  expect(entity.whole(notes)).toEqual({})
  expect(codeOf(() => entity.write(notes, { ...nothing, text: new Map([["body", "y"]]) }, 6))).toBe("FIELD_KIND")
})

test("genesis alone decides the collection, and without a genesis there is no entity", () => {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const { entity } = foreign((doc) => void (doc["@type"] = scalar("tasks")), [genesis])
  expect(entity.collection).toBe("notes")
  expect(codeOf(() => foreign((doc) => void (doc["@type"] = scalar("tasks"))))).toBe("CHUNK_BAD")
})

test("createdAt and updatedAt are the smallest and the largest time of the changes, without the genesis", () => {
  const a = new Replica(0)
  expect(a.entity.facts).toEqual({ createdAt: 0, updatedAt: 0 })
  const [late] = a.update((draft) => void (draft.title = "1"), 50) as [Change]
  const b = new Replica(1)
  const [early] = b.update((draft) => void (draft.title = "2"), 20) as [Change]
  a.pull(b)
  const facts = { createdAt: 20_000, updatedAt: 50_000, createdIn: early.hash, updatedIn: late.hash }
  expect(a.entity.facts).toEqual(facts)
  expect(Entity.hydrate(ID, History.of([...a.changes.values()]), actorOf(2)).facts).toEqual(facts)
  const [gone] = a.keep(a.entity.remove(60)) as [Change]
  expect(a.entity.facts).toMatchObject({ updatedAt: 60_000, deletedAt: 60_000, deletedIn: gone.hash })
})

test("every replica chooses the same first and last change among changes of equal time", () => {
  const [a, b, c] = [new Replica(0), new Replica(1), new Replica(2)]
  for (const replica of [a, b, c]) replica.update((draft) => void (draft.title = "at once"), 9)
  const all = [a, b, c].flatMap(({ changes }) => [...changes.values()].filter(({ time }) => time > 0))
  const hashes = all.map(({ hash }) => hash).sort()
  for (const order of [all, all.toReversed()]) {
    const { facts } = Entity.hydrate(ID, History.of([a.entity.genesis, ...order]), actorOf(5))
    expect(facts).toMatchObject({ createdIn: hashes[0], updatedIn: hashes[2] })
  }
})

test("changes whose deps are missing are refused, not queued", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.title = "1"), 1)
  const [second] = a.update((draft) => void (draft.title = "2"), 2) as [Change]
  expect(codeOf(() => Entity.hydrate(ID, History.of([a.entity.genesis, second]), actorOf(1)))).toBe("CHUNK_BAD")
  expect(codeOf(() => new Replica(1).entity.apply([second]))).toBe("CHUNK_BAD")
})

test("a change that is applied again has no effect", () => {
  const a = new Replica(0)
  const made = a.update((draft) => void (draft.body = "x"), 1)
  a.entity.apply(made)
  a.entity.apply([...made, ...made])
  expect(a.entity.whole(notes)).toEqual({ body: "x" })
  expect(a.entity.heads).toEqual([made.at(-1)?.hash])
})

test("an entity that is hydrated again in the same session continues its seq numbers", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.title = "1"), 1)
  const again = Entity.hydrate(ID, History.of([...a.changes.values()]), actorOf(0))
  expect(again.write(notes, { ...nothing, set: new Map([["title", "2"]]) }, 2).map(({ seq }) => seq)).toEqual([2])
})

test("values are shared, so they are frozen", () => {
  const a = new Replica(0)
  a.update((draft) => void (draft.meta = { b: [{ deep: "x" }] }), 1)
  const { meta } = a.entity.whole(notes) as { meta: { b: { deep: string }[] } }
  expect(
    Object.isFrozen(a.entity.whole(notes)) &&
      Object.isFrozen(meta) &&
      Object.isFrozen(meta.b) &&
      Object.isFrozen(meta.b[0]),
  ).toBe(true)
})

test("the version names the Automerge build", () => {
  expect(automergeVersion()).toMatch(/^[0-9a-f]{12}$/)
})
