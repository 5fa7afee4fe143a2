import { type Mended, openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { notes, openLevel, refuse, tasks, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

test("a damaged record of the rejected list is not told as mended, because it stays damaged", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store)
  await ws.notes.create({ title: "a" }, { id: "e" })
  await relay.pass(100)
  refuse(relay, relay.last("push"), () => "TOO_LARGE")
  await relay.pass(100)
  await ws.close()
  const release = await store.claim(w)
  const [rejected] = await store.list([w, "rejected"])
  await store.commit([[rejected![0], "garbage"]])
  await release()
  const told: Mended[] = []
  const onMended = (mended: Mended) => void told.push(mended)
  const again = await openWorkspace({ id: w, collections: { notes, tasks }, store, onMended, env: relay.env })
  await relay.settle()
  expect(told).toEqual([])
  await again.close()
})
