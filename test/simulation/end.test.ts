/** What the end of a run excuses: changes that rest on one that we have destroyed everywhere. */
import { beforeAll, expect, test } from "vitest"
import { warmUp } from "./property.ts"
import { Stage } from "./world/stage.ts"

beforeAll(warmUp)

/** What r1 has written to e0 is on r2 and in the log; what that rests on was r0's and is nowhere any more. */
async function destroyWhatE0BeginsWith(stage: Stage): Promise<void> {
  await stage.start()
  stage.backUp()
  await stage.edit(0)
  await stage.sync(0)
  await stage.sync(1)
  await stage.edit(1)
  await stage.sync(1)
  await stage.damage("e0")
  await stage.die(1)
  await stage.die(0)
  await stage.sync(0)
  const { lost, changes } = stage.world.oracle
  stage.expect(
    "something of e0 is lost",
    [...lost].some((hash) => changes.get(hash)?.entity === "e0"),
  )
}

test("nobody can show what the log has of an entity without its beginning", async () => {
  const stage = new Stage()
  await destroyWhatE0BeginsWith(stage)
  await stage.settle()
  for (const { ws } of stage.world.replicas) expect(ws!.notes.get("e0")).toBeUndefined()
  await stage.world.end()
})

test("nobody takes what a device has of an entity without its beginning", async () => {
  const stage = new Stage()
  await destroyWhatE0BeginsWith(stage)
  await stage.restore(0)
  await stage.settle()
  await stage.world.end()
})
