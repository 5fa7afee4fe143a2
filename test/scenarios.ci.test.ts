import { describe, expect, test } from "vitest"
import { plant } from "./simulation/planted.ts"
import { scenarios } from "./simulation/scenarios.ts"

describe("a named schedule breaks without its rule", () => {
  for (const [name, { rule, given = [], without }] of Object.entries(scenarios)) {
    test(`${name}: ${rule}`, async () => {
      const { found } = await plant({ name: `without ${name}`, edits: [...given, ...without] }, { scenario: name })
      console.log(`without ${name}: ${found}`)
      expect(found, "nobody noticed").toBeDefined()
      expect(found, "it must be a promise that breaks, not the schedule").not.toMatch(/the schedule does not come/)
    })
  }
})
