import { expect, test } from "vitest"
import { checkFixed, checkFresh } from "./check.ts"
import { play, sample, warmUp } from "./property.ts"

const MINUTES = 60_000

test("the same seed gives the same run, to the last frame", async () => {
  await warmUp()
  const traces = new Set<string>()
  for (const run of sample(5, 11)) {
    const { trace } = (await play(run)).scheduler
    expect((await play(run)).scheduler.trace).toBe(trace)
    traces.add(trace)
  }
  expect(traces.size).toBe(5)
})

test(
  "nothing promised is broken on the way, and in the end all agree",
  () => checkFixed({ runs: 60, seed: 1 }),
  10 * MINUTES,
)

test("the same in fresh runs", () => checkFresh({ runs: 15 }), 5 * MINUTES)
