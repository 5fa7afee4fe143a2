import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import type { Store } from "../../src/store/store.ts"
import { at, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

test("an edit is pushed from memory, also after many notes were made and pushed", async () => {
  const relay = new ScriptedRelay()
  relay.turns = 5
  let position = 1
  relay.answer = (message) => {
    if (message.t === "ping") return [{ t: "pong" }]
    return message.t === "push" ? [{ t: "ack", w, id: message.id, at: at(++position) }] : []
  }
  const real = memoryStore()
  let reads = 0
  const store: Store = {
    ...real,
    get(key) {
      if (key[1] === "change") reads++
      return real.get(key)
    },
  }
  const ws = await openLevel(relay, store)
  for (let i = 0; i < 600; i++) {
    await ws.notes.create({ title: `t${i}` }, { id: `e${i}` })
    if (i % 20 === 0) await relay.pass(50)
  }
  await relay.pass(2000)
  await ws.notes.update("e0", (draft) => void (draft.title = "a"))
  await relay.pass(200)
  reads = 0
  await ws.notes.update("e0", (draft) => void (draft.title = "b"))
  await relay.pass(200)
  expect([ws.status.pending, reads]).toEqual([0, 0])
  await ws.close()
})
