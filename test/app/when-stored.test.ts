import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { keys } from "../../src/replica/disk/records.ts"
import { at, first, w } from "../support/foreign.ts"
import { jsonIn } from "../support/record.ts"
import { ack, hashes, level, pushed, relay, reopen, store, useToldWorkspace, ws } from "../support/told.ts"

useToldWorkspace()

/** Begins a wait. `outcome` is "waiting", then "stored" or the code of the error. */
function waited(): { outcome: string } {
  const seen = { outcome: "waiting" }
  ws.whenStored().then(
    () => (seen.outcome = "stored"),
    (error) => (seen.outcome = error.code),
  )
  return seen
}

test("an edit behind an unsent edit of another principal cannot be sent, so a wait for it is rejected", async () => {
  level(0)
  const { id } = await ws.notes.create({ title: "ann's" })
  await relay.settle()
  ack(pushed(), 1)
  await relay.settle()
  ws.disconnect()
  await ws.notes.update(id, (draft) => void (draft.title = "ann's, offline"))
  ws.connect()
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await relay.settle()
  const before = waited()
  await ws.notes.update(id, (draft) => void (draft.title = "bob's, behind it"))
  const behind = waited()
  await relay.settle()
  expect(ws.status.others).toEqual([{ principal: "ann", pending: 2 }])
  expect([before.outcome, behind.outcome]).toEqual(["stored", "PRINCIPAL_CHANGED"])
})

test("no wait ends before a heal has shown which changes the relay lacks", async () => {
  level(0)
  const { id } = await ws.notes.create({ title: "T" })
  await relay.settle()
  await ws.close()
  const release = await store.claim(w)
  for (const [key] of await store.list(keys.outbox(w))) await store.commit([[key, undefined]])
  await store.commit([[keys.outPage(w, 1), "{damaged"]]) // as if a fold had moved the records into this page
  await release()
  await reopen()
  const stored = waited()
  expect(relay.last("have").page.map(([entity]) => entity)).toEqual([id])
  const before = relay.count("push")
  await relay.settle()
  expect(stored.outcome).toBe("waiting")
  relay.say({ t: "want", w, page: [[id, []]] })
  level(1)
  await relay.pass(100)
  expect(stored.outcome).toBe("waiting")
  const pushes = relay.heard.flatMap((message) => (message.t === "push" ? [message] : [])).slice(before)
  expect(pushes.length).toBeGreaterThan(0)
  for (const [i, push] of pushes.entries()) ack(push, 2 + i)
  await relay.settle()
  expect(stored.outcome).toBe("stored")
})

test("the bytes of a change on the rejected list are on the disk and not in memory", async () => {
  level(0)
  const { id } = await ws.notes.create({ title: "T" })
  await relay.settle()
  const [hash] = hashes(pushed())
  relay.say({ t: "reject", w, id: pushed().id, entity: id, hash: hash as string, code: "CHUNK_BAD" })
  ack(pushed(), 1)
  await relay.settle()
  const record = replicaOf(ws)
    .rejected.get(id)
    ?.get(hash as string)
  expect(Object.keys(record ?? {})).toEqual(["code", "at"])
  expect(jsonIn(await store.get(keys.rejected(w, id, hash as string)))).toHaveProperty("entry")
})
