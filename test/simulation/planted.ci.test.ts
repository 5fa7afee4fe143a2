import { expect, test } from "vitest"
import { bugs } from "./bugs.ts"
import { plant } from "./planted.ts"

const SEEDS = 200

test("without a planted bug there is nothing to find", async () => {
  const nothing = { name: "none", edits: [] }
  expect(await plant(nothing, { runs: SEEDS, seed: 1 })).toEqual({ runs: SEEDS })
})

for (const bug of bugs) {
  test(`the property finds a planted bug: ${bug.name}`, async () => {
    const { found, runs } = await plant(bug, { runs: SEEDS, seed: 1 })
    console.log(`${bug.name}: ${found ? `found after ${runs} runs: ${found}` : `not found in ${runs} runs`}`)
    // A bug that rots into a crash would be found, too.
    expect(found).toMatch(bug.sees)
  })
}
