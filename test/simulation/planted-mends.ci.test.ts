import { expect, test } from "vitest"
import { plant } from "./plant-bug.ts"
import { mends } from "./planted-mends.ts"

test.each(mends)("the tests find a planted fault: $name", async ({ tests, fails, ...bug }) => {
  const { found } = await plant(bug, { tests })
  expect(found).toMatch(fails)
})
