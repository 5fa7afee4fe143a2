import { expect, it } from "vitest"
import { Turns } from "../../src/base/turns.ts"

it("gives other work its turn after a number of bytes, and not before", async () => {
  const waiting: (() => void)[] = []
  const clock = {
    now: () => 0,
    random: () => new Uint8Array(),
    after: (_ms: number, f: () => void) => {
      waiting.push(f)
      return () => {}
    },
  }
  const turns = new Turns(clock, 100)
  expect(turns.worked(60)).toBeUndefined()
  expect(turns.worked(39)).toBeUndefined()
  let isResumed = false
  const pause = turns.worked(1)?.then(() => (isResumed = true))
  await Promise.resolve()
  expect([waiting.length, isResumed]).toEqual([1, false])
  waiting[0]?.()
  await pause
  expect(isResumed).toBe(true)
  expect(turns.worked(99)).toBeUndefined()
})
