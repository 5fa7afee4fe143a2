import { expect, test } from "vitest"
import { Heartbeat } from "../../src/sync/connection/heartbeat.ts"

/** A clock that a test moves with `pass`. */
function clock() {
  let now = 0
  const timers = new Set<{ at: number; f: () => void }>()
  const after = (ms: number, f: () => void) => {
    const timer = { at: now + ms, f }
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  const pass = (ms: number) => {
    const until = now + ms
    for (;;) {
      const next = [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      timers.delete(next)
      now = next.at
      next.f()
    }
    now = until
  }
  return { after, pass }
}

test("a ping asked for while one is unanswered is neither sent nor postpones the end", () => {
  const { after, pass } = clock()
  let pings = 0
  let deaths = 0
  const heartbeat = new Heartbeat(
    after,
    () => void pings++,
    () => void deaths++,
  )
  heartbeat.start()
  heartbeat.beatNow()
  for (let i = 0; i < 9; i++) {
    pass(1000)
    heartbeat.beatNow()
  }
  expect([pings, deaths]).toEqual([1, 0])
  pass(1000)
  expect([pings, deaths]).toEqual([1, 1])
})

test("pings 15 s after an answer, whichever message that was", () => {
  const { after, pass } = clock()
  const pings: number[] = []
  let at = 0
  const heartbeat = new Heartbeat(
    after,
    () => void pings.push(at),
    () => {
      throw new Error("the connection is alive")
    },
  )
  heartbeat.start()
  for (; at < 80; at++) {
    heartbeat.heard()
    pass(1000)
  }
  expect(pings).toEqual([14, 39, 64]) // the answer to a ping is looked for after 10 s, and the next ping is 15 s later
})
