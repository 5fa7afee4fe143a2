import { beforeAll, describe, expect, test } from "vitest"
import { checkPlantable } from "./plant-bug.ts"
import { bugs } from "./planted-bugs.ts"
import { mends } from "./planted-mends.ts"
import { warmUp } from "./property.ts"
import { notYet, playScenario, scenarios } from "./scenarios.ts"

beforeAll(warmUp)

describe("a named schedule holds", () => {
  for (const [name, { rule }] of Object.entries(scenarios)) test(`${name}: ${rule}`, () => playScenario(name))
})

test("every rule can be taken out and every bug planted: its place is in the sources exactly once", () => {
  for (const bug of [...bugs, ...mends]) checkPlantable(bug)
  for (const [name, { without }] of Object.entries(scenarios))
    checkPlantable({ name: `without ${name}`, edits: without })
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
