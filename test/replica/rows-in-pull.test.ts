/** Which rows wait for the end of a pull. */
import { expect, test } from "vitest"
import { RowsInPull } from "../../src/replica/rows-in-pull.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

function inPull() {
  const { env, pass } = ((relay) => ({ env: relay.env, pass: (ms: number) => relay.pass(ms) }))(new ScriptedRelay())
  const ended = { times: 0 }
  const rows = new RowsInPull(env, () => void ended.times++)
  return { rows, pass, ended }
}

test("a row that was made in a pull waits for its end, and no other row waits", async () => {
  const { rows, pass, ended } = inPull()
  rows.made("before")
  rows.expect(true)
  rows.made("a")
  rows.expect(true)
  expect(["before", "a", "b"].map((id) => rows.waits(id))).toEqual([false, true, false])
  rows.expect(false)
  expect([rows.waits("a"), ended.times]).toEqual([false, 0])
  await pass(10)
  expect(ended.times).toBe(1)
  rows.expect(false)
  await pass(10)
  expect(ended.times).toBe(1)
})

test("in a pull that never ends, a row is made again after half a minute", async () => {
  const { rows, pass } = inPull()
  rows.expect(true)
  rows.made("a")
  await pass(29_000)
  rows.expect(true)
  expect(rows.waits("a")).toBe(true)
  await pass(2_000)
  rows.expect(true)
  expect(rows.waits("a")).toBe(false)
})

test("nothing is called after stop", async () => {
  const { rows, pass, ended } = inPull()
  rows.expect(true)
  rows.expect(false)
  rows.stop()
  await pass(10)
  expect(ended.times).toBe(0)
})
