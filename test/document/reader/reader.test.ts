import * as Automerge from "@automerge/automerge"
import { beforeAll, describe, expect, test } from "vitest"
import { encodeChange } from "../../../src/document/encoder/new-change.ts"
import { NewOperations } from "../../../src/document/encoder/new-operations.ts"
import { Entity, loadAutomerge } from "../../../src/document/entity.ts"
import { readRow } from "../../../src/document/reader/read-row.ts"
import { type Change, readChange, sealChange } from "../../../src/wire/chunk.ts"
import { limits } from "../../../src/wire/protocol.ts"
import { forge } from "../../support/forged-chunk.ts"
import { actorOf, ID, notes } from "../../support/histories.ts"
import { forged, hashes, put, scalar } from "../../support/hostile.ts"
import { byAutomerge, checkHistories, checkMutants } from "./agreement.ts"
import { columnOf, type Parts, partsOf, valuesIn } from "./mutants.ts"

beforeAll(() => loadAutomerge())

test("a row that was read from random changes is the row that Automerge makes of them", () => {
  expect(checkHistories(150, 1).get("read")).toBeGreaterThan(100)
})

test("Automerge takes every mutant that the reader accepts, and makes the same row of it", () => {
  const accepted = [...checkMutants(15, 1)].filter(([what]) => what.startsWith("accepted"))
  expect(accepted.length).toBeGreaterThan(3)
})

/** Makes a genesis, and a change after it as another tool writes it. */
function written(write: (doc: any) => void, before: readonly Change[] = [], actor = actorOf(1)) {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const chunks = [genesis, ...before].map(({ chunk }) => chunk)
  const doc = Automerge.applyChanges(Automerge.init<any>({ actor }), chunks)[0]
  const changed = Automerge.change(doc, { time: 1 }, write)
  const change = readChange(Automerge.getLastLocalChange(changed) as Uint8Array)
  Automerge.free(changed)
  return { genesis, change, changes: [genesis, ...before, change] }
}

const rowOf = (changes: readonly Change[]) => readRow(ID, changes, hashes(changes), () => notes)

function expectSame(changes: readonly Change[]) {
  const read = rowOf(changes)
  if (typeof read === "string") throw new Error(`declined: ${read}`)
  expect(JSON.stringify(read.row)).toBe(byAutomerge(changes, notes).row)
  return read.row
}

const columnIn = (parts: Parts, name: number) => parts.columns.find(([one]) => one === name) as [number, number[]]

describe("encodings that Automerge does not write are declined:", () => {
  /** Writes texts and registers, so that the columns have runs, literals and nulls. */
  const base = () =>
    written((doc) => {
      doc.n = 1
      doc.title = scalar("ab")
      doc.body = "aaaa"
      Automerge.splice(doc, ["body"], 4, 0, "é😀")
    })

  test("the change that they are made from is read", () => {
    const { change, changes } = base()
    expect(readChange(forge(partsOf(change))).hash).toBe(change.hash)
    expectSame(changes)
  })

  const KEY = 21
  const INSERT = 52
  const ACTION = 66
  const KINDS = 86
  const VALUES = 87
  const cases: [name: string, reason: string, change: (parts: Parts) => void][] = [
    ["a run of equal values as a literal", "equal neighbours are not one run", (p) => recode(p, ACTION, 1)],
    ["a run in two parts", "equal neighbours are not one run", (p) => recode(p, ACTION, 2)],
    ["a run of one value", "a run of one value", (p) => split(p, ACTION, [0x7f, 4], [1, 4])],
    [
      "two literals side by side",
      "a literal follows a literal",
      (p) =>
        void (columnIn(p, KEY)[1] = [0x7f, 1, 110, 0x7e, 5, ...Buffer.from("title"), 4, ...Buffer.from("body"), 0, 6]),
    ],
    [
      "nulls in two parts",
      "a run of nulls is empty or follows another one",
      (p) => split(p, KEY, [0, 6], [0, 2, 0, 4]),
    ],
    ["no nulls", "a run of nulls is empty or follows another one", (p) => columnIn(p, KEY)[1].push(0, 0)],
    ["nulls at the end left out", "a column is shorter than the change", (p) => split(p, KEY, [0, 6], [])],
    ["an empty column", "an empty column", (p) => void p.columns.push([148, []])],
    ["a column of marks", "a column that the reader does not know", (p) => void p.columns.push([148, [9]])],
    ["a column of unknown name", "a column that the reader does not know", (p) => void p.columns.push([180, [2, 0]])],
    ["no column of insertions", "a column is shorter than the change", (p) => drop(p, INSERT)],
    ["no flags between two runs", "a run of no flags", (p) => columnIn(p, INSERT)[1].push(0)],
    ["more flags than operations", "a column is longer than the change", (p) => columnIn(p, INSERT)[1].push(1)],
    ["more actions than values", "a column is shorter than the change", (p) => more(p, KINDS, -1)],
    [
      "a run's length in a longer form",
      "a number is not in its shortest form",
      (p) => void columnIn(p, KINDS)[1].splice(0, 1, 0x80 | columnIn(p, KINDS)[1][0]!, 0x7f),
    ],
    ["a value in a longer form", "a number in a longer form than it needs", (p) => value(p, 0x24, [0x81, 0])],
    ["a number without bytes", "a number of no bytes, or beyond 2^53", (p) => value(p, 0x04, [])],
    ["a value of an unknown type", "a value of an unknown type", (p) => value(p, 0x1a, [1])],
    ["true with bytes", "a value of no bytes has bytes", (p) => value(p, 0x12, [1])],
    ["a float of 4 bytes", "a float that is not 8 bytes long", (p) => value(p, 0x45, [0, 0, 0, 0])],
    ["half a character", "a text is not UTF-8", (p) => value(p, 0x16, [0xc3])],
    ["a surrogate in UTF-8", "a text is not UTF-8", (p) => value(p, 0x36, [0xed, 0xa0, 0x80])],
    ["a value of an object", "a value where Automerge writes none", (p) => kind(p, 2, 0x06)],
    ["bytes that belong to no value", "bytes that belong to no value", (p) => columnIn(p, VALUES)[1].push(0)],
    ["bytes behind the columns", "bytes behind the columns", (p) => p.extra.push(0)],
    [
      "an actor that no operation refers to",
      "an actor that no operation refers to",
      (p) => p.others.push(Array(16).fill(0xab)),
    ],
    ["the author among the other actors", "the author is among the other actors", (p) => p.others.push([...p.actor])],
  ]
  test.each(cases)("%s", (_, reason, change) => {
    const { genesis, change: source } = base()
    const parts = partsOf(source)
    change(parts)
    const mutant = readChange(forge(parts))
    expect(mutant.hash).not.toBe(source.hash)
    expect(rowOf([genesis, mutant])).toContain(reason)
  })

  /** Encodes a column again, with runs of at most `longest` values. */
  function recode(parts: Parts, name: number, longest: number) {
    const column = columnIn(parts, name)
    column[1] = columnOf(name, valuesIn(name, column[1]), longest)
  }
  function split(parts: Parts, name: number, from: number[], to: number[]) {
    const [, bytes] = columnIn(parts, name)
    const at = bytes.findIndex((_, i) => from.every((byte, j) => bytes[i + j] === byte))
    expect(at).toBeGreaterThanOrEqual(0)
    bytes.splice(at, from.length, ...to)
  }
  function drop(parts: Parts, name: number) {
    parts.columns = parts.columns.filter(([one]) => one !== name)
  }
  function more(parts: Parts, name: number, count: number) {
    const column = columnIn(parts, name)
    column[1] = columnOf(name, valuesIn(name, column[1]).slice(0, count))
  }
  function kind(parts: Parts, at: number, kind: number) {
    const kinds = columnIn(parts, KINDS)
    const values = valuesIn(KINDS, kinds[1])
    values[at] = kind
    kinds[1] = columnOf(KINDS, values)
  }
  /** Replaces the first value, which is the number 1. */
  function value(parts: Parts, type: number, bytes: number[]) {
    kind(parts, 0, type)
    columnIn(parts, VALUES)[1].splice(0, 1, ...bytes)
  }

  test("a column of nulls", () => {
    const { genesis, change } = written((doc) => void (doc.n = 1))
    for (const name of [1, 2, 17, 19]) {
      const parts = partsOf(change)
      parts.columns.unshift([name, [0, 1]])
      expect(rowOf([genesis, readChange(forge(parts))])).toBe("a column of nulls")
    }
  })
})

describe("operations that Automerge would not give back are declined:", () => {
  /** Writes a text, a list, a counter and a register once each. */
  const base = () =>
    written((doc) => {
      doc.body = "abc"
      doc.tags = [scalar("x"), scalar("y")]
      doc.meta = { k: 1 }
      doc.n = new Automerge.Counter(1)
      doc.title = scalar("t")
    })
  const author = actorOf(1)
  type Ids = Record<"body" | "tags" | "meta" | "n" | "title" | "a" | "b" | "x", string>

  function ids(change: Change): Ids {
    const ops = Automerge.decodeChange(change.chunk).ops as Record<string, unknown>[]
    const id = (at: number) => `${change.startOp + at}@${author}`
    const at = (key: string) => id(ops.findIndex((op) => op["key"] === key))
    const inserted = ops.flatMap((op, i) => (op["insert"] ? [[op["obj"], id(i)] as const] : []))
    const [a, b] = inserted.filter(([obj]) => obj === at("body")).map(([, one]) => one)
    const [x] = inserted.filter(([obj]) => obj === at("tags")).map(([, one]) => one)
    return { body: at("body"), tags: at("tags"), meta: at("meta"), n: at("n"), title: at("title"), a: a!, b: b!, x: x! }
  }

  const cases: [name: string, reason: string | undefined, op: (id: Ids) => Record<string, unknown>][] = [
    ["an honest put is read", undefined, ({ title }) => put({ key: "title", pred: [title] })],
    ["an honest deletion is read", undefined, ({ body, a }) => del({ obj: body, elemId: a, pred: [a] })],
    ["an honest increment is read", undefined, ({ n }) => inc({ key: "n", pred: [n] })],
    ["a put in a list is read", undefined, ({ tags, x }) => put({ obj: tags, key: undefined, elemId: x, pred: [x] })],
    ["a key of a text", "a key of a list or text", ({ body }) => put({ obj: body })],
    ["a key of a list", "a key of a list or text", ({ tags }) => put({ obj: tags })],
    ["an element of a map", "an element of a map", ({ meta, a }) => del({ obj: meta, elemId: a, pred: [a] })],
    [
      "an element of another text",
      "an element that is not there",
      ({ tags, a }) => del({ obj: tags, elemId: a, pred: [a] }),
    ],
    ["an object that is none", "an object that is not there", ({ title }) => put({ obj: title })],
    [
      "a predecessor under another key",
      "a predecessor under another key",
      ({ title }) => put({ key: "n", pred: [title] }),
    ],
    ["a predecessor that is no value", "a predecessor under another key", ({ a }) => put({ key: "body", pred: [a] })],
    [
      "another character as a predecessor",
      "a predecessor that is",
      ({ body, a, b }) => del({ obj: body, elemId: a, pred: [b] }),
    ],
    [
      "the same predecessor twice",
      "predecessors that are not sorted",
      ({ title }) => put({ key: "title", pred: [title, title] }),
    ],
    [
      "a put on a character",
      "an operation on a character",
      ({ body, a }) => put({ obj: body, key: undefined, elemId: a, pred: [a] }),
    ],
    [
      "an increment of a register",
      "an increment that is none of a counter",
      ({ title }) => inc({ key: "title", pred: [title] }),
    ],
    [
      "a word in place of a character",
      "an element of a text",
      ({ body, a }) => insert({ obj: body, elemId: a, value: "word" }),
    ],
    [
      "nothing in place of a character",
      "an element of a text",
      ({ body, a }) => insert({ obj: body, elemId: a, value: "" }),
    ],
    ["a number in a text", "an element of a text", ({ body, a }) => insert({ obj: body, elemId: a, value: 5 })],
    ["a block in a text", "an object in a text", ({ body, a }) => insert({ obj: body, elemId: a, action: "makeMap" })],
    ["a table", "an action that the reader does not know", () => put({ action: "makeTable", value: undefined })],
    ["an empty key", "a key that the reader does not know", () => put({ key: "" })],
    ["the key __proto__", "a key that the reader does not know", () => put({ key: "__proto__" })],
    ["another collection", "a change that writes @type", () => put({ key: "@type" })],
    ["a deletion of nothing", "a deletion of nothing", () => del({ key: "title", pred: [] })],
  ]
  const del = (op: Record<string, unknown>) => ({ action: "del", obj: "_root", ...op })
  const inc = (op: Record<string, unknown>) => ({ action: "inc", obj: "_root", value: 1, datatype: "int", ...op })
  const insert = (op: Record<string, unknown>) => ({ action: "set", insert: true, pred: [], ...op })

  test.each(cases)("%s", (_, reason, op) => {
    const { changes, change } = base()
    const after = { deps: [change.hash], startOp: change.maxOp + 1, time: 2 }
    const next = forged({ ...after, ops: [op(ids(change))] })
    if (reason === undefined) expectSame([...changes, next])
    else expect(rowOf([...changes, next])).toContain(reason)
  })

  test("an operation of a concurrent change", () => {
    const { changes, change, genesis } = base()
    const next = forged({ deps: [genesis.hash], startOp: 50, ops: [put({ key: "title", pred: [ids(change).title] })] })
    expect(rowOf([...changes, next])).toBe("an operation of no ancestor")
    // Without suspects, the change counts as judged, and the reader does not judge it again.
    expect(typeof readRow(ID, [...changes, next], new Set(), () => notes)).toBe("object")
  })
})

describe("what only unusual histories have:", () => {
  test("conflicts, of which the value with the largest operation id is shown", () => {
    const { changes } = written((doc) => void (doc.title = scalar("a")), [], actorOf(1))
    const other = written((doc) => void (doc.title = scalar("b")), [], actorOf(2))
    expect(expectSame([...changes, other.change])["title"]).toBe("b")
    expect(expectSame([other.genesis, other.change, ...changes.slice(1)])["title"]).toBe("b")
  })

  test("integers beyond 2^53 are declined, and those up to there are exact", () => {
    for (const value of [2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 49, -(2 ** 49), 2 ** 48 + 1]) {
      expect(expectSame(written((doc) => void (doc.n = new Automerge.Int(value))).changes)["n"]).toBe(value)
    }
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n]) {
      expect(rowOf(written((doc) => void (doc.n = value)).changes)).toBe("a number of no bytes, or beyond 2^53")
    }
  })

  test("objects that are nested deeper than a row shows", () => {
    const nested = (levels: number): unknown => (levels === 0 ? scalar("x") : [nested(levels - 1)])
    expectSame(written((doc) => void (doc.meta = nested(64))).changes)
    expect(rowOf(written((doc) => void (doc.meta = nested(65))).changes)).toBe("an object that is nested too deep")
  })

  test("a history that would take too long", () => {
    const { genesis } = written((doc) => void (doc.n = 1))
    const once = Array.from({ length: 5000 }, (_, i) => put({ value: i }))
    const first = `${genesis.maxOp + 1}@${actorOf(1)}`
    const before = forged({ actor: actorOf(1), deps: [genesis.hash], startOp: genesis.maxOp + 1, ops: once })
    const ops = Array.from({ length: 5000 }, () => put({ pred: [first] }))
    const slow = forged({ deps: [before.hash], startOp: before.maxOp + 1, ops })
    expect(rowOf([genesis, before])).toMatchObject({ collection: "notes" })
    expect(rowOf([genesis, before, slow])).toBe("a history that takes too long")
  })

  test("a history of a few hundred bytes that would fill the memory", () => {
    const { genesis } = written((doc) => void (doc.n = 1))
    const changes = [genesis]
    for (let seq = 1; seq <= 2; seq++) {
      const before = changes.at(-1) as Change
      const startOp = before.maxOp + 1
      const operations = new NewOperations(startOp)
      for (let left = limits.ops; left > 0; left--) operations.set({ object: undefined, key: "k" }, null)
      const header = { deps: [before.hash], actor: actorOf(seq), seq: 1, startOp, time: 1, others: [] }
      changes.push(sealChange(encodeChange(header, operations)))
    }
    expect(rowOf(changes.slice(0, 2))).toMatchObject({ row: { k: null } })
    expect(rowOf(changes)).toBe("a history that takes too long")
  })

  test("a change before the genesis, or another first change", () => {
    const { genesis, change } = written((doc) => void (doc.n = 1))
    expect(rowOf([change])).toBe("no change but waiting ones")
    expect(readRow(ID, [genesis, change], hashes([change]), () => notes)).toMatchObject({ collection: "notes" })
    const other = Entity.create("another-note", "notes", actorOf(0)).genesis
    expect(rowOf([other])).toBe("a first change that is no genesis")
  })

  test("a change that waits for one that is not here", () => {
    const first = written((doc) => void (doc.title = scalar("a")))
    const second = written((doc) => void (doc.title = scalar("b")), first.changes.slice(1), actorOf(2))
    const read = rowOf([first.genesis, second.change])
    expect(read).toMatchObject({ row: { id: ID }, verdict: { waiting: [second.change] } })
  })
})
