import { expect, test } from "vitest"
import { checksum } from "../../src/base/checksum.ts"

test("the checksum of a long text depends on each of its letters, and on the seed", () => {
  const text = "0123456789abcdé日".repeat(4000)
  const sums = new Set([checksum(text, 0), checksum(text, 1)])
  const places = Array.from({ length: 500 }, (_, i) => i * 127)
  for (const at of places) sums.add(checksum(`${text.slice(0, at)}#${text.slice(at + 1)}`, 0))
  expect(sums.size).toBe(places.length + 2)
})

test("a pair of surrogates counts wherever it stands, also between two portions of a text", () => {
  for (let before = 2 ** 14 - 3; before < 2 ** 14 + 3; before++) {
    const start = "a".repeat(before)
    const sums = ["\u{1f30a}", "\u{1f30b}", "\u{1f40a}"].map((one) => checksum(`${start}${one}b`, 0))
    expect(new Set(sums).size).toBe(3)
  }
})

test("the end of a text counts, and zeros at its end are not the same as no more text", () => {
  const sums = Array.from({ length: 40 }, (_, i) => checksum("a".repeat(i % 20) + "\0".repeat(Math.floor(i / 20)), 0))
  expect(new Set(sums).size).toBe(40)
})
