/** A workspace encodes writes of entities without a document. It must save the same as one that uses Automerge. */
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import type { Env } from "../../src/base/env.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { collection, openWorkspace, shape, text } from "../../src/index.ts"
import { memoryStore } from "../../src/store/memory.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { dice } from "../support/dice.ts"
import { runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

type Note = {
  title?: string
  tags?: number[] | { a: string[] } | number | null
  body?: string
}
const notes = collection("notes", shape<Note>(), { fields: { body: text() } })

type Step = {
  readonly op: "create" | "update" | "delete" | "restore" | "read"
  readonly id: string
  readonly note: Note
}

const note: fc.Arbitrary<Note> = fc.record(
  {
    title: fc.string({ maxLength: 5 }),
    tags: fc.oneof(
      fc.array(fc.integer({ min: -3, max: 300 }), { maxLength: 4 }),
      fc.constantFrom(null, { a: ["x"] }, Number.NaN),
    ),
    body: fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom("", "é😀", "x".repeat(5000))),
  },
  { requiredKeys: [] },
)
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom("create", "create", "create", "update", "update", "update", "delete", "restore", "read"),
  id: fc.constantFrom("a", "b", "c", "d"),
  note,
})
/**
 * Steps that begin in one turn form a group, which is saved with one commit. Before some groups the workspace is opened
 * again, so that no entity has a document and the session has a new actor.
 */
const group = fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 6 }), reopened: fc.boolean() })
const groups = fc.array(group, { minLength: 1, maxLength: 8 })
type Group = typeof group extends fc.Arbitrary<infer T> ? T : never

async function play(script: readonly Group[], encodeWrites: boolean) {
  const store = memoryStore()
  const random = dice(7)
  let now = 1_700_000_000_000
  const env: Env = {
    ...systemEnv,
    now: () => now,
    random: (n) => Uint8Array.from({ length: n }, () => random() * 256),
    sizes: { encodeWrites },
  }
  const told: unknown[] = []
  const open = async () => {
    const opened = await openWorkspace({ id: "w", collections: { notes }, store, env })
    opened.notes.subscribe((rows, delta) => told.push(structuredClone({ rows, delta })))
    return opened
  }
  let ws = await open()
  const did = async ({ op, id, note }: Step): Promise<unknown> => {
    if (op === "create") return ws.notes.create(note, { id })
    if (op === "update") return ws.notes.update(id, (draft) => void Object.assign(draft, note))
    return ws.notes[op](id)
  }
  const outcomes: unknown[] = []
  for (const { steps, reopened } of script) {
    now += 1500
    if (reopened) {
      await ws.close()
      ws = await open()
    }
    outcomes.push(await Promise.all(steps.map((step) => did(step).catch(({ code, message }) => [code, message]))))
  }
  const release = await store.claim("other")
  await ws.close()
  const disk = await store.list([])
  await release()
  return { outcomes, told, disk }
}

test("the outcomes, the rows, what subscribers are told and every record on the disk are the same", async () => {
  const seen = { done: 0, refused: 0, twice: 0 }
  const property = fc.asyncProperty(groups, async (script) => {
    const encoded = await play(script, true)
    const made = await play(script, false)
    expect(encoded).toEqual(made)
    for (const outcome of encoded.outcomes.flat()) {
      if (!Array.isArray(outcome)) seen.done++
      else if (outcome[0] === "ENTITY_EXISTS") seen.twice++
      else seen.refused++
    }
  })
  await fc.assert(property, { numRuns: runs(40, 3000) })
  for (const times of Object.values(seen)) expect(times).toBeGreaterThan(20)
})
