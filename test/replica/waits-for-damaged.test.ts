import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { keys } from "../../src/replica/disk/records.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { at, first, item, open, openLevel, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

test("an own change that depends on a damaged change is shown once that change has come back", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store)
  await ws.notes.create({ title: "kept" }, { id: "a" })
  await relay.pass(100)
  const pushed = relay.last("push")
  relay.say({ t: "ack", w, id: pushed.id, at: at(2) })
  await relay.pass(100)
  await ws.notes.update("a", (draft) => void (draft.title = "U"))
  await relay.pass(100)
  const chunks = pushed.entries.flatMap((entry) => entry.chunks).map((chunk) => readChange(chunk))
  const damaged = chunks.at(-1)!
  await ws.close()
  const release = await store.claim("test")
  const key = keys.change(w, "a", damaged.hash)
  expect(await store.get(key)).toBeDefined()
  await store.commit([[key, new Uint8Array([1, 2, 3])]])
  await release()
  const again = await open({ url }, store, relay.env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  await again.notes.read("a") // hydrates the entity without the damaged change and without the edit that depends on it
  await relay.pass(100)
  // The device has found the damage, and has begun a heal. These entries are the answer.
  relay.say({ t: "entries", w, items: [item("a", [damaged])], cursor: at(3), level: true, ...first })
  await relay.pass(3000)
  expect((await again.notes.read("a"))?.title).toBe("U")
  await again.close()
})
