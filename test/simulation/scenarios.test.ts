import { beforeAll, describe, expect, test } from "vitest"
import { bugs } from "./bugs.ts"
import { checkPlantable, plant } from "./planted.ts"
import { warmUp } from "./property.ts"
import { notYet, playScenario, scenarios } from "./scenarios.ts"

beforeAll(warmUp)

describe("a named schedule holds", () => {
  for (const [name, { rule, given }] of Object.entries(scenarios)) {
    test(`${name}: ${rule}`, async () => {
      if (!given) return playScenario(name)
      const { found } = await plant({ name, edits: given }, { scenario: name })
      expect(found).toBeUndefined()
    })
  }
})

test("every rule can be taken out and every bug planted: its place is in the sources exactly once", () => {
  for (const bug of bugs) checkPlantable(bug)
  for (const [name, { given = [], without }] of Object.entries(scenarios))
    checkPlantable({ name: `without ${name}`, edits: [...given, ...without] })
})

test("every schedule of the model is played here, or it is said what it waits for", () => {
  expect([...Object.keys(scenarios), ...Object.keys(notYet)].sort()).toEqual(
    [
      "reach",
      "depsHeal",
      "durableHeal",
      "healFlushed",
      "snapFirst_log",
      "closed",
      "tombHeal",
      "tombInPlace",
      "rejectFlushed",
      "codeClasses",
      "rewrite",
      "ownByConn",
      "outboxPrincipal",
      "logWins",
      "snapFirst_ring",
      "healMark",
      "startMoves",
      "purgeFlushed",
      "firstPage",
      "ownByHash",
    ].sort(),
  )
})
