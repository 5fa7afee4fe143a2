import { beforeAll, expect, test } from "vitest"
import { loadAutomerge } from "../../../src/document/entity.ts"
import { runs } from "../../support/histories.ts"
import { checkHistories, checkMutants, type Seen } from "./agreement.ts"

beforeAll(() => loadAutomerge())

/** About this many mutants of each history are valid changes. */
const MUTANTS = 12

function print(title: string, seed: number, seen: Seen): void {
  const lines = [...seen].sort().map(([what, times]) => `  ${what.padEnd(56)} ${times}`)
  console.log([`${title}, seed ${seed}`, ...lines].join("\n"))
}

for (const [which, seed] of [
  ["fixed", 1],
  ["fresh", Date.now() % 2 ** 31],
] as const) {
  test(`rows that were read from random changes are the rows that Automerge makes of them: ${which} histories`, () => {
    const all = runs(1000, 50_000)
    const seen = checkHistories(all, seed)
    print("read, or declined because of", seed, seen)
    expect(seen.get("read")).toBeGreaterThan(all / 2)
  })

  test(`Automerge takes every mutant that the reader accepts, and makes the same row of it: ${which} mutants`, () => {
    const all = runs(500, 10_000)
    const seen = checkMutants(all / MUTANTS, seed)
    print("mutants", seed, seen)
    const accepted = [...seen]
      .filter(([what]) => what.startsWith("accepted"))
      .reduce((sum, [, times]) => sum + times, 0)
    expect(accepted).toBeGreaterThan(all / 20)
  })
}
