import { expect, test, vi } from "vitest"
import { textCell } from "../../src/document/cells.ts"
import { difference } from "../../src/document/difference.ts"
import { planned } from "../../src/document/writing.ts"
import { limits } from "../../src/wire/protocol.ts"
import { notes } from "../support/histories.ts"

vi.mock("../../src/document/difference.ts", { spy: true })

/** Plans the assignment of `value` to a text with the value `before`. */
function assign(before: string, value: string): void {
  const cells = new Map([["body", textCell({ object: "1@aa", value: before, others: [] })]])
  planned(notes, { set: new Map(), remove: [], text: new Map([["body", value]]), splices: [] }, cells)
}

test("a text that its length alone shows to be too large is refused, and no difference is computed", () => {
  const before = "Some words. ".repeat(10)
  const most = before.length + limits.ops
  for (const value of ["b".repeat(most + 1), "😀".repeat(most + 1)]) {
    expect(() => assign(before, value)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }))
  }
  expect(difference).not.toHaveBeenCalled()
  // A change may have as many operations as this text has characters. Its UTF-16 units are twice as many.
  assign("", "😀".repeat(limits.ops))
  expect(difference).toHaveBeenCalledTimes(1)
})
