/** Compares creations that are encoded in plain JavaScript with the same creations made by Automerge. */
import fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { hex } from "../../../src/base/hash.ts"
import { encodeCreation } from "../../../src/document/encoder/creation.ts"
import { Entity, loadAutomerge } from "../../../src/document/entity.ts"
import { History } from "../../../src/document/history/history.ts"
import { project, projectCreated } from "../../../src/document/projection.ts"
import { NO_CELLS, planned } from "../../../src/document/writing.ts"
import { type Changes, created } from "../../../src/schema/draft.ts"
import { type AnyDef, collection, text } from "../../../src/schema/schema.ts"
import { isUserKey } from "../../../src/schema/values.ts"
import type { Change } from "../../../src/wire/chunk.ts"
import { limits } from "../../../src/wire/protocol.ts"
import { actorOf, runs } from "../../support/histories.ts"

beforeAll(() => loadAutomerge())

const defOf = (texts: readonly string[], name = "notes"): AnyDef =>
  collection(name, undefined, { fields: Object.fromEntries(texts.map((key) => [key, text()])) }) as unknown as AnyDef
const notes = defOf(["body"])
const TIME = 1_700_000_000

function byAutomerge(id: string, def: AnyDef, changes: Changes, time: number): { made: Change[]; row: string } {
  const entity = Entity.create(id, def.name, actorOf(1))
  const made = [entity.genesis, ...entity.write(def, changes, time)]
  if (entity.facts.createdIn === undefined) made.push(...entity.sign(time))
  const row = JSON.stringify(project(entity, def))
  entity.free()
  return { made, row }
}

/** The change with its chunk as one string, because strings are compared faster than arrays of numbers. */
const readable = (change: Change) => ({ ...change, chunk: hex(change.chunk) })

/** Encodes a creation. Compares its changes and row with those of Automerge. Returns false if the encoder declines. */
function same(id: string, def: AnyDef, input: object, time = TIME): boolean {
  const { changes } = created(def, input)
  const writes = planned(def, changes, NO_CELLS)
  const encoded = encodeCreation(id, def.name, actorOf(1), writes, time)
  if (encoded === undefined) return false
  const { made, row } = byAutomerge(id, def, changes, time)
  expect(encoded.map(readable)).toEqual(made.map(readable))
  expect(JSON.stringify(projectCreated(id, writes, time, def))).toBe(row)
  const hydrated = Entity.hydrate(id, History.of(encoded), actorOf(2), new Set(encoded.map(({ hash }) => hash)))
  expect(JSON.stringify(project(hydrated, def))).toBe(row)
  hydrated.free()
  return true
}

const string = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: fc.constantFrom("a", "b", "é", "€", "😀", "\n", "\u0000", "e\u0301"), maxLength: 200 }),
  fc.constantFrom("", "a", "aa", "😀", "\ufeff", "\uffff", "\ue000", "x".repeat(127), "x".repeat(128), "é".repeat(500)),
)
const key = fc
  .oneof(string, fc.constantFrom("title", "body", "tags", "constructor", "1", "10", "toString", "é", "z"))
  .filter(isUserKey)
const scalar = fc.oneof(
  string,
  fc.maxSafeInteger(),
  fc.integer({ min: -130, max: 130 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom(0, -0, 1, -1, 63, 64, -64, -65, 2 ** 31, 2 ** 53 - 1, 1 - 2 ** 53, 0.1, 5e-324),
)
const { value } = fc.letrec<{ value: unknown }>((again) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    { arbitrary: scalar, weight: 4 },
    { arbitrary: fc.array(again("value"), { maxLength: 8 }), weight: 1 },
    { arbitrary: fc.array(scalar, { maxLength: 60 }), weight: 1 },
    { arbitrary: fc.dictionary(key, again("value"), { maxKeys: 8 }), weight: 1 },
  ),
}))
const note = fc.record({
  id: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  name: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  registers: fc.oneof(
    fc.uniqueArray(fc.tuple(key, value), { maxLength: 6, selector: ([name]) => name }),
    fc.uniqueArray(fc.tuple(key, scalar), { maxLength: 50, selector: ([name]) => name }),
  ),
  texts: fc.uniqueArray(fc.tuple(key, string), { maxLength: 5, selector: ([name]) => name }),
  textsFirst: fc.boolean(),
  time: fc.oneof(fc.integer({ min: 1, max: 2 ** 31 }), fc.constantFrom(1, 63, 64, TIME)),
})

test("a random creation has the bytes that Automerge gives it, and the same row", () => {
  const all = runs(1000, 50_000)
  let declined = 0
  const property = fc.property(note, ({ id, name, registers, texts, textsFirst, time }) => {
    const fields = textsFirst ? [...texts, ...registers] : [...registers, ...texts]
    const input = Object.fromEntries(fields.filter(([key], i) => fields.findIndex(([other]) => other === key) === i))
    for (const [key, value] of texts) input[key] = value
    if (
      !same(
        id,
        defOf(
          texts.map(([key]) => key),
          name,
        ),
        input,
        time,
      )
    )
      declined++
  })
  fc.assert(property, { numRuns: all })
  console.log(`${declined} of ${all} creations were declined`)
  expect(declined).toBe(0)
})

describe("has the bytes that Automerge gives it:", () => {
  const cases: Record<string, object> = {
    "no field at all": {},
    "an empty text, which is not written": { body: "" },
    "one character": { body: "x" },
    "two characters": { body: "ab" },
    "a text of 100,000 characters": { body: "word ".repeat(20_000) },
    "a long text of characters of 1 to 4 bytes": { body: "aé€😀".repeat(3000) },
    "a text after registers": { title: "Hi", n: 1, body: "héy😀" },
    "empty and long strings": { a: "", b: "x".repeat(100_000), c: "" },
    "integers at the edges of their encoding": Object.fromEntries(
      [0, 63, 64, -64, -65, 8191, 8192, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 1 - 2 ** 53].map((n, i) => [`n${i}`, n]),
    ),
    "numbers inside a list": { n: [0, -0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 1 - 2 ** 53, 0.5, -0.5, 5e-324] },
    "minus zero": { n: -0 },
    "a small and a large float": { a: 5e-324, b: 123456789.125 },
    "equal values in a row": { a: 1, b: 1, c: 1, d: null, e: null, f: true, g: true, h: "x", i: "x" },
    "50 fields": Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`field${i}`, i % 7 === 0 ? `${i}` : i])),
    "a thousand fields": Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, i])),
    "names that are integers, which JavaScript sorts": { b: 1, 10: 2, a: 3, 2: 4 },
    "names beyond ASCII, and an empty one": { "": 1, é: 2, "😀": 3, "\uffff": 4, "\ue000": 5 },
    "keys inside a map, sorted by their bytes in UTF-8": {
      m: { "\uffff": 1, "😀": 2, a: 3, "": 4, "\ue000": 5, aa: 6 },
    },
    "empty objects": { a: {}, b: [], c: [{}, []], d: { e: {}, f: [] } },
    "objects inside objects, each filled after those before it": {
      a: [[["x"], "y"], { b: [1, { c: [] }], a: {} }, "z"],
      b: { z: [1], a: { y: [2] } },
    },
    "60 levels": { deep: Array.from({ length: 60 }).reduce((inner: unknown) => [inner], "bottom") as object },
    "a list of a thousand equal items": { list: Array.from({ length: 1000 }, () => ({ done: false, title: "x" })) },
  }
  test.each(Object.entries(cases))("%s", (_, input) => {
    expect(same("0190c0de-0000-7000-8000-000000000001", notes, input)).toBe(true)
  })

  test("several texts, whose actors have another order than their names", () => {
    const texts = Array.from({ length: 20 }, (_, i) => `text${i}`)
    expect(same("e", defOf(texts), Object.fromEntries(texts.map((key, i) => [key, "x".repeat(i)])))).toBe(true)
  })
})

describe("declines", () => {
  const put = (value: unknown) => ({ do: "put", key: "k", value }) as const
  const splice = (at: number, remove: number, count = 1) => ({
    do: "splice" as const,
    key: "body",
    hunks: Array.from({ length: count }, () => ({ at, remove, insert: "x" })),
    value: "x",
    ops: 1,
  })
  test.each([
    ["NaN", put(Number.NaN)],
    ["an integer beyond 2^53", put(1e300)],
    ["a bigint inside an object", put({ a: [1n] })],
    ["bytes", put(new Uint8Array(3))],
    ["a date inside a list", put([new Date(0)])],
    ["undefined", put(undefined)],
    ["a deletion", { do: "delete", key: "k" } as const],
    ["a splice that is not at the beginning", splice(1, 0)],
    ["a splice that removes", splice(0, 1)],
    ["several splices", splice(0, 0, 2)],
  ])("%s", (_, write) => {
    expect(encodeCreation("e", "notes", actorOf(1), [write], TIME)).toBe(undefined)
  })
})

test("refuses a change that is too large, as Automerge's would be", () => {
  const { changes } = created(notes, { a: "x".repeat(limits.chunk - 1), b: "y" })
  const writes = planned(notes, changes, NO_CELLS)
  const tooLarge = expect.objectContaining({ code: "TOO_LARGE" })
  expect(() => encodeCreation("e", "notes", actorOf(1), writes, TIME)).toThrow(tooLarge)
  expect(() => byAutomerge("e", notes, changes, TIME)).toThrow(tooLarge)
})
