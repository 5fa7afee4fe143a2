/** The property as a test: prints what it saw, fails when it broke or saw too little. */
import { expect } from "vitest"
import { hunt, reduce, report } from "./property.ts"

/** `HEADWATER_SEED=<seed>` and `HEADWATER_PATH=<path>` of a failure play that run again. */
export async function checkHunt(options: { runs: number; seed: number; reduceMs?: number }): Promise<void> {
  const { runs, reduceMs = 60_000 } = options
  const path = process.env["HEADWATER_PATH"]
  const outcome = await hunt({
    runs,
    seed: Number(process.env["HEADWATER_SEED"] ?? options.seed),
    ...(path && { path }),
  })
  const failure = outcome.failure && (await reduce(outcome.failure, reduceMs))
  const { text, rare } = report({ ...outcome, ...(failure && { failure }) })
  console.log(text)
  expect(failure?.message).toBeUndefined()
  if (!path) expect(rare, "what happened in too few runs").toEqual([])
}
