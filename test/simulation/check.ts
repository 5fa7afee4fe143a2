/** The property as a test: prints what it saw, and fails when it broke. */
import { expect } from "vitest"
import { hunt, type Outcome, reduce, report } from "./property.ts"

const { HEADWATER_SEED: seedToReplay, HEADWATER_PATH: pathToReplay } = process.env

/**
 * The same runs every time. They fail, too, when something that must have happened was in too few of them: a share of
 * fewer or other runs would be now above and now below.
 */
export async function checkFixed({ runs, seed }: { runs: number; seed: number }): Promise<void> {
  const { rare } = await check(await hunt({ runs, seed }))
  expect(rare, "what happened in too few runs").toEqual([])
}

/**
 * Runs that nobody has played before; the table says their seed. `HEADWATER_SEED=<seed>` plays the same ones again, with
 * `HEADWATER_PATH=<path>` of a failure only the one that failed.
 */
export async function checkFresh({ runs }: { runs: number }): Promise<void> {
  const seed = seedToReplay === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(seedToReplay)
  await check(await hunt({ runs, seed, ...(pathToReplay && { path: pathToReplay }) }))
}

/** Time for making a failure smaller, ms. */
const REDUCE_MS = 30_000

async function check(outcome: Outcome): Promise<{ rare: string[] }> {
  const failure = outcome.failure && (await reduce(outcome.failure, REDUCE_MS))
  const { text, rare } = report({ ...outcome, ...(failure && { failure }) })
  console.log(text)
  expect(failure?.message).toBeUndefined()
  return { rare }
}
