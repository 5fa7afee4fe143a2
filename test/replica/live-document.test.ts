import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { beforeAll, expect, test } from "vitest"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { History } from "../../src/document/history/history.ts"
import type { Held } from "../../src/replica/disk/change-record.ts"
import { Live } from "../../src/replica/live-document.ts"
import type { Changes } from "../../src/schema/draft.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { actorOf, createdNote, ID, notes } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

const collection = "notes"

/** Types a letter into the note, or deletes it if `n` is odd. */
function type(entity: Entity, n: number): Change[] {
  const splice = { key: "body", at: 1, remove: n % 2, insert: n % 2 === 0 ? "x" : "" }
  const changes: Changes = { set: new Map(), remove: [], text: new Map(), splices: [splice] }
  return entity.write(notes, changes, 5 + n)
}

/** Makes a live document with `count` edits. Nothing but the result refers to its changes. */
function typed(count: number): Live {
  const live = new Live(Entity.create(ID, collection, actorOf(0)))
  const hold = (changes: Change[]) => {
    for (const change of changes) live.add({ change, collection, by: "alice" })
  }
  live.add({ change: live.entity.genesis, collection })
  // These changes have no `by`: the relay had not named the principal when the note was made.
  for (const change of live.entity.write(notes, createdNote({ body: "hello" }), 5)) live.add({ change, collection })
  for (let n = 0; n < count; n++) hold(type(live.entity, n))
  return live
}

test("the heap hardly grows with the changes of a document", () => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  const used = () => {
    for (let n = 0; n < 4; n++) collect()
    return process.memoryUsage().heapUsed
  }
  const live = typed(2000)
  const before = used()
  for (let n = 0; n < 8000; n++)
    for (const change of type(live.entity, n)) live.add({ change, collection, by: "alice" })
  // A change that is kept as an object takes 850 bytes of heap.
  expect((used() - before) / 8000).toBeLessThan(40)
  expect(live.changes.size).toBe(10_003)
})

test("a change is given back as it was added, also when its entry differs from others of its actor", () => {
  const changes = [...typed(600).changes.values()]
  const live = new Live(Entity.hydrate(ID, History.of(changes), actorOf(1)))
  const added = changes.map((change, n): Held => {
    if (n < 5) return { change, collection } // made before the relay had named the principal
    if (n === 100) return { change, collection, by: "bob", adopted: true }
    return { change, collection, by: "alice", ...(n === 200 && { once: Uint8Array.of(1) }) }
  })
  for (const held of added) live.add(held)
  for (const held of added) expect(live.held(held.change.hash)).toEqual(held)
  for (const { change, by } of added) expect(live.by(change.hash)).toBe(by)
  expect(live.held("0".repeat(64))).toBeUndefined()
  expect(live.by("0".repeat(64))).toBeUndefined()
})
