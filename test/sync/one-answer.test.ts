/**
 * A relay gives the same answer for ever. Whatever the answer is, the device must send a bounded number of messages in
 * an hour, and dial a bounded number of times.
 */
import { memoryStore } from "headwater/memory"
import { beforeAll, describe, expect, test } from "vitest"
import { type Code, codes } from "../../src/base/errors.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { readChange } from "../../src/wire/chunk.ts"
import type { ClientMessage, Push, RelayMessage } from "../../src/wire/protocol.ts"
import { at, first, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const MINUTE_MS = 60_000
/** After this many messages of the device, the relay answers pings only. Every bound in this file is smaller. */
const RUNAWAY = 600

/**
 * Counts the messages and dials of a device in an hour with a relay that answers with `answer`. The device creates a
 * note, and edits it every five minutes.
 */
async function hour(answer: NonNullable<ScriptedRelay["answer"]>) {
  const relay = new ScriptedRelay()
  relay.luck = 0.5
  relay.turns = 4
  const said = () => relay.heard.length - relay.count("ping")
  relay.answer = (message) => {
    if (message.t === "ping") return [{ t: "pong" }]
    return said() < RUNAWAY ? answer(message) : []
  }
  const ws = await open({ url }, memoryStore(), relay.env)
  await ws.notes.create({ title: "T" }, { id: "a" })
  await relay.pass(MINUTE_MS / 4)
  for (let n = 0; n < 12 && said() < RUNAWAY; n++) {
    // If the relay has refused the creation for good, the note is gone.
    if (ws.notes.get("a") !== undefined) await ws.notes.update("a", (draft) => void (draft.n = n))
    await relay.pass(5 * MINUTE_MS)
  }
  await ws.close()
  const [pulls, pushes, haves] = (["pull", "push", "have"] as const).map((t) => relay.count(t))
  return { pulls: pulls!, pushes: pushes!, haves: haves!, dials: relay.dials.length }
}

const level: RelayMessage = { t: "entries", w, items: [], cursor: at(1), level: true, ...first }
/** The refusal of every change of a push, and the ack of the push. */
const refusals = (push: Push, code: Code, retryIn?: number): RelayMessage[] => {
  const rejects = push.entries.flatMap(({ entity, chunks }) =>
    chunks.map((chunk): RelayMessage => {
      const { hash } = readChange(chunk)
      return { t: "reject", w, id: push.id, entity, hash, code, ...(retryIn !== undefined && { retryIn }) }
    }),
  )
  return [...rejects, { t: "ack", w, id: push.id }]
}
/** The relay's answer to the last `have` of a heal: it wants nothing and has nothing to send. */
const healed: RelayMessage[] = [{ t: "want", w, page: [] }, level]

/**
 * Answers as an honest relay with an empty log does. `to`: other answers, by the type of the device's message.
 */
const relayThat =
  (to: { [T in ClientMessage["t"]]?: (message: Extract<ClientMessage, { t: T }>) => (RelayMessage | number)[] }) =>
  (message: ClientMessage): (RelayMessage | number)[] => {
    const answer = to[message.t] as ((message: ClientMessage) => RelayMessage[]) | undefined
    if (answer !== undefined) return answer(message)
    if (message.t === "pull") return "cursor" in message ? [level] : []
    if (message.t === "push") return [{ t: "ack", w, id: message.id, at: at(2) }]
    if (message.t !== "have") return []
    return message.single === true ? [{ t: "want", w, page: message.page.map(([entity]) => [entity, []]) }] : healed
  }

const forNow: readonly Code[] = ["QUOTA", "RATE", "TOKEN_EXPIRED", "FORBIDDEN", "LOG_FAILED"]
const missing: readonly Code[] = ["DEPS_UNKNOWN", "SEQ_GAP"]
const except = (...some: readonly (readonly Code[])[]) => codes.filter((code) => !some.flat().includes(code))

test("each write costs one push when nothing is refused", async () => {
  expect(await hour(relayThat({}))).toEqual({ pulls: 1, pushes: 13, haves: 0, dials: 1 })
})

describe("a relay that refuses every change", () => {
  test.each(except(forNow, missing, ["ACTOR_BOUND"]))("with %s is pushed each change once", async (code) => {
    const cost = await hour(relayThat({ push: (push) => refusals(push, code) }))
    // The refused creation removes the note, so there is nothing more to push.
    expect(cost).toEqual({ pulls: 1, pushes: 1, haves: 0, dials: 1 })
  })

  test.each(forNow)("with %s is pushed to once in 30 s", async (code) => {
    const { pushes, ...others } = await hour(relayThat({ push: (push) => refusals(push, code) }))
    expect(others).toEqual({ pulls: 1, haves: 0, dials: 1 })
    expect(pushes).toBeGreaterThan(100)
    expect(pushes).toBeLessThanOrEqual(121)
  })

  test.each(missing)("with %s is sent a have five times, and is not pushed to afterwards", async (code) => {
    const cost = await hour(relayThat({ push: (push) => refusals(push, code) }))
    expect(cost).toEqual({ pulls: 1, pushes: 6, haves: 5, dials: 1 })
  })

  test("with ACTOR_BOUND is pushed each change once more as adopt, and then once in 30 s", async () => {
    const cost = await hour(relayThat({ push: (push) => refusals(push, "ACTOR_BOUND") }))
    expect(cost.pushes).toBeLessThanOrEqual(2 * 121)
  })
})

describe("a relay that answers every pull with a notice", () => {
  const notice = (code: Code): RelayMessage => ({ t: "notice", w, code })

  test.each(forNow)("of %s is pulled from again after waits of up to five minutes", async (code) => {
    const { pulls, ...others } = await hour(relayThat({ pull: () => [notice(code)] }))
    expect(others).toEqual({ pushes: 0, haves: 0, dials: 1 })
    expect(pulls).toBeGreaterThan(10)
    expect(pulls).toBeLessThanOrEqual(16)
  })

  test.each(except(forNow, ["CURSOR_UNKNOWN"]))("of %s is not pulled from again", async (code) => {
    const cost = await hour(relayThat({ pull: () => [notice(code)] }))
    expect(cost).toEqual({ pulls: 1, pushes: 0, haves: 0, dials: 1 })
  })

  test("of CURSOR_UNKNOWN is sent one have", async () => {
    const cost = await hour(relayThat({ pull: () => [notice("CURSOR_UNKNOWN")] }))
    expect(cost).toEqual({ pulls: 1, pushes: 13, haves: 1, dials: 1 })
  })

  test("of CURSOR_UNKNOWN, and every have too, is not sent a have for ever", async () => {
    const cursorUnknown = () => [notice("CURSOR_UNKNOWN")]
    const cost = await hour(relayThat({ pull: cursorUnknown, have: cursorUnknown }))
    expect(cost.haves).toBeLessThanOrEqual(120)
  })
})

describe("a relay that answers every push with a notice", () => {
  test.each(except(["CURSOR_UNKNOWN", "LOG_FAILED"]))("of %s is pushed each change once", async (code) => {
    const cost = await hour(relayThat({ push: () => [{ t: "notice", w, code }] }))
    // No ack comes, and at most eight pushes may be unanswered. So the other changes are never pushed.
    expect(cost).toEqual({ pulls: 1, pushes: 8, haves: 0, dials: 1 })
  })

  test("of LOG_FAILED is pulled from and pushed to again after waits that double", async () => {
    const cost = await hour(relayThat({ push: () => [{ t: "notice", w, code: "LOG_FAILED" }] }))
    expect(cost).toMatchObject({ haves: 0, dials: 1 })
    expect(cost.pulls).toBeGreaterThan(10)
    expect(cost.pulls).toBeLessThanOrEqual(16)
    expect(cost.pushes).toBeLessThanOrEqual(8 * cost.pulls)
  })

  test("of CURSOR_UNKNOWN is sent a have, and after waits that double everything begins again", async () => {
    const cost = await hour(relayThat({ push: () => [{ t: "notice", w, code: "CURSOR_UNKNOWN" }] }))
    expect(cost.dials).toBe(1)
    expect(cost.pulls).toBeLessThanOrEqual(33) // the waits are those of `DIALS` below
    expect(cost.pushes).toBeLessThanOrEqual(8 * cost.pulls)
    expect(cost.haves).toBeLessThanOrEqual(8 * cost.pulls)
  })
})

describe("a relay that ends every connection", () => {
  /** The most dials in an hour. `luck` halves the waits of 1, 2, 4, ... 256 s, and then of 300 s. */
  const DIALS = 33

  test.each(codes)("with the notice %s is dialled after waits that double", async (code) => {
    const cost = await hour(relayThat({ pull: () => [{ t: "notice", code }, 4400] }))
    expect(cost.dials).toBeLessThanOrEqual(DIALS)
    expect(cost.pulls).toBe(cost.dials)
    expect(cost.pushes).toBe(0)
  })

  test.each([1000, 1001, 1002, 1006, 1008, 1009, 1011, 1013, 4400, 4401, 4403, 4406, 4408])(
    "with the close code %i is dialled after waits that double",
    async (code) => {
      const cost = await hour(relayThat({ pull: () => [code] }))
      expect(cost.dials).toBeLessThanOrEqual(DIALS)
      expect(cost.dials).toBeGreaterThan(20)
      expect(cost).toMatchObject({ pulls: cost.dials, pushes: 0, haves: 0 })
    },
  )

  test("after its first entries is dialled after waits that double", async () => {
    const cost = await hour(relayThat({ pull: () => [level, 1011] }))
    expect(cost.dials).toBeLessThanOrEqual(DIALS)
  })

  test("when it is pushed to is dialled after waits that double", async () => {
    const cost = await hour(relayThat({ push: () => [1011] }))
    expect(cost.dials).toBeLessThanOrEqual(DIALS)
  })
})

describe("a relay that wants everything", () => {
  const want: RelayMessage = { t: "want", w, page: [["a", []]] }

  test("when a connection begins is pushed everything once", async () => {
    const cost = await hour(relayThat({ pull: () => [level, want] }))
    expect(cost.pushes).toBeLessThanOrEqual(15)
  })

  test("after every push gets it a bounded number of times", async () => {
    const cost = await hour(relayThat({ push: ({ id }) => [{ t: "ack", w, id, at: at(2) }, want] }))
    expect(cost.pushes).toBeLessThanOrEqual(120)
  })

  test("a hundred times in a row leaves one timer", async () => {
    const relay = new ScriptedRelay()
    let waits = 0
    const after: typeof relay.env.after = (ms, f, inBackground) => {
      if (ms === 2 * MINUTE_MS) waits++
      return relay.env.after(ms, f, inBackground)
    }
    const ws = await open({ url }, memoryStore(), { ...relay.env, after })
    relay.say(level)
    await ws.notes.create({ title: "T" }, { id: "a" })
    await relay.settle()
    relay.say({ t: "ack", w, id: relay.last("push").id, at: at(2) })
    await relay.settle()
    for (let i = 0; i < 100; i++) {
      relay.say(want)
      await relay.settle()
    }
    expect(waits).toBe(1)
    await ws.close()
  })
})

test("a relay that answers no push is sent eight pushes and no more", async () => {
  const cost = await hour(relayThat({ push: () => [] }))
  expect(cost).toEqual({ pulls: 1, pushes: 8, haves: 0, dials: 1 })
})

test("a relay that never answers is sent one pull, and pings", async () => {
  const cost = await hour(() => [])
  expect(cost).toEqual({ pulls: 1, pushes: 0, haves: 0, dials: 1 })
})
