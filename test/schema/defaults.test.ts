import fc from "fast-check"
import { expect, test } from "vitest"
import { startOf } from "../../src/schema/preview.ts"

test("the start of a text never ends in half a surrogate pair, and is otherwise as long as asked for", () => {
  expect([startOf("ab😀", 2), startOf("ab😀", 3), startOf("ab😀", 4), startOf("a😀b", 3)]).toEqual([
    "ab",
    "ab",
    "ab😀",
    "a😀",
  ])
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (text, max) => {
      const start = startOf(text, max)
      expect(text.startsWith(start)).toBe(true)
      expect(/[\ud800-\udbff]$/.test(start)).toBe(false)
      expect(start.length).toBeGreaterThanOrEqual(Math.min(text.length, max) - 1)
      expect(start.length).toBeLessThanOrEqual(max)
    }),
  )
})
