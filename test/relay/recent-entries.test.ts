import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import { RecentBudget, RecentEntries, type RecentEntry } from "../../relay/serve/recent-entries.ts"

const entry = (bytes: number): RecentEntry => ({ bytes: new Uint8Array(bytes), connection: 1, push: "1", index: 0 })

describe("recent entries", () => {
  it("leave oldest first, whichever workspace they belong to, once they exceed the budget", () => {
    const budget = new RecentBudget(300)
    const [a, b] = [new RecentEntries(budget, 0), new RecentEntries(budget, 0)]
    a.add(0, 1, entry(100))
    b.add(0, 1, entry(100))
    a.add(1, 2, entry(100))
    expect([a.covers(0), b.covers(0)]).toEqual([true, true])
    b.add(1, 2, entry(100))
    expect([a.covers(0), a.covers(1), b.covers(0)]).toEqual([false, true, true])
    b.add(2, 3, entry(150))
    expect([a.covers(1), b.covers(0), b.covers(1)]).toEqual([false, false, true])
  })

  it("do not leave to make room for entries that were cleared", () => {
    const budget = new RecentBudget(300)
    const [a, b] = [new RecentEntries(budget, 0), new RecentEntries(budget, 0)]
    a.add(0, 1, entry(100))
    b.add(0, 1, entry(100))
    a.clear()
    a.add(1, 2, entry(100))
    b.add(1, 2, entry(100))
    expect([a.covers(1), b.covers(0)]).toEqual([true, true])
    // The budget has room for three entries. The oldest one is b's first, because a's first was cleared.
    b.add(2, 3, entry(100))
    expect([a.covers(1), b.covers(0), b.covers(1)]).toEqual([true, false, true])
  })

  it("are forgotten when the log is cut back, because entries behind the cut are not in it any more", () => {
    const recent = new RecentEntries(new RecentBudget(1000), 0)
    const [kept, lost, next] = [entry(1), entry(2), entry(3)]
    recent.add(0, 1, kept)
    recent.add(1, 2, lost) // its flush fails, so the next entry follows position 1 as well
    recent.add(1, 3, next)
    expect([0, 1, 2, 3].map((position) => recent.covers(position))).toEqual([false, false, true, true])
    expect([1, 2, 3].map((position) => recent.at(position))).toEqual([undefined, undefined, next])
    expect(recent.at(4)).toBeUndefined()
  })

  it("are forgotten when positions are left out, because the entries in between were never added", () => {
    const recent = new RecentEntries(new RecentBudget(1000), 0)
    const next = entry(2)
    recent.add(0, 1, entry(1))
    recent.add(1, 4, next)
    expect([0, 1, 2, 3, 4].map((position) => recent.covers(position))).toEqual([false, false, false, true, true])
    expect([1, 2, 3, 4].map((position) => recent.at(position))).toEqual([undefined, undefined, undefined, next])
  })

  it("leave nothing in memory when their workspaces close, even if the budget is never used up", () => {
    const budget = new RecentBudget(2 ** 20)
    const kept = new RecentEntries(budget, 0)
    for (let i = 0; i < 3; i++) kept.add(i, i + 1, entry(100))
    const one = entry(100)
    const before = heap()
    for (let i = 0; i < 100_000; i++) {
      const recent = new RecentEntries(budget, 0)
      recent.add(0, 1, one)
      recent.clear()
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
