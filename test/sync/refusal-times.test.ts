import { expect, test } from "vitest"
import type { HeadwaterError } from "../../src/base/errors.ts"
import { Refusals } from "../../src/sync/refusals.ts"

test("whichever entity is refused again, the entity whose time comes first is shown and sent first", () => {
  let now = 1000
  let timer: { at: number; f: () => void } | undefined
  const clock = {
    now: () => now,
    after(ms: number, f: () => void) {
      const mine = { at: now + ms, f }
      timer = mine
      return () => {
        if (timer === mine) timer = undefined
      }
    },
    random: (n: number) => new Uint8Array(n),
  }
  const shown: (string | undefined)[] = []
  let sent = 0
  const refusals = new Refusals(
    clock,
    (error: HeadwaterError | null) => shown.push(error?.entity),
    () => void sent++,
  )
  refusals.add("a", "RATE", 2000)
  refusals.add("b", "RATE", 5000)
  expect([shown.at(-1), timer?.at]).toEqual(["a", 3000])
  refusals.add("a", "RATE", 60_000)
  expect([shown.at(-1), timer?.at]).toEqual(["b", 6000])
  now = 6000
  const { f } = timer!
  timer = undefined
  f()
  expect([sent, refusals.has("a"), refusals.has("b"), shown.at(-1)]).toEqual([1, true, false, "a"])
  expect((timer as { at: number } | undefined)?.at).toBe(61_000)
})
