import { describe, expect, test } from "vitest"
import { plant } from "./plant-bug.ts"
import { scenarios } from "./scenarios.ts"

describe("a named schedule breaks without its rule", () => {
  for (const [name, { rule, without, breaks }] of Object.entries(scenarios)) {
    test(`${name}: ${rule}`, async () => {
      const { found } = await plant({ name: `without ${name}`, edits: without }, { scenario: name })
      console.log(`without ${name}: ${found}`)
      // The failure must be the one that this rule prevents. A crash, or a schedule that does not come to its
      // situation, would not prove that the rule is needed.
      expect(found).toMatch(breaks)
    })
  }
})
