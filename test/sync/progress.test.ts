/** What counts as progress while the device's clock is set. */
import { expect, test } from "vitest"
import { Progress } from "../../src/sync/progress.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const HOUR = 3_600_000

test.each([
  ["set back", -HOUR],
  ["set forward", HOUR],
  ["left alone", 0],
])("the second of two heals has succeeded after a minute, on a clock that is %s", async (_, ms) => {
  const relay = new ScriptedRelay()
  let made = 0
  const progress = new Progress(relay.env, () => made++)
  progress.otherLog()
  progress.committed(1, true)
  progress.otherLog()
  progress.committed(2, true)
  expect(made).toBe(1) // this is the progress of the first heal
  relay.setClock(ms)
  await relay.pass(59_000)
  progress.committed(3, true)
  expect(made).toBe(1)
  await relay.pass(2_000)
  progress.committed(4, true)
  expect(made).toBe(2)
})

test("the minute begins anew when the workspace was not level in between", async () => {
  const relay = new ScriptedRelay()
  let made = 0
  const progress = new Progress(relay.env, () => made++)
  progress.otherLog()
  progress.otherLog()
  progress.committed(1, true)
  await relay.pass(59_000)
  progress.committed(2, false)
  progress.committed(3, true)
  await relay.pass(59_000)
  progress.committed(4, true)
  expect(made).toBe(0)
})
