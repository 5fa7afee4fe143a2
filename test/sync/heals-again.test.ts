import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { withDamage } from "../../src/replica/disk/records.ts"
import { at, first, w } from "../support/foreign.ts"
import { level, relay, useToldWorkspace, ws } from "../support/told.ts"

useToldWorkspace()

/** Marks that the replica must heal, as it does when its disk is damaged. */
function noteDamage(): Promise<void> {
  return replicaOf(ws).step([], (tx) => {
    tx.state = withDamage(tx.state)
  })
}

/** Marks that the replica must heal, and writes a note. */
async function mustHeal(): Promise<void> {
  await noteDamage()
  await ws.notes.create({ title: "T" })
  await relay.settle()
}

async function answerHave(position: number): Promise<void> {
  relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [], ...first })
  relay.say({ t: "entries", w, items: [], cursor: at(position), level: true, ...first })
  await relay.pass(100)
}

test("a fourth heal because of damage on one connection begins a minute later, and whenStored waits", async () => {
  level(1)
  await relay.settle()
  for (let i = 1; i <= 3; i++) {
    await mustHeal()
    expect(relay.count("have")).toBe(i)
    await answerHave(1 + i)
    expect(replicaOf(ws).state.heal).toBe(false)
  }
  await mustHeal()
  expect(relay.count("have")).toBe(3)
  relay.answer = (message) => {
    if (message.t === "ping") return [{ t: "pong" }]
    return message.t === "push" ? [{ t: "ack", w, id: message.id, at: at(9) }] : []
  }
  let stored = false
  void ws.whenStored().then(() => (stored = true))
  await relay.pass(58_000)
  expect([relay.count("have"), stored]).toEqual([3, false])
  await relay.pass(5_000)
  expect(relay.count("have")).toBe(4)
  await answerHave(5)
  await relay.pass(1_000)
  expect(replicaOf(ws).state.heal).toBe(false)
})

const position = () => replicaOf(ws).state.cursor
const hexOf = (n: number) => Buffer.from(at(n)).toString("hex")

test("what an earlier pull is answered with does not end the heal that began after it", async () => {
  level(1)
  await relay.settle()
  void ws.whenSynced().catch(() => {}) // pulls once more
  await relay.settle()
  expect(relay.count("pull")).toBe(2)
  await mustHeal()
  expect(relay.heard.slice(-2).map(({ t }) => t)).toEqual(["have", "pull"])
  // On a slow line, the relay answers the second pull before it reads the `have`. It names the principal first, because
  // reading its log takes time.
  relay.say({ t: "entries", w, items: [], ...first })
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true })
  await relay.pass(100)
  expect([replicaOf(ws).state.heal, position()]).toEqual([true, hexOf(1)])
  await answerHave(3)
  expect([replicaOf(ws).state.heal, position()]).toEqual([false, hexOf(3)])
})

test("damage that is noticed before the relay's first entries begins a heal when they have come", async () => {
  await noteDamage()
  level(1)
  await relay.settle()
  expect([relay.count("have"), ws.status.phase]).toEqual([1, "syncing"])
  let stored = false
  void ws.whenStored().then(() => (stored = true))
  await answerHave(2)
  expect([replicaOf(ws).state.heal, ws.status.phase, stored]).toEqual([false, "live", true])
})

test("damage that is noticed in the commit that ends a heal begins another one", async () => {
  level(1)
  await relay.settle()
  await mustHeal()
  relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [], ...first })
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true })
  await noteDamage() // in the group of steps that commits these entries
  await relay.settle()
  expect([relay.count("have"), replicaOf(ws).state.heal]).toEqual([2, true])
})

test("damage that is noticed while a heal is under way begins another one", async () => {
  level(1)
  await relay.settle()
  await mustHeal()
  expect(relay.count("have")).toBe(1)
  await noteDamage() // the `have` was made before the damage, so it names the damaged change
  await answerHave(2)
  expect([relay.count("have"), replicaOf(ws).state.heal]).toEqual([2, true])
  await answerHave(3)
  expect([relay.count("have"), replicaOf(ws).state.heal]).toEqual([2, false])
})

test("a heal that waits is not ended by a cursor that was under way, and nothing is live before it", async () => {
  level(1)
  await relay.settle()
  for (let i = 1; i <= 3; i++) {
    await mustHeal()
    await answerHave(1 + i)
  }
  await mustHeal() // the fourth heal on this connection begins a minute later
  let synced = false
  void ws.whenSynced().then(() => (synced = true))
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(5), level: true }) // the relay sent this before the heal
  await relay.settle()
  expect([replicaOf(ws).state.heal, ws.status.phase, synced]).toEqual([true, "syncing", false])
  relay.answer = (message) => (message.t === "ping" ? [{ t: "pong" }] : [])
  await relay.pass(60_000)
  expect(relay.count("have")).toBe(4)
  relay.say({ t: "entries", w, items: [], cursor: at(6), level: true })
  await relay.pass(100)
  expect(replicaOf(ws).state.heal).toBe(true)
  await answerHave(7)
  expect([replicaOf(ws).state.heal, ws.status.phase, synced]).toEqual([false, "live", true])
})
