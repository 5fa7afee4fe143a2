import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { usualSizes } from "../../src/base/replica-sizes.ts"
import { Credit } from "../../src/sync/credit.ts"

const { firstCredit, leastCredit, credit: most } = usualSizes
const FRAME = 2 ** 14

/** A relay with endless entries on a line that brings `rate` bytes a second. */
class Line {
  now = 0
  /** Bytes that the relay has sent and this device has not committed. */
  underWay = 0
  /** Bytes that the relay may still send. */
  allowed = 0
  /** How often the line was idle because the relay had no credit. */
  stalls = 0
  readonly credit: Credit
  readonly #rate: number

  constructor(rate: number) {
    this.#rate = rate
    this.credit = new Credit({ now: () => this.now, after: () => () => {}, random: () => new Uint8Array() }, usualSizes)
    this.allowed = this.credit.first()
  }

  /** The line brings one frame, and this device commits it. */
  bring(): void {
    this.#send()
    if (this.underWay === 0) this.stalls++
    const bytes = Math.min(FRAME, this.underWay)
    this.now += (1000 * bytes) / this.#rate
    this.underWay -= bytes
    this.allowed += this.credit.committed(bytes, false)
    this.#send()
  }

  #send(): void {
    if (this.allowed <= 0) return
    this.underWay += this.allowed
    this.allowed = 0
  }
}

describe("the credit of a pull", () => {
  it("lets at most two seconds of a slow line be under way, whatever the line brings", () => {
    const rates = fc.integer({ min: leastCredit / 2, max: 8_000_000 })
    fc.assert(
      fc.property(rates, (rate) => {
        const line = new Line(rate)
        for (let i = 0; i < 2000; i++) line.bring()
        expect(line.underWay).toBeLessThanOrEqual(Math.max(2 * rate, leastCredit) + FRAME)
        expect(line.stalls).toBe(0)
      }),
      { numRuns: 200 },
    )
  })

  it("lets four seconds of a line of 32 kB a second be under way at first, and two a little later", () => {
    const line = new Line(32_768)
    expect(line.allowed).toBe(firstCredit)
    for (let i = 0; i < 16; i++) line.bring()
    expect(line.underWay).toBeLessThanOrEqual(leastCredit)
  })

  it("grows to all that a device may hold while the line is fast, and is granted once for each byte", () => {
    const line = new Line(100_000_000)
    let committed = 0
    let granted = firstCredit
    for (let i = 0; i < 5000; i++) {
      line.now += 0.1
      committed += FRAME
      granted += line.credit.committed(FRAME, false)
      expect(granted - committed).toBeLessThanOrEqual(most)
      expect(granted - committed).toBeGreaterThanOrEqual(leastCredit / 2)
    }
    expect(granted - committed).toBeGreaterThanOrEqual((3 * most) / 4)
  })

  it("does not take the time in which the relay has nothing to send for a slow line", () => {
    const line = new Line(1)
    for (let i = 0; i < 1000; i++) {
      line.now += 60_000
      line.credit.committed(1000, true)
    }
    expect(line.credit.first()).toBe(firstCredit)
  })
})
