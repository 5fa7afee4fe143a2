import { expect, test } from "vitest"
import { hunt, reduce, report } from "./simulation/property.ts"

const long = process.env["HEADWATER_LONG"] === "1"

test("the same seed gives the same run, to the last frame", async () => {
  const { play, sample, warmUp } = await import("./simulation/property.ts")
  await warmUp()
  for (const run of sample(3, 11)) {
    const once = (await play(run)).scheduler.trace
    expect((await play(run)).scheduler.trace).toBe(once)
  }
})

test(
  "nothing promised is broken on the way, and in the end all agree",
  async () => {
    const outcome = await hunt({ runs: long ? 10_000 : 60, seed: long ? Date.now() | 0 : 1 })
    const failure = outcome.failure && (await reduce(outcome.failure, 30_000))
    const { text, rare } = report({ ...outcome, ...(failure && { failure }) })
    console.log(text)
    expect(failure?.message).toBeUndefined()
    expect(rare, "happened in too few runs").toEqual([])
  },
  long ? 4 * 3_600_000 : 120_000,
)
