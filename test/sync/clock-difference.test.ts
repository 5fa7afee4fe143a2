import fc from "fast-check"
import { memoryStore } from "headwater/memory"
import { beforeEach, describe, expect, it } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { ClockDifference } from "../../src/sync/clock-difference.ts"
import { at, first, item, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

/**
 * Returns the clock difference that a device measures with one pull, in ms. `ahead`: the true difference. `known`: the
 * difference that it had before. `there`, `back`: the ms that the request and the answer are under way.
 */
function exchange(ahead: number, known: number, there: number, back: number): number {
  let now = 1_000_000
  const difference = new ClockDifference({ now: () => now, after: () => () => {}, random: () => new Uint8Array() })
  difference.asked({})
  now += there
  const time = now + ahead
  now += back
  return difference.answered(time, known)
}

describe("the difference to the relay's clock", () => {
  const ms = fc.integer({ min: -100_000, max: 100_000 })
  const delay = fc.integer({ min: 0, max: 100_000 })

  it("is never further from the truth than it was before an answer, nor than the answer took", () => {
    fc.assert(
      fc.property(ms, ms, delay, delay, (ahead, known, there, back) => {
        const error = Math.abs(exchange(ahead, known, there, back) - ahead)
        expect(error).toBeLessThanOrEqual(Math.min(Math.abs(known - ahead), there + back))
      }),
    )
  })

  it("stays when an answer took so long that the known difference may be true", () => {
    expect(exchange(0, 0, 10, 90_000)).toBe(0)
  })

  it("follows an answer that proves another one", () => {
    expect(exchange(60_000, 0, 5, 5)).toBe(59_995)
  })

  it("is not changed by a time of which nobody knows how long it took", () => {
    const difference = new ClockDifference({
      now: () => 1_000_000,
      after: () => () => {},
      random: () => new Uint8Array(),
    })
    expect(difference.answered(5, 7)).toBe(7)
    difference.asked({})
    expect(difference.answered(1_000_000, 7)).toBe(0)
    expect(difference.answered(5, 0)).toBe(0)
  })

  it("follows the relay's time when the device's clock was set back meanwhile", () => {
    let now = 1_000_000
    const difference = new ClockDifference({ now: () => now, after: () => () => {}, random: () => new Uint8Array() })
    difference.asked({})
    now = 10
    expect(difference.answered(1_000_000, 0)).toBe(999_990)
  })

  describe("with several attempts on one connection", () => {
    const [earlier, later] = [{}, {}]
    let now: number
    let difference: ClockDifference
    beforeEach(() => {
      now = 1_000_000
      difference = new ClockDifference({ now: () => now, after: () => () => {}, random: () => new Uint8Array() })
      difference.asked(earlier)
      now += 60_000
      difference.asked(later)
      now += 10
    })

    it("is measured from the earlier request when the answer to that one comes late", () => {
      expect(difference.answered(1_000_000, 0)).toBe(0)
      // This answers the later request.
      expect(difference.answered(now + 5_000 - 5, 0)).toBe(4_995)
    })

    it("is measured from the later request after the earlier one was answered to nobody", () => {
      difference.passedOver()
      expect(difference.answered(now + 5_000 - 5, 0)).toBe(4_995)
    })

    it("is measured from the next request once the relay answers none of these", () => {
      difference.forget()
      difference.asked(later)
      now += 10
      expect(difference.answered(now + 5_000 - 5, 0)).toBe(4_995)
    })
  })

  it("is not changed by the late answer to a pull of an attempt that has failed", async () => {
    const relay = new ScriptedRelay()
    let fails = false
    const step = (name: string) => {
      if (name !== "commit" || !fails) return
      fails = false
      throw new Error("the disk says no")
    }
    const ws = await openLevel(relay, memoryStore({ step }))
    relay.answer = (message) => (message.t === "ping" ? [{ t: "pong" }] : [])
    expect(replicaOf(ws).state.clockAheadMs).toBe(0)
    void ws.whenSynced().catch(() => {}) // pulls once more; the answer of now arrives half a minute later
    await relay.settle()
    const time = relay.now
    fails = true
    relay.say({ t: "entries", w, items: [item("x", [genesisOf("x", "notes")])], cursor: at(2), level: true })
    await relay.settle()
    await relay.pass(30_000)
    expect(relay.count("pull")).toBe(3)
    relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first, time })
    await relay.pass(500)
    expect(replicaOf(ws).state.clockAheadMs).toBe(0)
    await ws.close()
  })
})
