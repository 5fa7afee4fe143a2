import { expect, test } from "vitest"
import { plant } from "./plant-bug.ts"
import { bugs } from "./planted-bugs.ts"

/** The property must find a bug within this number of runs. The run that is known to find the bug is played first. */
const RUNS = process.env["HEADWATER_LONG"] === "1" ? 200 : 50

test("without a planted bug there is nothing to find", async () => {
  const nothing = { name: "none", edits: [] }
  expect(await plant(nothing, { runs: RUNS, seed: 1 })).toEqual({ runs: RUNS })
})

for (const bug of bugs) {
  test(`the property finds a planted bug: ${bug.name}`, async () => {
    const { found, by } = await plant(bug, { runs: RUNS, seed: 1, first: bug.run })
    if (by !== bug.run) console.log(`${bug.name}: run ${bug.run} does not find it any more, ${by ?? "none"} does`)
    // The failure must match. A planted bug that makes everything crash would also fail, and would not prove that the
    // property sees the fault.
    expect(found).toMatch(bug.sees)
  })
}
