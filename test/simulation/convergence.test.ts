import { expect, test } from "vitest"
import { checkHunt } from "./check.ts"
import { play, sample, warmUp } from "./property.ts"

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

test("nothing promised is broken on the way, and in the end all agree", async () => {
  await checkHunt({ runs: 60, seed: 1, reduceMs: 20_000 })
}, 120_000)
