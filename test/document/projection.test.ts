import { runInNewContext } from "node:vm"
import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import type { Handle } from "../../src/document/automerge.ts"
import { readCell } from "../../src/document/cells.ts"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { causalOrder } from "../../src/document/history/graph.ts"
import { History } from "../../src/document/history/history.ts"
import { project, projectionVersion } from "../../src/document/projection.ts"
import { withDefaults } from "../../src/schema/defaults.ts"
import { preview } from "../../src/schema/preview.ts"
import { type AnyDef, collection, shape, text } from "../../src/schema/schema.ts"
import type { Row } from "../../src/schema/types.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { actorOf, commands, createdNote, ID, type Note, notes, play, runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

/**
 * Returns an order in which a network could deliver the changes: each after its deps, otherwise chosen by `numbers`.
 */
function shuffled(changes: Iterable<Change>, numbers: readonly number[]): Change[] {
  const left = causalOrder(changes)
  const placed = new Set<string>()
  const order: Change[] = []
  while (left.length > 0) {
    const ready = left.filter(({ deps }) => deps.every((dep) => placed.has(dep)))
    const next = ready[(numbers[order.length % numbers.length] ?? 0) % ready.length] as Change
    left.splice(left.indexOf(next), 1)
    placed.add(next.hash)
    order.push(next)
  }
  return order
}

test("replicas that hold the same changes store the same row, whatever the order and the batches of arrival", () => {
  const property = fc.property(
    commands(4, 30, 1),
    fc.array(fc.nat(99), { minLength: 1, maxLength: 20 }),
    (script, numbers) => {
      const replicas = play(4, script)
      const [first, ...others] = replicas as [(typeof replicas)[0], ...typeof replicas]
      for (const other of others) first.pull(other)
      const row = JSON.stringify(project(first.entity, notes))
      for (const other of others) {
        other.pull(first)
        expect(JSON.stringify(project(other.entity, notes))).toBe(row)
        expect(other.entity.heads).toEqual(first.entity.heads)
      }
      const order = shuffled(first.changes.values(), numbers)
      const whole = Entity.hydrate(ID, History.of(order), actorOf(9))
      expect(JSON.stringify(project(whole, notes))).toBe(row)
      expect(whole.facts).toEqual(first.entity.facts)
      const step = 1 + ((numbers[0] ?? 0) % 4)
      const batches = Entity.hydrate(ID, History.of(order.slice(0, step)), actorOf(9))
      for (let i = step; i < order.length; i += step) batches.apply(order.slice(i, i + step))
      expect(JSON.stringify(project(batches, notes))).toBe(row)
      for (const entity of [whole, batches]) entity.free()
      for (const replica of replicas) replica.free()
    },
  )
  fc.assert(property, { numRuns: runs(100, 5000) })
})

test("a document that Automerge saved and loaded again gives the same row", () => {
  const property = fc.property(commands(3, 20, 1), (script) => {
    const replicas = play(3, script)
    for (const replica of replicas.slice(1)) replicas[0]?.pull(replica)
    const { entity, changes } = replicas[0] as (typeof replicas)[0]
    const applied = Automerge.applyChanges(
      Automerge.init(),
      [...changes.values()].map(({ chunk }) => chunk),
    )[0]
    const loaded = Automerge.load(Automerge.save(applied))
    const back = causalOrder(Automerge.getAllChanges(loaded).map((chunk) => readChange(chunk)))
    expect(back.map(({ hash }) => hash).sort()).toEqual([...changes.keys()].sort())
    const again = Entity.hydrate(ID, History.of(back), actorOf(9))
    expect(JSON.stringify(project(again, notes))).toBe(JSON.stringify(project(entity, notes)))
    again.free()
    for (const replica of replicas) replica.free()
  })
  fc.assert(property, { numRuns: runs(40, 1000) })
})

function rowOf(input: Partial<Note>, def: AnyDef | null = notes) {
  const entity = Entity.create(ID, "notes", actorOf(0))
  entity.write(notes, createdNote(input), 7)
  const row = project(entity, def ?? undefined)
  entity.free()
  return row
}

test("keys are sorted at every depth, and times are milliseconds", () => {
  expect(JSON.stringify(rowOf({ title: "T", meta: { b: [{ deep: "x" }], a: 1 } }))).toBe(
    `{"$conflicts":[],"$createdAt":7000,"$updatedAt":7000,"id":"${ID}","meta":{"a":1,"b":[{"deep":"x"}]},"title":"T"}`,
  )
})

test("a text of 4,096 UTF-8 bytes is in the row, a longer one is there only as preview and length", () => {
  expect(rowOf({ body: "x".repeat(4096) })["body"]).toHaveLength(4096)
  expect(rowOf({ body: "é".repeat(2048) })["body"]).toHaveLength(2048)
  expect(rowOf({ body: "😀".repeat(1024) })["body"]).toHaveLength(2048)
  expect(rowOf({ body: "€".repeat(1365) })["body"]).toHaveLength(1365)
  for (const body of ["x".repeat(4097), `${"é".repeat(2048)}x`, `${"😀".repeat(1024)}x`, "€".repeat(1366)]) {
    const row = rowOf({ body })
    expect(row).not.toHaveProperty("body")
    expect(row.$long).toEqual({ body: { length: body.length, preview: body.slice(0, 256) } })
  }
  expect(rowOf({ body: `x${"😀".repeat(2000)}` }).$long?.["body"]?.preview).toBe(`x${"😀".repeat(127)}`)
})

test("a long register is left out of the row like a long text; in an unknown collection every field stays", () => {
  const title = `data:image/png;base64,${"A".repeat(700_000)}`
  const row = rowOf({ title, n: 1 })
  expect(row).not.toHaveProperty("title")
  expect(row.$long).toEqual({ title: { length: title.length, preview: title.slice(0, 256) } })
  expect(preview(row as unknown as NoteRow, "title", 22)).toBe("data:image/png;base64,")
  const meta = { b: Array.from({ length: 300 }, (_, i) => ({ deep: `point ${i}` })) }
  const json = JSON.stringify(meta)
  expect(rowOf({ meta }).$long).toEqual({ meta: { length: json.length, preview: json.slice(0, 256) } })
  expect(rowOf({ meta: { a: 1 } })).toMatchObject({ meta: { a: 1 } })
  expect(rowOf({ body: "x".repeat(5000), title }, null)).toMatchObject({ body: "x".repeat(5000), title })
})

test("a row shows no default in place of a long register", () => {
  const def = collection("notes", shape<Note>(), { defaults: { title: "Untitled" } })
  expect(withDefaults(def, rowOf({ title: "x".repeat(5000) }, def))).not.toHaveProperty("title")
})

test("defaults are not stored: they are joined when a row is read", () => {
  const def = collection("notes", shape<Note>(), {
    fields: { body: text(), summary: text() },
    defaults: { title: "Untitled", n: 3 },
  })
  const row = rowOf({ body: "x".repeat(5000), n: 0 }, def)
  expect(row).not.toHaveProperty("title")
  const read = withDefaults(def, row)
  expect(read).toMatchObject({ title: "Untitled", n: 0, summary: "" })
  expect(read).not.toHaveProperty("body")
})

type NoteRow = Row<typeof notes.schema, typeof notes.fields, typeof notes.defaults>

test("a preview is the start of a text and never ends in half a character", () => {
  const row = (body: string) => rowOf({ body, title: "T" }) as unknown as NoteRow
  expect(preview(row("ab😀cd"), "body")).toBe("ab😀cd")
  expect(preview(row("ab😀cd"), "body", 3)).toBe("ab")
  expect(preview(row("ab😀cd"), "body", 0)).toBe("")
  expect(preview(row("y".repeat(9000)), "body", 100)).toBe("y".repeat(100))
  expect(preview(row("y".repeat(9000)), "body", 1000)).toBe("y".repeat(256))
  expect(preview(row(""), "summary")).toBe("")
})

test("the projection's version depends on a collection's fields and kinds, not on their order", () => {
  const tasks = shape<{ a: string; b: string }>()
  const both = projectionVersion(collection("tasks", tasks, { fields: { b: text(), a: text() } }))
  expect(both).toBe(projectionVersion(collection("tasks", tasks, { fields: { a: text(), b: text() } })))
  expect(both).not.toBe(projectionVersion(collection("tasks", tasks, { fields: { b: text() } })))
  expect(both).toContain("a:text")
})

test("a date and bytes are read as such though Automerge runs in another realm, as in a test's page", () => {
  const values = [
    ["timestamp", runInNewContext("new Date(5)"), "1@aa"],
    ["bytes", runInNewContext("new Uint8Array(2)"), "2@aa"],
    ["map", "3@aa"],
  ] as const
  const read = values.map((value) => {
    const inside = { a: runInNewContext("[new Date(6), new Uint8Array(2)]") }
    const handle = { getAll: () => [value], materialize: () => inside } as unknown as Handle
    return readCell(handle, "key", () => "")?.value
  })
  expect(read).toEqual([5, undefined, { a: [6, null] }])
})
