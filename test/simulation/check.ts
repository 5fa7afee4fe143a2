/** Runs the property as a test: prints what happened in its runs, and fails when a run failed. */
import { expect } from "vitest"
import { hunt, type Outcome, reduce, report } from "./property.ts"

const { HEADWATER_SEED: seedToReplay, HEADWATER_PATH: pathToReplay } = process.env

/**
 * Plays the same runs every time. Also fails when too few of the runs met one of the things that runs must meet. Fresh
 * runs are not checked for this, because their share would be above the limit one time and below it another.
 */
export async function checkFixed({ runs, seed }: { runs: number; seed: number }): Promise<void> {
  const { rare } = await check(await hunt({ runs, seed }))
  expect(rare, "what happened in too few runs").toEqual([])
}

/**
 * Plays runs of a new seed each time. The printed table names the seed. `HEADWATER_SEED=<seed>` plays the same runs
 * again; with the `HEADWATER_PATH=<path>` of a failure, it plays only the run that failed.
 */
export async function checkFresh({ runs }: { runs: number }): Promise<void> {
  const seed = seedToReplay === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(seedToReplay)
  await check(await hunt({ runs, seed, ...(pathToReplay && { path: pathToReplay }) }))
}

/** Longest time spent on making a failed run smaller, ms. */
const REDUCE_MS = 30_000

async function check(outcome: Outcome): Promise<{ rare: string[] }> {
  const failure = outcome.failure && (await reduce(outcome.failure, REDUCE_MS))
  const { text, rare } = report({ ...outcome, ...(failure && { failure }) })
  console.log(text)
  expect(failure?.message).toBeUndefined()
  return { rare }
}
