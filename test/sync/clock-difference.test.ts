import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ClockDifference } from "../../src/sync/clock-difference.ts"

/** A device's clock, and one exchange with a relay whose clock is `ahead` ms ahead. */
function exchange(ahead: number, known: number, there: number, back: number): number {
  let now = 1_000_000
  const difference = new ClockDifference({ now: () => now, after: () => () => {}, random: () => new Uint8Array() })
  difference.asked()
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
    difference.asked()
    difference.answered(1_000_000, 0)
    expect(difference.answered(5, 7)).toBe(7)
  })

  it("follows the relay's time when the device's clock was set back meanwhile", () => {
    let now = 1_000_000
    const difference = new ClockDifference({ now: () => now, after: () => () => {}, random: () => new Uint8Array() })
    difference.asked()
    now = 10
    expect(difference.answered(1_000_000, 0)).toBe(999_990)
  })
})
