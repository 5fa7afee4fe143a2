/** The checks at the end of a run excuse changes that depend on a change of which the run has destroyed every copy. */
import { beforeAll, expect, test } from "vitest"
import { warmUp } from "./property.ts"
import { Stage } from "./world/stage.ts"

beforeAll(warmUp)

/** Leaves a change of r1 to e0 on r2 and in the log. It depends on a change of r0 of which no copy is left. */
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

test("no replica shows an entity whose first change is lost, even if the log has later ones", async () => {
  const stage = new Stage()
  await destroyWhatE0BeginsWith(stage)
  await stage.settle()
  for (const { ws } of stage.world.replicas) expect(ws!.notes.get("e0")).toBeUndefined()
  await stage.world.end()
})

test("no relay takes changes of an entity whose first change is lost", async () => {
  const stage = new Stage()
  await destroyWhatE0BeginsWith(stage)
  await stage.restore(0)
  await stage.settle()
  await stage.world.end()
})
