/** The relay withdraws a device's right to write, and gives it back, while changes of the device are under way. */
import { beforeAll, expect, test } from "vitest"
import { warmUp } from "./property.ts"
import { Stage } from "./world/stage.ts"

beforeAll(warmUp)

test("a change that is refused because its device may only read goes out when the device may write again", async () => {
  const s = new Stage({ replicas: 2 })
  await s.start()
  await s.sync(0)
  await s.sync(1)
  await s.edit(0)
  const owed = s.pending(0)
  await s.access(0) // the device's push is on the way to the relay, and the relay's notice on the way to the device
  await s.up(0)
  await s.flush()
  await s.down(0, 9)
  await s.edit(0, "e1")
  const { edits, wire } = s.world.oracle
  expect([owed > 0, s.pending(0), wire.seen.forbidden, edits.readOnly]).toEqual([true, owed, owed, 1])
  await s.access(0)
  await s.down(0, 9)
  await s.edit(0, "e2")
  await s.sync(0)
  await s.untilPushedAgain()
  await s.sync(0)
  expect(s.pending(0)).toBe(0)
  await s.sync(1)
  await s.settle()
  await s.world.end()
})

test("a device that is told of its access in the first entries of a connection keeps to it", async () => {
  const s = new Stage({ replicas: 2 })
  await s.start()
  await s.sync(0)
  await s.cut(0)
  await s.edit(0)
  const owed = s.pending(0)
  await s.access(0)
  await s.sync(0)
  await s.edit(0, "e1")
  const { edits, wire } = s.world.oracle
  expect([s.pending(0), wire.seen.forbidden, edits.readOnly]).toEqual([owed, owed, 1])
  await s.cut(0)
  await s.access(0)
  await s.sync(0)
  await s.edit(0, "e1")
  await s.sync(0)
  expect([s.pending(0), edits.readOnly]).toEqual([0, 1])
  await s.settle()
  await s.world.end()
})
