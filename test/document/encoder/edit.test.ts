/** Compares edits that are encoded in plain JavaScript with the same edits made by Automerge, in random documents. */
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import { hex } from "../../../src/base/hash.ts"
import { deletion, encodeEdit, plannedEdit, RESTORATION } from "../../../src/document/encoder/edit.ts"
import { Entity, loadAutomerge } from "../../../src/document/entity.ts"
import { causalOrder } from "../../../src/document/history/graph.ts"
import { History } from "../../../src/document/history/history.ts"
import { project } from "../../../src/document/projection.ts"
import { accepted, readSound } from "../../../src/document/reader/read-row.ts"
import type { FieldWrite } from "../../../src/document/writing.ts"
import { type Changes, edited, type Fields } from "../../../src/schema/draft.ts"
import { isText } from "../../../src/schema/schema.ts"
import type { Change } from "../../../src/wire/chunk.ts"
import { actorOf, ID, notes, runs } from "../../support/histories.ts"
import { randomHistory } from "../reader/random-history.ts"

beforeAll(() => loadAutomerge())

const TIME = 1_700_000_000

const scalar = fc.oneof(
  fc.string({ unit: "binary", maxLength: 10 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom(0, 1, -1, "", "a", "b"),
)
const key = fc.constantFrom("title", "tags", "meta", "n", "key é", "10", "new", "body", "summary")
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 4 }), fc.dictionary(key, scalar))
const edit = fc.oneof(
  {
    arbitrary: fc.record({
      set: fc.uniqueArray(fc.tuple(key, value), { minLength: 1, maxLength: 4, selector: ([name]) => name }),
      remove: fc.uniqueArray(key, { maxLength: 2 }),
    }),
    weight: 4,
  },
  { arbitrary: fc.constant("delete" as const), weight: 1 },
  { arbitrary: fc.constant("restore" as const), weight: 1 },
)
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never

const readable = (changes: readonly Change[]) => changes.map((change) => ({ ...change, chunk: hex(change.chunk) }))

/** Makes the edit as an app does, in a draft of the fields. */
function changesOf(before: Readonly<Fields>, { set, remove }: Exclude<Edit, string>): Changes {
  const { changes } = edited<Fields, unknown>(notes, before, (draft) => {
    for (const name of remove) delete draft[name]
    for (const [name, value] of set) draft[name] = isText(notes, name) ? JSON.stringify(value) : value
  })
  return changes
}

type Outcome = "unread" | "declined" | "nothing" | "same"

/** Makes one edit both ways, by an actor who may have written to the document before, and compares bytes and row. */
function compare(history: readonly Change[], actor: string, what: Edit, time: number): Outcome {
  const reader = readSound(ID, history)
  if (reader === undefined || accepted(() => reader.whole(notes)) === undefined) return "unread"
  const entity = Entity.hydrate(ID, History.of(causalOrder(history)), actor)
  try {
    const isDeleted = reader.facts.deletedIn !== undefined
    expect(isDeleted).toBe(entity.deleted)
    let made: Change[]
    let encoded: Change[] | undefined
    const encode = (writes: readonly FieldWrite[]) => encodeEdit(reader, writes, actor, time)
    if (what === "delete") {
      made = entity.remove(time)
      encoded = isDeleted ? [] : encode([deletion(reader.history.heads)])
    } else if (what === "restore") {
      made = entity.restore(time)
      encoded = isDeleted ? encode([RESTORATION]) : []
    } else {
      const changes = changesOf(reader.whole(notes), what)
      const writes = plannedEdit(reader, notes, changes)
      if (writes === undefined) return "declined"
      made = entity.write(notes, changes, time)
      encoded = encode(writes)
    }
    if (encoded === undefined) return "declined"
    expect(readable(encoded)).toEqual(readable(made))
    if (encoded.length === 0) return "nothing"
    for (const change of encoded) {
      reader.read(change)
      reader.history.add(change)
    }
    expect(JSON.stringify(project(reader, notes))).toBe(JSON.stringify(project(entity, notes)))
    return "same"
  } finally {
    entity.free()
  }
}

test("a random edit of a random document has the bytes that Automerge gives it, and makes the same row", () => {
  const counts = new Map<Outcome, number>()
  const all = runs(150, 20_000)
  const property = fc.property(fc.nat(), fc.integer({ min: 1, max: 5 }), edit, fc.nat(), (seed, author, what, time) => {
    const history = randomHistory(seed)
    // Half of the edits are by an actor without changes in the history.
    const actor = seed % 2 === 0 ? actorOf(author) : "f".repeat(32)
    const outcome = compare(history, actor, what, TIME + time)
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  })
  fc.assert(property, { numRuns: all })
  console.log(`${all} edits: ${JSON.stringify([...counts])}`)
  expect(counts.get("same")).toBeGreaterThan(all / 4)
  expect(counts.get("nothing")).toBeGreaterThan(0)
})
