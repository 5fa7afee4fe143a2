/** Runs the property as a test: prints what happened in its runs, and fails when a run failed. */
import { expect } from "vitest"
import { hunt, type Outcome, reduce, report } from "./property.ts"

const { HEADWATER_SEED: seedToReplay, HEADWATER_PATH: pathToReplay } = process.env

/**
 * The same runs every time. The test also fails when something that must happen did so in too few of them. Only fixed
 * runs are checked for this, because in other runs the share would be above the limit one time and below it another.
 */
export async function checkFixed({ runs, seed }: { runs: number; seed: number }): Promise<void> {
  const { rare } = await check(await hunt({ runs, seed }))
  expect(rare, "what happened in too few runs").toEqual([])
}

/**
 * Runs with a new seed each time. The printed table names the seed. `HEADWATER_SEED=<seed>` plays the same runs again;
 * with the `HEADWATER_PATH=<path>` of a failure, it plays only the run that failed.
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
