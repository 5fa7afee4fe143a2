import { expect, test } from "vitest"
import { mends } from "./mends.ts"
import { plant } from "./planted.ts"

test.each(mends)("the tests find a planted fault: $name", async ({ tests, fails, ...bug }) => {
  const { found } = await plant(bug, { tests })
  expect(found).toMatch(fails)
})
