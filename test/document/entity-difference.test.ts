import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import { difference } from "../../src/document/difference.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { Replica, runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

const apply = (text: string, hunks: ReturnType<typeof difference>) =>
  hunks.reduceRight((t, { at, remove, insert }) => t.slice(0, at) + insert + t.slice(at + remove), text)
const random = (n: number, seed: number): string => {
  let state = seed
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return String.fromCharCode(97 + ((state >> 8) % 26))
  }).join("")
}

test("the hunks are in order, turn one text into the other, and never cut a surrogate pair", () => {
  const piece = fc.constantFrom(
    "a",
    "b",
    " ",
    "\n",
    "é",
    "😀",
    "😁",
    "👩‍👧",
    "word ",
    "line\n".repeat(30),
    "x".repeat(700),
  )
  const texts = fc.array(piece, { maxLength: 12 })
  const property = fc.property(texts, texts, texts, (start, middle, end) => {
    for (const [a, b] of [
      [
        [...start, ...middle, ...end],
        [...start, ...end],
      ],
      [middle, [...start, ...middle]],
      [start, middle],
    ]) {
      const [before, after] = [(a as string[]).join(""), (b as string[]).join("")]
      const hunks = difference(before, after)
      expect(apply(before, hunks)).toBe(after)
      let last = 0
      for (const { at, remove, insert } of hunks) {
        expect(at).toBeGreaterThanOrEqual(last)
        expect(remove + insert.length).toBeGreaterThan(0)
        for (const text of [insert, before.slice(at, at + remove), before.slice(last, at)])
          expect(text).not.toMatch(/\p{Surrogate}/u)
        last = at + remove
      }
    }
  })
  fc.assert(property, { numRuns: runs(100, 5000) })
})

test("the hunks contain only what has changed", () => {
  expect(difference("same", "same")).toEqual([])
  expect(difference("hello world", "hello brave world")).toEqual([{ at: 6, remove: 0, insert: "brave " }])
  expect(difference("one two three", "ONE two THREE")).toEqual([
    { at: 0, remove: 3, insert: "ONE" },
    { at: 8, remove: 5, insert: "THREE" },
  ])
  expect(difference("say hell to all", "say hello to all")).toEqual([{ at: 8, remove: 0, insert: "o" }])
  expect(difference("say hello to all", "say hell to all")).toEqual([{ at: 8, remove: 1, insert: "" }])
  expect(difference("one. one. one.", "one. two. one.")).toEqual([{ at: 5, remove: 3, insert: "two" }])
  expect(difference("a😀b", "a😁b")).toEqual([{ at: 1, remove: 2, insert: "😁" }])
  const page = `${"A paragraph of a long note.\n".repeat(2000)}`
  const edited = page.replace("A paragraph", "The first paragraph").replace(/note\.\n$/, "note!\n")
  expect(difference(page, edited).reduce((n, { remove, insert }) => n + remove + insert.length, 0)).toBeLessThan(20)
})

test("two 100 kB texts with nothing in common take at most 100 times the processor time of two texts of 500 words", () => {
  const quickest = (before: string, after: string): number => {
    const times = [1, 2, 3].map(() => {
      const started = process.cpuUsage() // unlike the time of day, it leaves out other processes
      expect(apply(before, difference(before, after))).toBe(after)
      const { user, system } = process.cpuUsage(started)
      return user + system
    })
    return Math.min(...times)
  }
  const words = (n: number, seed: number) => (random(6 * n, seed).match(/.{6}/g) ?? []).join(" ")
  const compared = quickest(words(500, 5), words(500, 6))
  const pairs = [
    [random(100_000, 1), random(100_000, 2)],
    [random(100_000, 3).replaceAll("e", " "), random(100_000, 4).replaceAll("e", " ")],
    ["a".repeat(100_000), "ab".repeat(50_000)],
    ["a ".repeat(50_000), "b a ".repeat(25_000)],
    [words(15_000, 7).replaceAll("e ", ". "), words(15_000, 8).replaceAll("e ", ". ")],
    ["a. b ".repeat(20_000), "b. a ".repeat(20_000)],
  ]
  // The smallest difference would take more than a minute to find: thousands of times `compared`.
  for (const [before = "", after = ""] of pairs) expect(quickest(before, after)).toBeLessThan(100 * compared)
})

test("an assignment keeps concurrent edits of others elsewhere in the text", () => {
  const [a, b] = [new Replica(0), new Replica(1)]
  a.update((draft) => void (draft.body = "one two three four"), 1)
  b.pull(a)
  a.update((draft) => void (draft.body = "ONE two three FOUR"), 2)
  b.update((_, edit) => edit.splice("body", 8, 5, "3"), 2)
  a.pull(b)
  b.pull(a)
  for (const { entity } of [a, b]) expect(entity.whole(undefined)["body"]).toBe("ONE two 3 FOUR")
})
