import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Store } from "../../src/store/store.ts"
import { readChange } from "../../src/wire/chunk.ts"
import type { Push } from "../../src/wire/protocol.ts"
import { at, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

/**
 * Creates two notes, and counts the changes that the replica reads from the disk to push them. `arrivals`: the most
 * bytes of changes that it keeps in memory.
 */
async function pushed(arrivals: number) {
  const real = memoryStore()
  let read = 0
  const store: Store = {
    ...real,
    get(key) {
      read += Number(key[1] === "change")
      return real.get(key)
    },
  }
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay, store, { ...relay.env, sizes: { arrivals } })
  await Promise.all(["a", "b"].map((id) => ws.notes.create({ title: `note ${id}` }, { id })))
  await relay.pass(1000)
  const push = relay.heard.find((message): message is Push => message.t === "push") as Push
  const changes = push.entries.flatMap(({ entity, chunks }) => chunks.map((chunk) => [entity, readChange(chunk).hash]))
  const kept = () => changes.filter(([entity, hash]) => replicaOf(ws).kept(entity as string, hash as string)).length
  const before = kept()
  relay.say({ t: "ack", w, id: push.id, at: at(2) })
  await relay.pass(1000)
  const { pending } = ws.status
  const after = kept()
  await ws.close()
  return { read, changes: changes.length, before, after, pending }
}

test("the changes of new notes are pushed without being read again, and forgotten when the relay has them", async () => {
  expect(await pushed(10_000)).toEqual({ read: 0, changes: 4, before: 4, after: 0, pending: 0 })
})

test("changes for which there is no room in memory are read from the disk", async () => {
  expect(await pushed(0)).toEqual({ read: 4, changes: 4, before: 0, after: 0, pending: 0 })
})
