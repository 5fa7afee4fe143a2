/** `plant-bug.ts` runs this test on sources that have a bug. It writes whether the schedule or the property failed. */
import { writeFileSync } from "node:fs"
import { test } from "vitest"
import type { Result, Runs, Schedule } from "./plant-bug.ts"
import { hunt, warmUp } from "./property.ts"
import { playScenario } from "./scenarios.ts"

const { run, out } = JSON.parse(process.env["HEADWATER_PLANTED"] ?? "{}") as { run: Schedule | Runs; out: string }

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

async function property({ runs, seed, first }: Runs): Promise<Result> {
  const recorded = first === undefined ? undefined : await hunt({ runs: 1, seed, path: `${first}` })
  const { failure } = recorded?.failure ? recorded : await hunt({ runs, seed })
  return failure ? { runs, found: firstLine(failure), by: Number(failure.path) } : { runs }
}

const firstLine = ({ message }: { readonly message: string }): string => message.split("\n")[0]!
