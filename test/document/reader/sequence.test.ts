import { expect, test } from "vitest"
import { Sequence } from "../../../src/document/reader/sequence.ts"

/** Makes a sequence in which one actor types `length` characters. `end`: its last piece. */
function typed(length: number) {
  const sequence = new Sequence(
    (counter, _, than) => counter > than,
    () => {},
  )
  sequence.insertText(0, 1, "x", 1, undefined)
  for (let last = 1; last < length; last++) sequence.insertText(0, last + 1, "x", 1, sequence.endingWith(0, last))
  return { sequence, end: sequence.endingWith(0, length) }
}

test("characters that are typed one after the other are one piece", () => {
  const { sequence, end } = typed(4000)
  expect([end.first, end.count]).toEqual([1, 4000])
  expect(sequence.text()).toBe("x".repeat(4000))
})

test("a huge text that grows is not copied whole each time that it is divided, because its pieces stay short", () => {
  const { sequence, end } = typed(10_000)
  expect(end.count).toBeLessThanOrEqual(4096)
  expect(sequence.text()).toBe("x".repeat(10_000))
  const pasted = sequence.endingWith(0, 10_000)
  sequence.insertText(0, 10_001, "y".repeat(50_000), 50_000, pasted)
  sequence.insertText(0, 60_001, "z", 1, sequence.endingWith(0, 60_000))
  expect(sequence.endingWith(0, 60_001).text).toBe("z")
  expect(sequence.text()).toBe(`${"x".repeat(10_000)}${"y".repeat(50_000)}z`)
})
