import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import { type Live, Ring, Window } from "../../relay/serve/recent-entries.ts"

const live = (bytes: number): Live => ({ bytes: new Uint8Array(bytes), session: 1, push: "1", index: 0 })

describe("live entries", () => {
  it("leave the oldest first, whoever they belong to, once they are more than the budget", () => {
    const ring = new Ring(300)
    const [a, b] = [new Window(ring, 0), new Window(ring, 0)]
    a.add(0, 1, live(100))
    b.add(0, 1, live(100))
    a.add(1, 2, live(100))
    expect([a.covers(0), b.covers(0)]).toEqual([true, true])
    b.add(1, 2, live(100))
    expect([a.covers(0), a.covers(1), b.covers(0)]).toEqual([false, true, true])
    b.add(2, 3, live(150))
    expect([a.covers(1), b.covers(0), b.covers(1)]).toEqual([false, false, true])
  })

  it("do not leave for what was cleared", () => {
    const ring = new Ring(300)
    const [a, b] = [new Window(ring, 0), new Window(ring, 0)]
    a.add(0, 1, live(100))
    b.add(0, 1, live(100))
    a.clear()
    a.add(1, 2, live(100))
    b.add(1, 2, live(100))
    expect([a.covers(1), b.covers(0)]).toEqual([true, true])
    // Budget for three: the oldest is b's first, not what a has had since.
    b.add(2, 3, live(100))
    expect([a.covers(1), b.covers(0), b.covers(1)]).toEqual([true, false, true])
  })

  it("leave nothing behind when their workspaces close, though the ring is never full", () => {
    const ring = new Ring(2 ** 20)
    const kept = new Window(ring, 0)
    for (let i = 0; i < 3; i++) kept.add(i, i + 1, live(100))
    const one = live(100)
    const before = heap()
    for (let i = 0; i < 100_000; i++) {
      const window = new Window(ring, 0)
      window.add(0, 1, one)
      window.clear()
    }
    expect(heap() - before).toBeLessThan(4 * 2 ** 20)
    expect(kept.covers(0)).toBe(true)
  })
})

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

function heap(): number {
  collect()
  return process.memoryUsage().heapUsed
}
