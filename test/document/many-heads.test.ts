import { beforeAll, expect, test } from "vitest"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { History } from "../../src/document/history/history.ts"
import { readRow } from "../../src/document/reader/read-row.ts"
import { verdicts } from "../../src/document/verdicts.ts"
import { type Change, isDerived } from "../../src/wire/chunk.ts"
import { limits } from "../../src/wire/protocol.ts"
import { actorOf, createdNote, ID, notes } from "../support/histories.ts"
import { forged, hashes, put } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

/** The changes of a note with `heads` heads: that many devices have written to it at the same time. */
function concurrent(heads: number): Change[] {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const write = (i: number) =>
    forged({
      actor: `a${i.toString(16).padStart(31, "0")}`,
      startOp: 2,
      time: 1,
      deps: [genesis.hash],
      ops: [put({ key: "n", value: i })],
    })
  return [genesis, ...Array.from({ length: heads }, (_, i) => write(i))]
}
const hydrate = (changes: readonly Change[], n: number) => Entity.hydrate(ID, History.of(changes), actorOf(n))

test.each([limits.heads, limits.heads + 1, 2 * limits.heads + 500])(
  "an edit of an entity with %i heads merges them first, alike on every replica",
  (heads) => {
    const before = concurrent(heads)
    const entity = hydrate(before, 1)
    expect(entity.heads).toHaveLength(heads)
    const made = entity.write(notes, createdNote({ title: "mine" }), 5)
    const merges = made.slice(0, -1)
    expect(merges.length).toBeGreaterThan(0)
    for (const merge of merges) expect([isDerived(ID, merge), merge.time]).toEqual([true, 0])
    for (const { deps } of made) expect(deps.length).toBeLessThanOrEqual(limits.heads)
    expect(entity.heads).toEqual([made.at(-1)!.hash])
    expect(entity.whole(notes)).toMatchObject({ title: "mine" })
    const others = hydrate(before, 2).write(notes, createdNote({ title: "theirs" }), 6)
    expect(hashes(others.slice(0, -1))).toEqual(hashes(merges))
    // Every replica accepts these changes, whichever way it reads them.
    const all = [...before, ...made]
    expect(verdicts(ID, all, hashes(made))).toMatchObject({ bad: new Map(), waiting: [] })
    const read = readRow(ID, all, hashes(made), () => notes)
    expect(read).toMatchObject({ row: { title: "mine" } })
    entity.free()
  },
  30_000,
)

test("an entity with too many heads is deleted and restored like any other", () => {
  const entity = hydrate(concurrent(limits.heads + 10), 1)
  const removed = entity.remove(5)
  expect([removed.length, entity.deleted]).toEqual([2, true])
  expect(entity.restore(6)).toHaveLength(1)
  expect(entity.deleted).toBe(false)
  entity.free()
}, 30_000)

test("an edit that changes nothing merges nothing", () => {
  const entity = hydrate(concurrent(limits.heads + 10), 1)
  const { heads } = entity
  expect(entity.write(notes, createdNote({}), 5)).toEqual([])
  expect(entity.heads).toEqual(heads)
  expect(entity.write(notes, createdNote({ title: "mine" }), 6)).toHaveLength(2)
  entity.free()
}, 30_000)
