/** The property, with people who edit on screens: through handles, which show edits before they are saved. */
import { beforeAll, expect, test } from "vitest"
import { commandsOf, play, sample, warmUp } from "./property.ts"

beforeAll(warmUp)

test("nothing promised is broken when entities are edited through handles", async () => {
  const seen: Record<string, number> = {}
  for (const { options, commands } of sample(30, 11)) {
    const run = { options: { ...options, screens: true }, commands }
    const world = await play(run).catch((error: Error) => {
      throw new Error(`${error.message}\n${commandsOf(run)}`)
    })
    for (const [what, times] of Object.entries(world.happened())) seen[what] = (seen[what] ?? 0) + times
  }
  for (const what of ["saved: splice", "saved: field", "failed commits", "replica crashes", "heals"]) {
    expect(seen[what], what).toBeGreaterThan(0)
  }
}, 600_000)
