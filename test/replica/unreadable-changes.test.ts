/** The disk cannot read the changes of one entity. The other entities go on. */
import { HeadwaterError } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import type { Store } from "../../src/store/store.ts"
import { at, first, item, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const failure = new HeadwaterError("STORE_FAILED", "the store could not list: EIO")

/** Makes a store on which each list fails that has a change of this entity. */
function unreadable(store: Store, entity: string): Store {
  const list: Store["list"] = async (prefix, options) => {
    const found = await store.list(prefix, options)
    if (found.some(([key]) => key[1] === "change" && key[2] === entity))
      return new Promise((_, reject) => setImmediate(() => reject(failure)))
    return found
  }
  return { ...store, list }
}

/** Opens a workspace with the notes n0 to n4, which the relay has. The changes of n2 cannot be read any more. */
async function opened() {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const before = await open(undefined, store)
  for (let i = 0; i < 5; i++) await before.notes.create({ title: `t${i}` }, { id: `n${i}` })
  await before.close()
  relay.answer = (message) => (message.t === "push" ? [{ t: "ack", w, id: message.id, at: at(9) }] : [])
  const ws = await open({ url }, unreadable(store, "n2"), relay.env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
  await relay.pass(1000)
  return { relay, ws }
}

test("the rows of other entities are made, and the status says that the disk cannot be read", async () => {
  const { relay, ws } = await opened()
  const items = ["n2", "x1", "x2", "x3"].map((id) => item(id, [genesisOf(id, "notes")]))
  relay.say({ t: "entries", w, items, cursor: at(10), level: true })
  await relay.pass(1000)
  expect(ws.notes.all().map(({ id }) => id)).toEqual(["n0", "n1", "n2", "n3", "n4", "x1", "x2", "x3"])
  expect([ws.status.error?.code, [...replicaOf(ws).stale.keys()]]).toEqual(["STORE_FAILED", ["n2"]])
  await ws.close()
})
