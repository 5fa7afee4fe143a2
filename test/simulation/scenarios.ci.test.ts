import { describe, expect, test } from "vitest"
import { plant } from "./plant-bug.ts"
import { scenarios } from "./scenarios.ts"

describe("a named schedule breaks without its rule", () => {
  for (const [name, { rule, without, breaks }] of Object.entries(scenarios)) {
    test(`${name}: ${rule}`, async () => {
      const { found } = await plant({ name: `without ${name}`, edits: without }, { scenario: name })
      console.log(`without ${name}: ${found}`)
      // It must be the promise of this rule that breaks: a crash, or a schedule that does not come to its place, is none.
      expect(found).toMatch(breaks)
    })
  }
})
