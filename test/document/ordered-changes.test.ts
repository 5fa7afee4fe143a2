import { expect, test } from "vitest"
import { History } from "../../src/document/history/history.ts"
import { OrderedChanges } from "../../src/document/history/ordered-changes.ts"
import type { Change } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { actorOf, change } from "../support/changes.ts"

/** Makes a chain of changes by two actors in turn. Every 50th chunk is larger than a buffer of packed changes. */
function chain(count: number): Change[] {
  const changes: Change[] = []
  for (let n = 0; n < count; n++) {
    const before = changes.at(-1)
    changes.push(
      change({
        actor: actorOf(n % 2),
        seq: 1 + (n >> 1),
        startOp: 1 + n,
        deps: before ? [before.hash] : [],
        value: n % 50 === 49 ? "x".repeat(70_000) : `value ${n}`,
      }),
    )
  }
  return changes
}

/** The hashes of changes. Packed changes are read from their bytes again, so equal hashes show equal bytes. */
const hashes = (changes: Iterable<Change>): Hash[] => Array.from(changes, ({ hash }) => hash)

test("packed changes are the same changes, in the same order and at the same places", () => {
  const all = chain(400)
  const changes = new OrderedChanges()
  for (const [n, one] of all.entries()) {
    expect(changes.has(one.hash)).toBe(false)
    changes.add(one)
    if (n % 7 === 0) changes.pack(3)
  }
  expect(changes.size).toBe(400)
  expect(hashes(changes.from(0))).toEqual(hashes(all))
  for (const place of [0, 1, 48, 49, 50, 200, 395, 396, 397, 399]) {
    const one = all[place] as Change
    expect(hashes(changes.from(place))).toEqual(hashes(all.slice(place)))
    expect(changes.at(place).hash).toBe(one.hash)
    expect(changes.startOpAt(place)).toBe(one.startOp)
    expect(changes.maxOpAt(place)).toBe(one.maxOp)
  }
  const visited: Change[] = []
  changes.forEach((one, hash) => void (hash === one.hash && visited.push(one)))
  expect(hashes(visited)).toEqual(hashes(all))
  expect(hashes(new Map(changes).values())).toEqual(hashes(all))
  expect([...changes.keys()]).toEqual(hashes(all))
  for (const one of all) {
    expect(changes.has(one.hash)).toBe(true)
    expect(changes.get(one.hash)?.hash).toBe(one.hash)
  }
})

test("a hash that is not there is not found, though it begins as one that is there", () => {
  const all = chain(100)
  const changes = new OrderedChanges()
  for (const one of all) changes.add(one)
  changes.pack(0)
  for (const { hash } of all) {
    const other = `${hash.slice(0, 8)}${"0".repeat(56)}`
    expect(changes.has(other)).toBe(false)
    expect(changes.get(other)).toBeUndefined()
  }
})

test("a history packs its changes by itself only when there are many, and forgets none", () => {
  const all = chain(49)
  const history = History.of(all)
  history.pack()
  expect(history.changes.get((all[0] as Change).hash)).toBe(all[0]) // the same object, because nothing is packed yet
  history.pack(8)
  expect(history.changes.get((all[0] as Change).hash)).not.toBe(all[0])
  expect(history.order).toEqual(all)
  expect(history.addedSince(30)).toEqual(all.slice(30))
  for (const one of all) {
    for (const counter of [one.startOp, one.maxOp]) expect(history.madeBy(one.actor, counter)).toBe(one.seq)
  }
  expect(history.madeBy(actorOf(0), all.length + 1)).toBeUndefined()
})
