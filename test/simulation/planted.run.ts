/** Started by planted.ts in a process whose sources have a bug: writes whether the schedule or the property noticed. */
import { writeFileSync } from "node:fs"
import { test } from "vitest"
import type { Result, Task } from "./planted.ts"
import { hunt, warmUp } from "./property.ts"
import { playScenario } from "./scenarios.ts"

const { run, out } = JSON.parse(process.env["HEADWATER_PLANTED"] ?? "{}") as Task

test("the planted bug", async () => {
  writeFileSync(out, JSON.stringify("scenario" in run ? await schedule(run.scenario) : await property(run)))
})

async function schedule(name: string): Promise<Result> {
  await warmUp()
  return playScenario(name).then(
    () => ({ runs: 1 }),
    (error: Error) => ({ runs: 1, found: firstLine(error) }),
  )
}

async function property(options: { runs: number; seed: number }): Promise<Result> {
  const { runs, failure } = await hunt(options)
  return { runs, ...(failure && { found: failure.message.split("\n")[0]! }) }
}

const firstLine = ({ message }: Error): string => message.split("\n")[0]!
