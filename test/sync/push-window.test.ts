import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import type { Sizes } from "../../src/base/replica-sizes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import type { ClientMessage, Push } from "../../src/wire/protocol.ts"
import { at, openLevel, refuse, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// Tests with small sizes how much is pushed before the first ack, and how much goes into one push.
beforeAll(() => loadAutomerge())

/** Creates ten notes at once. `before`: the pushes before the first ack. `after`: all pushes. */
async function tenNotes(sizes: Partial<Sizes>) {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay, memoryStore(), { ...relay.env, sizes })
  await Promise.all(Array.from({ length: 10 }, (_, i) => ws.notes.create({ title: "x".repeat(200) }, { id: `n${i}` })))
  await relay.pass(1000)
  const pushes = () => relay.heard.filter((message): message is Push => message.t === "push")
  const before = pushes()
  const ack = (message: ClientMessage) =>
    message.t === "push" ? [{ t: "ack" as const, w, id: message.id, at: at(2) }] : []
  relay.answer = ack
  for (const push of before) relay.say(...ack(push))
  await relay.pass(1000)
  const { pending } = ws.status
  await ws.close()
  return { before, after: pushes(), pending }
}
const bytesOf = ({ entries }: Push) =>
  entries.flatMap(({ chunks }) => chunks).reduce((sum, { length }) => sum + length, 0)
const changesOf = ({ entries }: Push) => entries.flatMap(({ chunks }) => chunks).length

test("everything that is owed goes into one push if it fits", async () => {
  const { before, after, pending } = await tenNotes({})
  expect([before.length, after.length, pending]).toEqual([1, 1, 0])
})

test("a push exceeds its limit of bytes only with a single change that is larger than the limit", async () => {
  const { after, pending } = await tenNotes({ pushBytes: 1000 })
  expect(pending).toBe(0)
  expect(after.length).toBeGreaterThan(2)
  for (const push of after) expect(bytesOf(push)).toBeLessThanOrEqual(1000)
  const single = await tenNotes({ pushBytes: 1 })
  expect(single.pending).toBe(0)
  expect(single.after.map(changesOf)).toEqual(Array(20).fill(1)) // each note has two: genesis and content
})

test("the number of unanswered pushes has a limit, and each ack makes room for the next push", async () => {
  const { before, after, pending } = await tenNotes({ pushBytes: 1, pushes: 3 })
  expect([before.length, after.length, pending]).toEqual([3, 20, 0])
})

test("the bytes of unanswered pushes have a limit, which only the last one may exceed", async () => {
  const { before, after, pending } = await tenNotes({ pushBytes: 1, pushWindow: 500, pushes: 20 })
  const bytes = before.map(bytesOf)
  expect(bytes.reduce((sum, some) => sum + some, 0)).toBeGreaterThanOrEqual(500)
  expect(bytes.slice(0, -1).reduce((sum, some) => sum + some, 0)).toBeLessThan(500)
  expect([after.length, pending]).toEqual([20, 0])
})

test("a push that is refused for now makes room too, and is sent again", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay, memoryStore(), { ...relay.env, sizes: { pushWindow: 1, pushes: 1 } })
  await ws.notes.create({ title: "refused at first" }, { id: "a" })
  await relay.settle()
  refuse(relay, relay.last("push"), () => "RATE", 1000)
  relay.answer = (message) => (message.t === "push" ? [{ t: "ack", w, id: message.id, at: at(2) }] : [])
  await relay.settle()
  await ws.notes.create({ title: "goes before it" }, { id: "b" })
  await relay.pass(500)
  expect([relay.count("push"), relay.last("push").entries[0]?.entity, ws.status.pending]).toEqual([2, "b", 2])
  await relay.pass(600)
  expect([relay.count("push"), relay.last("push").entries[0]?.entity, ws.status.pending]).toEqual([3, "a", 0])
  await ws.close()
})
