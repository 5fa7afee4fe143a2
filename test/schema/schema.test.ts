import { runInNewContext } from "node:vm"
import type { StandardSchemaV1 } from "@standard-schema/spec"
import * as v from "valibot"
import { expect, test } from "vitest"
import { z } from "zod"
import type { HeadwaterError } from "../../src/base/errors.ts"
import { created, edited, type Fields } from "../../src/schema/draft.ts"
import { type AnyDef, collection, shape, text } from "../../src/schema/schema.ts"

const Note = z.object({
  title: z.string().max(5).trim(),
  body: z.string().default(""),
  tags: z.array(z.string()).default(["new"]),
  n: z.number().optional(),
})
const notes = collection("notes", Note, { fields: { body: text() } })
const errorOf = (act: () => unknown): HeadwaterError => {
  try {
    act()
  } catch (error) {
    return error as HeadwaterError
  }
  throw new Error("it did not throw")
}
const written = (def: AnyDef, input: unknown) => {
  const { set, text } = created(def, input).changes
  return Object.fromEntries([...set, ...text])
}
const update = (def: AnyDef, before: Fields, f: (draft: any) => void) => edited(def, before, f).changes

/** Makes a Standard Schema that records in `shown` every value that it validates. */
function spy(validate: StandardSchemaV1<any, any>["~standard"]["validate"] = (value) => ({ value })) {
  const shown: unknown[] = []
  const schema: StandardSchemaV1<any, any> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) => {
        shown.push(structuredClone(value))
        return validate(value)
      },
    },
  }
  return { schema, shown }
}

test("a create writes what the schema returns: defaults and transforms", () => {
  expect(written(notes, { title: " a " })).toEqual({ title: "a", body: "", tags: ["new"] })
  const valibot = collection("v", v.object({ title: v.optional(v.string(), "x"), n: v.nullable(v.number()) }))
  expect(written(valibot, { n: null })).toEqual({ title: "x", n: null })
})

test("keys that the schema does not know are kept", () => {
  expect(written(notes, { title: "a", source: { file: "x.md" } })).toMatchObject({
    title: "a",
    source: { file: "x.md" },
  })
  const after = update(notes, { title: "a", body: "", tags: [], newer: 1 }, (draft) => (draft.title = "b"))
  expect([...after.set]).toEqual([["title", "b"]])
  expect(after.remove).toEqual([])
})

test("the error of a refused input has all issues, and the field of the first issue", () => {
  const error = errorOf(() => created(notes, { title: "far too long", n: "x" }))
  expect(error).toMatchObject({ name: "HeadwaterError", code: "SCHEMA_ISSUES", field: "title" })
  expect(error.issues?.map(({ path }) => path)).toEqual([["title"], ["n"]])
  const nested = collection("n", v.object({ list: v.array(v.object({ x: v.number() })) }))
  expect(errorOf(() => created(nested, { list: [{ x: "no" }] }))).toMatchObject({
    code: "SCHEMA_ISSUES",
    field: "list",
  })
})

test("the keys id, $... and @... are refused, and the schema never sees them", () => {
  const { schema, shown } = spy()
  const def = collection("s", schema)
  const error = errorOf(() => created(def, { id: "x", $createdAt: 1, "@type": "t", title: "a" }))
  expect(error).toMatchObject({ code: "SCHEMA_ISSUES", field: "id" })
  expect(error.issues?.map(({ path }) => path)).toEqual([["id"], ["$createdAt"], ["@type"]])
  expect(shown).toEqual([])
  created(def, { id: undefined, title: "a" })
  expect(shown).toEqual([{ title: "a", id: undefined }])
  const adding = collection("s", spy((value) => ({ value: { ...(value as object), id: "made up" } })).schema)
  expect(errorOf(() => created(adding, {})).code).toBe("SCHEMA_ISSUES")
})

test("an update is refused only for the issues that it adds", () => {
  const old = { title: "written by a version that allowed more", body: "", tags: [] }
  expect([...update(notes, old, (draft) => (draft.n = 5)).set]).toEqual([["n", 5]])
  const error = errorOf(() => update(notes, old, (draft) => (draft.n = "five")))
  expect(error).toMatchObject({ code: "SCHEMA_ISSUES", field: "n" })
  expect(error.issues).toHaveLength(1)
  expect([...update(notes, old, (draft) => (draft.title = "ok")).set]).toEqual([["title", "ok"]])
  expect(errorOf(() => update(notes, { ...old, title: "ok" }, (draft) => (draft.title = "not ok"))).field).toBe("title")
  expect(errorOf(() => update(notes, { ...old, title: "ok" }, (draft) => delete draft.title)).field).toBe("title")
})

test("an update writes assigned values as they are, because the schema only accepts or refuses them", () => {
  const deep = collection("d", z.object({ meta: z.object({ a: z.string().trim() }) }))
  const { set } = update(deep, { meta: { a: "x", newer: 1 } }, (draft) => (draft.meta.a = " y "))
  expect([...set]).toEqual([["meta", { a: " y ", newer: 1 }]])
})

test("an accepted update is validated once, a refused one twice, and one that changes nothing never", () => {
  const { schema, shown } = spy((value) => ((value as any).bad ? { issues: [{ message: "bad" }] } : { value }))
  const def = collection("s", schema, { fields: { body: text() }, defaults: { color: "none" } })
  update(def, { a: 1 }, (draft) => (draft.a = 1))
  expect(shown).toEqual([])
  update(def, { a: 1 }, (draft) => (draft.a = 2))
  expect(shown).toEqual([{ a: 2, body: "", color: "none" }])
  expect(errorOf(() => update(def, { a: 1 }, (draft) => (draft.bad = true))).code).toBe("SCHEMA_ISSUES")
  expect(shown).toHaveLength(3)
})

test("an asynchronous schema is SCHEMA_ASYNC, and its rejection does not go unhandled", async () => {
  const def = collection("s", spy(async () => Promise.reject(new Error("late"))).schema)
  expect(errorOf(() => created(def, {})).code).toBe("SCHEMA_ASYNC")
  expect(errorOf(() => update(def, {}, (draft) => (draft.a = 1))).code).toBe("SCHEMA_ASYNC")
  await new Promise((resolve) => setTimeout(resolve, 5))
})

test.each([
  ["a thenable", "({ then: (_, reject) => reject(new Error('late')) })"],
  ["a promise of another realm", "Promise.reject(new Error('late'))"],
])("%s counts as an asynchronous answer, too", async (_, answer) => {
  const def = collection("s", spy(() => runInNewContext(answer)).schema)
  expect(errorOf(() => created(def, {})).code).toBe("SCHEMA_ASYNC")
  expect(errorOf(() => update(def, {}, (draft) => (draft.a = 1))).code).toBe("SCHEMA_ASYNC")
  await new Promise((resolve) => setTimeout(resolve, 5))
})

test("a schema that throws refuses the input, with the error's message", () => {
  const def = collection(
    "s",
    spy(() => {
      throw new Error("broken")
    }).schema,
  )
  expect(errorOf(() => created(def, {}))).toMatchObject({
    code: "SCHEMA_ISSUES",
    issues: [{ message: "the schema threw: broken" }],
  })
})

test("collections with `shape` or without a schema refuse nothing", () => {
  for (const def of [collection("p", shape<any>()), collection("f", undefined)]) {
    expect(written(def, { anything: [1, { goes: true }] })).toEqual({ anything: [1, { goes: true }] })
  }
})

test("collection() throws at once when a definition is wrong", () => {
  const wrong = { kind: "txet" } as any
  expect(errorOf(() => collection("no spaces", undefined)).code).toBe("ID_INVALID")
  expect(errorOf(() => collection("a", undefined, { fields: { body: wrong } }))).toMatchObject({
    code: "FIELD_KIND",
    field: "body",
  })
  expect(errorOf(() => collection("a", undefined, { fields: { $x: text() } as any }))).toMatchObject({
    code: "VALUE_UNSUPPORTED",
    field: "$x",
  })
  expect(errorOf(() => collection("a", undefined, { fields: { b: text() }, defaults: { b: "x" } }))).toMatchObject({
    code: "FIELD_KIND",
    field: "b",
  })
  expect(errorOf(() => collection("a", undefined, { defaults: { n: Number.NaN } }))).toMatchObject({
    code: "VALUE_UNSUPPORTED",
    field: "n",
  })
  expect(errorOf(() => collection("a", undefined, { defaults: { id: "x" } }))).toMatchObject({
    code: "VALUE_UNSUPPORTED",
    field: "id",
  })
  expect(collection("a", undefined, { defaults: { x: undefined } }).defaults).toEqual({})
})
