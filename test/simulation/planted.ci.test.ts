import { expect, test } from "vitest"
import { plant } from "./plant-bug.ts"
import { bugs } from "./planted-bugs.ts"

/** In how many runs of the property a bug must be found. The run that is known to find it is played first. */
const RUNS = process.env["HEADWATER_LONG"] === "1" ? 200 : 50

test("without a planted bug there is nothing to find", async () => {
  const nothing = { name: "none", edits: [] }
  expect(await plant(nothing, { runs: RUNS, seed: 1 })).toEqual({ runs: RUNS })
})

for (const bug of bugs) {
  test(`the property finds a planted bug: ${bug.name}`, async () => {
    const { found, by } = await plant(bug, { runs: RUNS, seed: 1, first: bug.run })
    if (by !== bug.run) console.log(`${bug.name}: run ${bug.run} does not find it any more, ${by ?? "none"} does`)
    // The failure must match, because a planted bug that now makes everything crash would be found too, without any
    // proof that the property sees the fault.
    expect(found).toMatch(bug.sees)
  })
}
