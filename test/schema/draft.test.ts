import fc from "fast-check"
import { expect, test } from "vitest"
import type { HeadwaterError } from "../../src/base/errors.ts"
import { created, edited, type Fields } from "../../src/schema/draft.ts"
import { collection, shape, text } from "../../src/schema/schema.ts"
import { runs } from "../support/histories.ts"

const notes = collection("notes", shape<any>(), {
  fields: { body: text(), summary: text() },
  defaults: { color: "none", tags: [] },
})
const stored: Fields = { title: "T", body: "a😀b", tags: ["x"], meta: { a: 1, b: { c: [1, 2] } } }
type Splice = (key: string, at: number, remove: number, insert?: string) => void
const update = (f: (draft: any, edit: { splice: Splice }) => unknown, before: Fields = stored) =>
  edited(notes, before, f)
const refusal = (act: () => unknown): Partial<HeadwaterError> => {
  try {
    act()
  } catch (error) {
    const { code, field } = error as HeadwaterError
    return { code, ...(field !== undefined && { field }) }
  }
  return {}
}
const plain = ({ changes: { set, remove, text, splices } }: ReturnType<typeof update>) => ({
  set: Object.fromEntries(set),
  remove,
  text: Object.fromEntries(text),
  splices,
})
const none = { set: {}, remove: [], text: {}, splices: [] }

test("the draft is a plain copy that can be changed freely, with absent texts as empty strings and with defaults", () => {
  update((draft) => {
    expect(draft).toEqual({ ...stored, color: "none", summary: "" })
    draft.meta.b.c.push(3)
    draft.tags.length = 0
  })
  expect(stored).toEqual({ title: "T", body: "a😀b", tags: ["x"], meta: { a: 1, b: { c: [1, 2] } } })
})

test("only keys whose value has changed are written", () => {
  expect(plain(update(() => {}))).toEqual(none)
  expect(plain(update((draft) => (draft.title = "T")))).toEqual(none)
  expect(plain(update((draft) => (draft.meta = { b: { c: [1, 2] }, a: 1 })))).toEqual(none)
  expect(plain(update((draft) => (draft.meta = { ...draft.meta, gone: undefined })))).toEqual(none)
  expect(plain(update((draft) => (draft.title = "U")))).toEqual({ ...none, set: { title: "U" } })
  expect(plain(update((draft) => draft.meta.b.c.push(3)))).toEqual({
    ...none,
    set: { meta: { a: 1, b: { c: [1, 2, 3] } } },
  })
  expect(plain(update((draft) => (draft.fresh = null)))).toEqual({ ...none, set: { fresh: null } })
  const shorter: Fields = { list: [1, 2, 3], map: { a: 1, b: 2 }, swapped: { a: 1 } }
  const cuts = (draft: any) => {
    draft.list.pop()
    delete draft.map.b
    draft.swapped = { b: 1 }
  }
  expect(plain(update(cuts, shorter)).set).toEqual({ list: [1, 2], map: { a: 1 }, swapped: { b: 1 } })
  const kinds = (draft: any) => {
    draft.list = {}
    draft.map = []
    draft.swapped = null
  }
  expect(plain(update(kinds, { list: [], map: {}, swapped: {} })).set).toEqual({ list: {}, map: [], swapped: null })
})

test("an assigned text is written by difference, and a cleared or deleted text becomes empty", () => {
  expect(plain(update((draft) => (draft.body += "c")))).toEqual({ ...none, text: { body: "a😀bc" } })
  for (const clear of [(d: any) => (d.body = ""), (d: any) => delete d.body, (d: any) => (d.body = undefined)]) {
    expect(plain(update(clear))).toEqual({ ...none, text: { body: "" } })
  }
  expect(plain(update((draft) => delete draft.summary))).toEqual(none)
})

test("undefined removes a key, and a default is never written", () => {
  expect(plain(update((draft) => (draft.title = undefined)))).toEqual({ ...none, remove: ["title"] })
  expect(plain(update((draft) => delete draft.tags))).toEqual({ ...none, remove: ["tags"] })
  expect(plain(update((draft) => delete draft.color))).toEqual(none)
  expect(update((draft) => delete draft.tags).after).toMatchObject({ tags: [] })
})

test("a field may have the name of a property that every object has", () => {
  const odd = collection("odd", shape<any>(), { fields: { toString: text() }, defaults: { valueOf: 1 } })
  const without = edited(odd, { constructor: "x" }, (draft: any) => void delete draft.constructor)
  expect(plain(without)).toEqual({ ...none, remove: ["constructor"] })
  const { changes, after } = edited(odd, {}, (draft: any, edit: any) => {
    expect(Object.keys(draft)).toEqual(["valueOf", "toString"])
    draft.hasOwnProperty = "mine"
    edit.splice("toString", 0, 0, "t")
  })
  expect([...changes.set]).toEqual([["hasOwnProperty", "mine"]])
  expect(Object.keys(after).sort()).toEqual(["hasOwnProperty", "toString", "valueOf"])
})

test("the positions of a splice refer to the text after the splices before it", () => {
  const { changes, after } = update((_, edit) => {
    edit.splice("body", 0, 1)
    edit.splice("body", 2, 1, "cd")
    edit.splice("body", 4, 0, "!")
    edit.splice("summary", 0, 0, "s")
    edit.splice("body", 0, 0, "")
  })
  expect(changes.splices).toEqual([
    { key: "body", at: 0, remove: 1, insert: "" },
    { key: "body", at: 2, remove: 1, insert: "cd" },
    { key: "body", at: 4, remove: 0, insert: "!" },
    { key: "summary", at: 0, remove: 0, insert: "s" },
  ])
  expect(after).toMatchObject({ body: "😀cd!", summary: "s" })
})

test("a splice beyond the text, or one that cuts a surrogate pair, is SPLICE_RANGE", () => {
  const ranges: [number, number][] = [
    [5, 0],
    [0, 5],
    [4, 1],
    [-1, 0],
    [0, -1],
    [0.5, 0],
    [Number.NaN, 0],
    [2, 0],
    [2, 1],
    [0, 2],
    [1, 1],
    [2, 2],
  ]
  for (const [at, remove] of ranges) {
    expect([at, remove, refusal(() => update((_, edit) => edit.splice("body", at, remove, "x")))]).toEqual([
      at,
      remove,
      { code: "SPLICE_RANGE", field: "body" },
    ])
  }
  expect(plain(update((_, edit) => edit.splice("body", 1, 2, "x"))).splices).toHaveLength(1)
})

test("each misuse has a code and names the field", () => {
  const cases: [string, string | undefined, (draft: any, edit: { splice: Splice }) => unknown][] = [
    ["FIELD_KIND", "title", (_, edit) => edit.splice("title", 0, 0, "x")],
    ["FIELD_KIND", "nothing", (_, edit) => edit.splice("nothing", 0, 0, "x")],
    ["FIELD_KIND", "toString", (_, edit) => edit.splice("toString", 0, 0, "x")],
    ["FIELD_KIND", "body", (draft) => (draft.body = 5)],
    ["FIELD_KIND", "body", (draft) => (draft.body = null)],
    ["FIELD_KIND", "body", (_, edit) => edit.splice("body", 0, 0, 5 as never)],
    ["EDIT_MIXED", "body", (draft, edit) => [edit.splice("body", 0, 0, "x"), (draft.body = "y")]],
    ["EDIT_MIXED", "body", (draft, edit) => [(draft.body = "y"), edit.splice("body", 0, 0, "x")]],
    ["EDIT_MIXED", "body", (draft, edit) => [edit.splice("body", 0, 0, "x"), delete draft.body]],
    ["UPDATE_ASYNC", undefined, async (draft) => (draft.title = "U")],
    ["UPDATE_ASYNC", undefined, () => Promise.resolve()],
    ["VALUE_UNSUPPORTED", "__proto__", (draft) => Object.setPrototypeOf(draft, { x: 1 })],
    ["VALUE_UNSUPPORTED", "body", (draft) => (draft.body = "half \ud83d")],
    ["VALUE_UNSUPPORTED", "body", (_, edit) => edit.splice("body", 0, 0, "\ude00")],
    ["SCHEMA_ISSUES", "id", (draft) => (draft.id = "x")],
    ["SCHEMA_ISSUES", "$createdAt", (draft) => (draft.$createdAt = 5)],
    ["SCHEMA_ISSUES", "@type", (draft) => (draft["@type"] = "x")],
  ]
  for (const [code, field, f] of cases) {
    expect([String(f), refusal(() => update(f))]).toEqual([String(f), { code, ...(field !== undefined && { field }) }])
  }
})

test("the rejection of a promise that an update callback returns does not go unhandled", async () => {
  expect(refusal(() => update(() => Promise.reject(new Error("late"))))).toEqual({ code: "UPDATE_ASYNC" })
  await new Promise((resolve) => setTimeout(resolve, 5))
})

test("edit throws once its update is over", () => {
  let late: { splice: Splice } | undefined
  update((_, edit) => void (late = edit))
  expect(refusal(() => late?.splice("body", 0, 0, "x"))).toEqual({ code: "UPDATE_ASYNC", field: "body" })
})

test("an error that the app's callback throws is thrown on", () => {
  expect(() =>
    update(() => {
      throw new TypeError("mine")
    }),
  ).toThrow(TypeError)
})

const cyclic: any = { a: [] }
cyclic.a.push(cyclic)
const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)])

test("a value that JSON cannot hold is VALUE_UNSUPPORTED at any depth, in an update and in a create", () => {
  const unsupported: unknown[] = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    2 ** 53,
    -(2 ** 53),
    1e21,
    5n,
    "\ud83d",
    "\ude00x",
    "a\udc00\ud800",
    () => 1,
    Symbol("s"),
    new Date(),
    new Map(),
    new Uint8Array(1),
    /x/,
    new (class Point {})(),
    Promise.resolve(),
    cyclic,
    deep(65),
    [undefined],
    JSON.parse('{"__proto__":1}'),
    { "\ud800": 1 },
    Array(2),
  ]
  for (const value of unsupported) {
    for (const wrapped of value === cyclic ? [value] : [value, [value], { deep: { x: value } }]) {
      expect(refusal(() => update((draft) => void (draft.title = wrapped)))).toEqual({
        code: "VALUE_UNSUPPORTED",
        field: "title",
      })
      expect(refusal(() => created(notes, { title: wrapped }))).toEqual({ code: "VALUE_UNSUPPORTED", field: "title" })
    }
  }
})

test("a value that JSON can hold is written unchanged", () => {
  const shared = { x: 1 }
  const fine: unknown[] = [
    0,
    1.5,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
    1e-300,
    "",
    "😀",
    "\0",
    true,
    null,
    [],
    {},
    [shared, shared],
    Object.assign(Object.create(null), { a: 1 }),
  ]
  for (const value of fine) expect(plain(update((draft) => (draft.title = value))).set["title"]).toEqual(value)
  expect(Object.is(plain(update((draft) => (draft.n = -0))).set["n"], 0)).toBe(true)
})

test("a value of 64 levels is written, and one of 65 is not", () => {
  expect(plain(update((draft) => (draft.title = deep(64)))).set["title"]).toEqual(deep(64))
  expect(refusal(() => update((draft) => (draft.title = deep(65)))).code).toBe("VALUE_UNSUPPORTED")
})

test("keys are written in sorted order, at every depth", () => {
  const value = { z: 1, a: [{ y: 1, b: 2 }] }
  expect(JSON.stringify(plain(update((draft) => (draft.title = value))).set["title"])).toBe(
    '{"a":[{"b":2,"y":1}],"z":1}',
  )
})

test("a value is copied, so a later change of the app's object has no effect", () => {
  const mine = { list: [1] }
  const { changes } = update((draft) => (draft.meta = mine))
  mine.list.push(2)
  expect(changes.set.get("meta")).toEqual({ list: [1] })
})

test("a create writes texts as text, skips undefined, and writes every other value whole", () => {
  expect(plain(created(notes, { title: "T", body: "b", summary: "", none: undefined }))).toEqual({
    ...none,
    set: { title: "T" },
    text: { body: "b", summary: "" },
  })
  expect(created(notes, {}).after).toEqual({ body: "", summary: "", color: "none", tags: [] })
  expect(refusal(() => created(notes, { body: 5 }))).toEqual({ code: "FIELD_KIND", field: "body" })
  expect(refusal(() => created(notes, JSON.parse('{"__proto__":{"x":1}}')))).toEqual({
    code: "VALUE_UNSUPPORTED",
    field: "__proto__",
  })
  for (const input of [undefined, null, 5, "x", []])
    expect(refusal(() => created(notes, input))).toEqual({ code: "SCHEMA_ISSUES" })
})

test("an update of one field takes less than 20 times as long as a copy of a short note, however long its text is", () => {
  const note = { title: "T", body: "lorem ipsum ".repeat(83), tags: ["a", "b"], done: false, n: 1 }
  const long = { ...note, body: note.body.repeat(1000) }
  const median = (f: (i: number) => unknown) => {
    const took = Array.from({ length: 2000 }, (_, i) => {
      const started = performance.now()
      f(i)
      return performance.now() - started
    })
    return took.sort((a, b) => a - b)[1000]!
  }
  const ratios = Array.from({ length: 5 }, () => {
    const bare = median(() => structuredClone(note))
    const updated = (of: typeof note) => median((i) => update((draft) => (draft.title = `t${i}`), of))
    return { short: updated(note) / bare, long: updated(long) / bare }
  })
  // The best of five ratios counts, and each divides by the time of a copy that was made just before. So other work on
  // the machine has little influence.
  expect(Math.min(...ratios.map(({ short }) => short))).toBeLessThan(20)
  expect(Math.min(...ratios.map(({ long }) => long))).toBeLessThan(20)
})

test("splices give the same text as the same splices of a string", () => {
  const splice = fc.record({
    at: fc.nat(20),
    remove: fc.nat(5),
    insert: fc.string({ unit: fc.constantFrom("a", "é", "😀"), maxLength: 3 }),
  })
  const property = fc.property(fc.array(splice, { maxLength: 8 }), (splices) => {
    let expected = "a😀b"
    const { after } = update((_, edit) => {
      for (const { at, remove, insert } of splices) {
        const cuts =
          /[\ud800-\udbff]$/.test(expected.slice(0, at)) || /[\ud800-\udbff]$/.test(expected.slice(0, at + remove))
        const act = () => edit.splice("body", at, remove, insert)
        if (cuts || at + remove > expected.length) expect(refusal(act).code).toBe("SPLICE_RANGE")
        else {
          act()
          expected = expected.slice(0, at) + insert + expected.slice(at + remove)
        }
      }
    })
    expect(after["body"]).toBe(expected)
  })
  fc.assert(property, { numRuns: runs(200, 10_000) })
})
