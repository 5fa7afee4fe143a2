import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { ancestors, causalOrder } from "../../src/document/history/graph.ts"
import { History } from "../../src/document/history/history.ts"
import type { Change } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { actorOf, commands, ID, Replica, runs } from "../support/histories.ts"
import { forged, put } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

/**
 * A model of deletion without Automerge. A deletion stands until a replica that has seen it deletes or restores the
 * entity. The entity is deleted if a deletion stands, and if each edit and restore was seen by a replica whose deletion
 * stands, before that replica deleted the entity.
 */
function shouldBeDeleted(
  history: ReadonlyMap<Hash, "edit" | "delete" | "restore">,
  changes: Iterable<Change>,
): boolean {
  const all = [...changes]
  const below = new Map([...history.keys()].map((hash) => [hash, ancestors(all, [hash])]))
  const saw = (later: Hash, earlier: Hash) => later !== earlier && below.get(later)?.has(earlier) === true
  const standing = [...history].filter(
    ([hash, kind]) => kind === "delete" && ![...history].some(([other, what]) => what !== "edit" && saw(other, hash)),
  )
  const edits = [...history].filter(([, kind]) => kind !== "delete")
  return standing.length > 0 && edits.every(([hash]) => standing.some(([deletion]) => saw(deletion, hash)))
}

test("an entity is deleted exactly while the deleters had seen every edit and every restore", () => {
  const seen = { deleted: 0, revived: 0 }
  const property = fc.property(commands(4, 25), (script) => {
    const replicas = [0, 1, 2, 3].map((n) => new Replica(n))
    const history = new Map<Hash, "edit" | "delete" | "restore">()
    for (const [i, command] of script.entries()) {
      const made = (replicas[command.r] as Replica).run(command, replicas, i + 1)
      const kind = command.do === "delete" || command.do === "restore" ? command.do : "edit"
      for (const { hash, time } of made) if (time > 0) history.set(hash, kind)
    }
    for (const { entity, changes } of replicas) {
      const known = new Map([...history].filter(([hash]) => changes.has(hash)))
      expect(entity.deleted).toBe(shouldBeDeleted(known, changes.values()))
    }
    const [first] = replicas as [Replica]
    for (const replica of replicas) first.pull(replica)
    const want = shouldBeDeleted(history, first.changes.values())
    const hydrated = Entity.hydrate(ID, History.of(causalOrder(first.changes.values())), actorOf(9))
    const backwards = Entity.hydrate(ID, History.of(causalOrder((replicas[3] as Replica).changes.values())), actorOf(9))
    backwards.apply(causalOrder(first.changes.values()))
    for (const entity of [first.entity, hydrated, backwards]) {
      expect(entity.deleted).toBe(want)
      expect(entity.facts).toEqual(first.entity.facts)
      expect(entity.facts.deletedAt === undefined).toBe(!want)
    }
    if (want) seen.deleted++
    else if ([...history.values()].includes("delete")) seen.revived++
    for (const entity of [hydrated, backwards, ...replicas]) entity.free()
  })
  // The short run has a fixed seed, because 200 random runs would sometimes have too few deletions or revivals. The
  // long run has a new seed each time.
  fc.assert(property, { numRuns: runs(200, 5000), ...(runs(0, 1) === 0 && { seed: 7 }) })
  // Without enough cases of both kinds the property would prove little.
  expect(seen.deleted).toBeGreaterThan(runs(200, 5000) / 20)
  expect(seen.revived).toBeGreaterThan(runs(200, 5000) / 20)
})

function pair(): [Replica, Replica] {
  const [a, b] = [new Replica(0), new Replica(1)]
  a.update((draft) => void (draft.body = "hello"), 1)
  b.pull(a)
  return [a, b]
}

test("deleting a deleted entity writes nothing, and so does restoring one that is not deleted", () => {
  const [a] = pair()
  expect(a.entity.restore(2)).toEqual([])
  expect(a.keep(a.entity.remove(3))).toHaveLength(1)
  expect(a.entity.remove(4)).toEqual([])
  expect(a.entity.facts).toMatchObject({ deletedAt: 3000 })
  expect(a.keep(a.entity.restore(5))).toHaveLength(1)
  expect(a.entity.deleted).toBe(false)
})

test("a concurrent edit wins over a delete, but the derived change of a container does not", () => {
  const [a, b] = pair()
  a.keep(a.entity.remove(2))
  const [container] = b.update((draft) => void (draft.summary = "more"), 3) as [Change]
  a.entity.apply([container])
  expect(a.entity.deleted).toBe(true)
  a.pull(b)
  expect(a.entity.deleted).toBe(false)
  b.pull(a)
  expect(b.entity.deleted).toBe(false)
})

test("a restore wins over a concurrent delete, and the entity can be deleted again", () => {
  const [a, b] = pair()
  a.keep(a.entity.remove(2))
  b.pull(a)
  a.keep(a.entity.restore(3))
  b.keep(b.entity.restore(3))
  b.keep(b.entity.remove(4))
  a.pull(b)
  expect(a.entity.deleted).toBe(false)
  a.keep(a.entity.remove(5))
  b.pull(a)
  for (const { entity } of [a, b]) expect(entity.deleted).toBe(true)
})

test("after two concurrent deletes one restore brings the entity back", () => {
  const [a, b] = pair()
  a.keep(a.entity.remove(2))
  b.keep(b.entity.remove(7))
  a.pull(b)
  b.pull(a)
  for (const { entity } of [a, b]) expect(entity.facts).toMatchObject({ deletedAt: 7000 })
  a.keep(a.entity.restore(8))
  b.pull(a)
  for (const { entity } of [a, b]) expect(entity.deleted).toBe(false)
})

test("an edit revives an entity only until a change shows that the deleter had seen the edit", () => {
  const { entity } = new Replica(0)
  const [edit] = new Replica(1).update((draft) => void (draft.title = "T"), 2) as [Change]
  const later = forged({ actor: "d".repeat(32), deps: [edit.hash], startOp: edit.maxOp + 1, ops: [put()] })
  // A deletion by this library depends on the heads that it names. This deletion by another tool does not.
  const value = { key: "@deleted", value: later.hash, datatype: undefined }
  const deletion = forged({ deps: [entity.genesis.hash], startOp: 9, time: 5, ops: [put(value)] })
  entity.apply([deletion])
  expect(entity.deleted).toBe(true)
  entity.apply([edit])
  expect(entity.deleted).toBe(false)
  entity.apply([later])
  expect(entity.deleted).toBe(true)
})

test("a write to a deleted entity brings it back", () => {
  const [a] = pair()
  a.keep(a.entity.remove(2))
  a.update((draft) => void (draft.title = "after all"), 3)
  expect(a.entity.deleted).toBe(false)
})
