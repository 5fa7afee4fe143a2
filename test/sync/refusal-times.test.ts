import { beforeEach, expect, test } from "vitest"
import type { Code, HeadwaterError } from "../../src/base/errors.ts"
import { Refusals } from "../../src/sync/refused-entities.ts"
import { at, first, openLevel, refuse, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let relay: ScriptedRelay
let start: number
beforeEach(() => {
  relay = new ScriptedRelay()
  relay.turns = 2
  start = relay.now
})

/**
 * Makes `Refusals` on the clock of `relay`. `shown`: the entities of the errors that it showed. `pushes`: when it asked
 * to push again, in ms since `start`. `timers`: how many it set, and how many of them are pending.
 */
function watched() {
  const shown: (string | undefined)[] = []
  const timers = { set: 0, pending: 0 }
  const clock = {
    ...relay.env,
    after(ms: number, f: () => void) {
      timers.set++
      timers.pending++
      const cancel = relay.env.after(ms, () => {
        timers.pending--
        f()
      })
      return () => {
        timers.pending--
        cancel()
      }
    },
  }
  const pushes: number[] = []
  const refusals = new Refusals(
    clock,
    (error: HeadwaterError | null) => shown.push(error?.entity),
    () => void pushes.push(relay.now - start),
  )
  return { refusals, shown, pushes, timers }
}

test("whichever entity is refused again, the entity whose time comes first is shown and sent first", async () => {
  const { refusals, shown, pushes } = watched()
  refusals.add("a", "RATE", 2000)
  refusals.add("b", "RATE", 5000)
  expect(shown.at(-1)).toBe("a")
  refusals.add("a", "RATE", 60_000)
  expect(shown.at(-1)).toBe("b")
  await relay.pass(5000)
  expect([pushes, refusals.has("a"), refusals.has("b"), shown.at(-1)]).toEqual([[5000], true, false, "a"])
  await relay.pass(55_000)
  expect([pushes, refusals.has("a"), shown.at(-1)]).toEqual([[5000, 60_000], false, undefined])
})

test("entities that are refused together share a timer, and none is left at the end", async () => {
  const { refusals, pushes, timers } = watched()
  for (let i = 0; i < 1000; i++) refusals.add(`${i}`, "QUOTA", 10_000)
  expect(timers).toEqual({ set: 1, pending: 1 })
  refusals.add("later", "QUOTA", 20_000)
  await relay.pass(10_000)
  expect([pushes, refusals.has("0"), refusals.has("later")]).toEqual([[10_000], false, true])
  refusals.clear()
  expect(timers.pending).toBe(0)
})

test("no refusal lasts longer because the clock was set back", async () => {
  const { refusals, pushes } = watched()
  refusals.add("a", "RATE", 10_000)
  refusals.add("b", "RATE", 30_000)
  const day = 24 * 3_600_000
  relay.setClock(-day)
  start -= day
  await relay.pass(60_000)
  expect([pushes, refusals.has("a"), refusals.has("b")]).toEqual([[10_000, 30_000], false, false])
})

test("an entity that was refused for 60 s is not pushed earlier because the log of its workspace fails for 2 s", async () => {
  relay.turns = 20
  relay.answer = (message) => {
    if (message.t === "ping") return [{ t: "pong" }]
    return message.t === "pull" && message.cursor !== undefined ? [answer] : []
  }
  const answer = { t: "entries", w, items: [], cursor: at(1), level: true, ...first } as const
  const ws = await openLevel(relay)
  await relay.pass(100)
  await ws.notes.create({ title: "T" }, { id: "a" })
  await relay.pass(100)
  refuse(relay, relay.last("push"), () => "RATE", 60_000)
  await relay.settle()
  relay.say({ t: "notice", w, code: "LOG_FAILED", retryIn: 2000 })
  await relay.settle()
  expect(ws.status.error?.code).toBe("LOG_FAILED")
  await relay.pass(5000)
  expect(ws.status.error).toMatchObject({ code: "RATE", entity: "a" })
  await ws.notes.create({ title: "another" }, { id: "b" })
  await relay.pass(50_000)
  expect(relay.heard.flatMap((m) => (m.t === "push" ? [m.entries[0]?.entity] : []))).toEqual(["a", "b"])
  await relay.pass(6000)
  expect(relay.last("push").entries[0]?.entity).toBe("a")
  await ws.close()
})

/** From now on, the relay answers each pull with a cursor, and names this principal. */
function answerAs(principal: () => string): void {
  relay.turns = 20
  relay.answer = (message) => {
    if (message.t === "ping") return [{ t: "pong" }]
    if (message.t !== "pull" || message.cursor === undefined) return []
    return [{ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: principal() }]
  }
}

/** Opens a workspace whose entity `a` the relay refuses for 60 s with this code. Then empties `relay.heard`. */
async function refusedForAMinute(code: Code) {
  const ws = await openLevel(relay)
  await relay.pass(100)
  await ws.notes.create({ title: "T" }, { id: "a" })
  await relay.pass(100)
  refuse(relay, relay.last("push"), () => code, 60_000)
  await relay.settle()
  relay.heard.length = 0
  return ws
}

/** Breaks the line every 5 s, `times` times. */
async function breakTheLine(times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    relay.hangUp()
    await relay.pass(5000)
  }
}

test.each(["RATE", "QUOTA"] as const)(
  "a line that breaks every 5 s does not end a refusal for 60 s (%s)",
  async (code) => {
    answerAs(() => "ann")
    const ws = await refusedForAMinute(code)
    await breakTheLine(4)
    await relay.pass(30_000)
    expect([relay.count("push"), ws.status.error?.code, ws.status.pending]).toEqual([0, code, 2])
    await relay.pass(12_000)
    expect(relay.count("push")).toBe(1)
    await ws.close()
  },
)

test("a refusal that another token may end is over when the relay is connected again", async () => {
  answerAs(() => "ann")
  const ws = await refusedForAMinute("FORBIDDEN")
  await breakTheLine(1)
  expect(relay.count("push")).toBe(1)
  await ws.close()
})

test("what the relay has refused of one account does not keep back what another account writes to the entity", async () => {
  let principal = "ann"
  answerAs(() => principal)
  const ws = await refusedForAMinute("QUOTA")
  principal = "bob"
  await breakTheLine(2)
  await ws.notes.create({ title: "bob's" }, { id: "b" })
  await relay.pass(2000)
  expect([relay.count("push"), ws.status.error]).toEqual([1, null])
  await ws.close()
})

test("a refused change is pushed again after the relay's wait although the clock was set back", async () => {
  relay.turns = 20
  relay.answer = (message) => (message.t === "ping" ? [{ t: "pong" }] : [])
  const ws = await openLevel(relay)
  await ws.notes.create({ title: "T" })
  await relay.settle()
  refuse(relay, relay.last("push"), () => "RATE", 10_000)
  await relay.settle()
  relay.setClock(-24 * 3_600_000)
  await relay.pass(9_000)
  expect(relay.count("push")).toBe(1)
  await relay.pass(2_000)
  expect(relay.count("push")).toBe(2)
  await ws.close()
})
