import { test } from "vitest"
import { checkFixed, checkFresh } from "./check.ts"

const long = process.env["HEADWATER_LONG"] === "1"
const HOURS = 3_600_000

if (!long) {
  test(
    "nothing promised is broken on the way, and in the end all agree, in more runs",
    () => checkFixed({ runs: 300, seed: 2 }),
    HOURS,
  )
}

test(
  "nothing promised is broken on the way, and in the end all agree, in fresh runs",
  () => checkFresh({ runs: long ? 10_000 : 50 }),
  8 * HOURS,
)
