/** A relay loses its log after another account has connected. The device gives back each change under its account. */
import { memoryStore } from "headwater/memory"
import { beforeEach, expect, test } from "vitest"
import type { ClientMessage, RelayMessage } from "../../src/wire/protocol.ts"
import { at, first, openLevel, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let relay: ScriptedRelay
let commits = Promise.resolve()
/** Whether the next commit fails after its writes are on the disk. */
let failsNext = false
let release = () => {}

const store = () =>
  memoryStore({
    step(name) {
      if (name === "commit") return commits
      if (name !== "committed" || !failsNext) return
      failsNext = false
      throw new Error("the disk says no")
    },
  })

function holdCommits(): void {
  commits = new Promise((resolve) => {
    release = resolve
  })
}

const acks = (message: ClientMessage): RelayMessage[] => {
  if (message.t === "ping") return [{ t: "pong" }]
  return message.t === "push" ? [{ t: "ack", w, id: message.id, at: at(9) }] : []
}
const bobsFirst = { t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" } as const

beforeEach(() => {
  commits = Promise.resolve()
  failsNext = false
  relay = new ScriptedRelay()
})

/** The relay loses its log and wants all changes of a note. Returns the pushes that give them back. */
async function givenBack(id: string) {
  const pushes = relay.count("push")
  relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.settle()
  relay.say({ t: "want", w, page: [[id, []]] })
  await relay.settle()
  relay.say({ ...bobsFirst, cursor: at(2) })
  await relay.pass(1000)
  const all = relay.heard.filter((message) => message.t === "push").slice(pushes)
  return all.map(({ adopt, entries }) => [entries[0]?.entity, adopt === true])
}

test("a note of the group that takes the next account is given back as that account's own", async () => {
  const ws = await openLevel(relay, store())
  relay.answer = acks
  ws.connect({ url, token: "bob" })
  await relay.settle()
  holdCommits()
  const written = ws.notes.create({ title: "its commit is under way" }, { id: "other" })
  await relay.settle()
  relay.say(bobsFirst)
  await relay.settle()
  const bobs = ws.notes.create({ title: "bob's" }, { id: "bobs" })
  await relay.settle()
  release()
  await Promise.all([written, bobs])
  await relay.pass(100)
  expect(await givenBack("bobs")).toEqual([["bobs", false]])
  await ws.close()
})

test("a note of the former account is adopted though the commit that took the next account seemed to fail", async () => {
  const ws = await openLevel(relay, store())
  relay.answer = acks
  await ws.notes.create({ title: "ann's" }, { id: "anns" })
  await relay.pass(100)
  expect(ws.status.pending).toBe(0)
  ws.connect({ url, token: "bob" })
  await relay.settle()
  failsNext = true
  relay.say(bobsFirst)
  await relay.pass(5000)
  relay.say(bobsFirst)
  await relay.pass(100)
  expect(ws.status).toMatchObject({ phase: "live", principal: "bob" })
  expect(await givenBack("anns")).toEqual([["anns", true]])
  await ws.close()
})
