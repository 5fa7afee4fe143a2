/** A pull is cut off at the same point each time. Acks that arrive before that point do not make the waits shorter. */
import { memoryStore } from "headwater/memory"
import { beforeEach, expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { first, item, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let relay: ScriptedRelay
let failsNext = false

beforeEach(() => {
  relay = new ScriptedRelay()
  relay.turns = 8
  relay.luck = 0.999
  failsNext = false
})

/** Opens a workspace whose next commit fails when `failsNext` is set. */
async function opened() {
  const step = (name: string) => {
    if (name !== "commit" || !failsNext) return
    failsNext = false
    throw new Error("the disk says no")
  }
  const ws = await open({ url }, memoryStore({ step }), relay.env)
  await relay.settle()
  return ws
}

/** The relay begins the answer to the pull, and acknowledges a push. */
async function answerInPart(ws: Awaited<ReturnType<typeof opened>>): Promise<void> {
  relay.say({ t: "entries", w, items: [], ...first, left: 1_000_000 })
  await relay.settle()
  await ws.notes.create({ title: "T" })
  await relay.settle()
  relay.say({ t: "ack", w, id: relay.last("push").id })
  await relay.settle()
}

/** Waits until the relay is dialled again. */
async function nextDial(): Promise<void> {
  const dials = relay.dials.length
  while (relay.dials.length === dials) await relay.pass(100)
  await relay.settle()
}

test("a dial that fails in between does not make an ack progress", async () => {
  const ws = await opened()
  const waits: number[] = []
  for (let i = 0; i < 3; i++) {
    await answerInPart(ws)
    const broke = relay.now
    relay.up = false
    relay.hangUp()
    await nextDial()
    relay.up = true
    await nextDial()
    waits.push(Math.round((relay.now - broke) / 1000))
  }
  expect(waits).toEqual([1 + 2, 4 + 8, 16 + 32])
  await ws.close()
})

test("a break during the wait after a failed step does not make an ack progress", async () => {
  const ws = await opened()
  const waits: number[] = []
  for (let i = 0; i < 4; i++) {
    await answerInPart(ws)
    failsNext = true
    relay.say({ t: "entries", w, items: [item(`x${i}`, [genesisOf(`x${i}`, "notes")])] })
    await relay.settle()
    expect(ws.status.error?.code).toBe("STORE_FAILED")
    const broke = relay.now
    relay.hangUp()
    await nextDial()
    waits.push(Math.round((relay.now - broke) / 1000))
  }
  expect(waits).toEqual([1, 2, 4, 8])
  await ws.close()
})
