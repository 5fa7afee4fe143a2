/** Only `tsc` checks this file. The line after a `@ts-expect-error` must not compile, and every other line must. */
import { collection, preview, type RowOf, shape, text } from "headwater"
import * as v from "valibot"
import { z } from "zod"
import type { AnyDef } from "../../src/schema/schema.ts"
import type { Edit, In, Row, Whole } from "../../src/schema/types.ts"

// ── misuses ───────────────────────────────────────────────────────────────────────────────────────────────────────────
// @ts-expect-error a Date is not JSON
collection("a", z.object({ at: z.date() }))
// @ts-expect-error a Date deep inside is not JSON
collection("a", z.object({ deep: z.array(z.object({ at: z.date() })) }))
// @ts-expect-error a bigint is not JSON
collection("a", z.object({ big: z.bigint() }))
// @ts-expect-error a transform must not change the type
collection("a", z.object({ slug: z.string().transform((s) => s.length) }))
// @ts-expect-error a field must not be called id
collection("a", z.object({ id: z.string(), t: z.string() }))
// @ts-expect-error the name of a field must not begin with $
collection("a", z.object({ $createdAt: z.number() }))
// @ts-expect-error the name of a field must not begin with @
collection("a", shape<{ "@type": string }>())
// @ts-expect-error a boolean cannot be a text()
collection("a", z.object({ b: z.boolean() }), { fields: { b: text() } })
// @ts-expect-error an array cannot be a text()
collection("a", z.object({ l: z.array(z.string()) }), { fields: { l: text() } })
// @ts-expect-error the schema has no such field
collection("a", z.object({ body: z.string() }), { fields: { body: text(), bdoy: text() } })
// @ts-expect-error the default has the wrong type
collection("a", z.object({ n: z.number() }), { defaults: { n: "1" } })

// ── a definition and its row ──────────────────────────────────────────────────────────────────────────────────────────
const ok = collection(
  "a",
  z.object({
    n: z.number().optional(),
    tags: z.array(z.string()).optional(),
    body: z.string().optional(),
    x: z.string().optional(),
  }),
  { fields: { body: text() }, defaults: { n: 0 } },
)
export const name: "a" = ok.name
export const erased: AnyDef = ok
declare const row: RowOf<typeof ok>
export const n: number = row.n
export const x: string | undefined = row.x
export const body: string | undefined = row.body
export const start: string = preview(row, "body", 120)
export const made: number = row.$createdAt
export const who: string | null = row.$createdBy
// @ts-expect-error a long text is absent from the row
export const body2: string = row.body
// @ts-expect-error an array in a row is read-only
row.tags?.push("x")
// @ts-expect-error a field of a row is read-only
row.x = "y"
// @ts-expect-error there is no such field
preview(row, "nope")

// ── drafts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
type Draft = Whole<typeof ok.schema, typeof ok.fields, typeof ok.defaults>
declare const draft: Draft
declare const edit: Edit<typeof ok.schema, typeof ok.fields>
export const whole: string = draft.body
export const counted: number = draft.n
draft.x = undefined
draft.tags = [...(draft.tags ?? []), "x"]
edit.splice("body", 0, 1, "x")
// @ts-expect-error the field is not a text()
edit.splice("x", 0, 1)
// @ts-expect-error a text is never undefined
draft.body = undefined
// @ts-expect-error a draft has no metadata
export const id = draft.id

// ── other schemas ─────────────────────────────────────────────────────────────────────────────────────────────────────
interface Step {
  id: string
  text: string
  done: boolean
}
interface NoteI {
  title: string
  body: string
  meta?: { source: string; pages: number[] }
  steps: Step[]
}
const plain = collection("a", shape<NoteI>(), { fields: { body: text() } })
declare const plainRow: RowOf<typeof plain>
export const done: boolean | undefined = plainRow.steps[0]?.done
// @ts-expect-error a row is read-only at every depth
plainRow.meta?.pages.push(1)

const b = collection(
  "b",
  v.object({ title: v.optional(v.string(), ""), body: v.string(), n: v.nullable(v.number()) }),
  {
    fields: { body: text() },
    defaults: { n: null },
  },
)
declare const bRow: RowOf<typeof b>
export const bTitle: string = bRow.title
export const bN: number | null = bRow.n
// @ts-expect-error the default is null
export const bNumber: number = bRow.n
export const bInput: In<typeof b.schema> = { body: "x", n: 1 }

// A default makes only its own key required in the row, also if it is an array or an object.
interface Filed {
  title: string
  tags?: string[]
  meta?: { source: string; pages: number[] }
  due?: number
  note?: string
}
const filed = collection("filed", shape<Filed>(), { defaults: { tags: [], meta: { source: "", pages: [1] } } })
declare const filedRow: RowOf<typeof filed>
export const tagged: readonly string[] = filedRow.tags
export const source: string = filedRow.meta.source
// @ts-expect-error the field has no default
export const due: number = filedRow.due
// @ts-expect-error this field has no default, either
export const note: string = filedRow.note
// @ts-expect-error the items of the default have the wrong type
collection("filed", shape<Filed>(), { defaults: { tags: [1] } })
// A default that may be missing makes no key required.
declare const some: Partial<Filed>
const maybe = collection("filed", shape<Filed>(), { defaults: some })
declare const maybeRow: RowOf<typeof maybe>
// @ts-expect-error the default may be missing
export const maybeDue: number = maybeRow.due

const free = collection("free", undefined, { fields: { body: text() } })
declare const freeRow: RowOf<typeof free>
export const anything: number = freeRow["whatever"]
declare const freeEdit: Edit<typeof free.schema, typeof free.fields>
freeEdit.splice("body", 5, 0, " world")

const metrics = collection("metrics", z.object({ n: z.number() }))
export type Metrics = Row<typeof metrics.schema, typeof metrics.fields, typeof metrics.defaults>
export const metric = (r: Metrics): number => r.n

// The definition of a notes app, with everything that this version supports.
const Step = z.object({ id: z.string(), text: z.string(), done: z.boolean() })
const Note = z.object({
  title: z.string(),
  body: z.string().default(""),
  tags: z.array(z.string()).default([]),
  pinned: z.boolean().default(false),
  color: z.enum(["none", "red", "blue"]).default("none"),
  due: z.number().optional(),
  steps: z.array(Step).default([]),
})
export const notes = collection("notes", Note, {
  fields: { body: text() },
  defaults: { title: "", pinned: false, color: "none" },
})
export const card = (r: RowOf<typeof notes>) => ({
  title: r.title || "Untitled",
  line: preview(r, "body", 120),
  color: r.color satisfies "none" | "red" | "blue",
  due: r.due satisfies number | undefined,
})
