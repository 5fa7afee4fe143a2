import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { apply, asShown, difference, inStored, moveCaret, over } from "../../examples/notes/splice.ts"

const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "🙂", "👩‍🚀"), maxLength: 12 })

describe("the notes page's splices", () => {
  it("turn one text into the other, and never cut a character in two", () => {
    fc.assert(
      fc.property(text, text, fc.nat(40), (before, after, caret) => {
        const splice = difference(before, after, Math.min(caret, after.length))
        expect(apply(before, splice ? [splice] : [])).toBe(after)
        const { at, remove, insert } = splice ?? { at: 0, remove: 0, insert: "" }
        expect(insert + before.slice(at, at + remove)).not.toMatch(/\p{Surrogate}/u)
      }),
      { numRuns: 2000 },
    )
  })

  it("put a repeated letter where the caret is", () => {
    expect(difference("aaaa", "aaaaa", 2)).toEqual({ at: 1, remove: 0, insert: "a" })
    expect(difference("aaaa", "aaa", 1)).toEqual({ at: 1, remove: 1, insert: "" })
  })

  it("keep the text that the other side inserted, and remove nothing twice", () => {
    expect(apply("one THEIRS", over({ at: 3, remove: 4, insert: "" }, { at: 4, remove: 3, insert: "THEIRS" }))).toBe(
      "oneTHEIRS",
    )
    // `mine` replaces the whole text, and `theirs` inserts in its middle
    const theirs = { at: 2, remove: 0, insert: "XY" }
    expect(apply(apply("abcd", [theirs]), over({ at: 0, remove: 4, insert: "new" }, theirs))).toBe("newXY")
  })

  it("merge like edits that are made one character at a time", () => {
    const splice = fc.record({ at: fc.nat(10), remove: fc.nat(10), insert: fc.constantFrom("", "x", "yz") })
    fc.assert(
      fc.property(splice, splice, (a, b) => {
        const base = "0123456789"
        const mine = { ...a, remove: Math.min(a.remove, base.length - a.at) }
        const theirs = { ...b, insert: b.insert.toUpperCase(), remove: Math.min(b.remove, base.length - b.at) }
        const merged = apply(apply(base, [theirs]), over(mine, theirs))
        const gone = (i: number) => [mine, theirs].some((s) => i >= s.at && i < s.at + s.remove)
        expect(merged.replace(/\D/g, "")).toBe([...base].filter((_, i) => !gone(i)).join(""))
        expect(merged.replace(/[^A-Z]/g, "")).toBe(theirs.insert)
        expect(merged.replace(/[^a-z]/g, "")).toBe(mine.insert)
      }),
      { numRuns: 2000 },
    )
  })

  it("leave the caret between the same letters", () => {
    expect(moveCaret(3, { at: 1, remove: 0, insert: "xx" })).toBe(5)
    expect(moveCaret(3, { at: 3, remove: 0, insert: "xx" })).toBe(3)
    expect(moveCaret(3, { at: 1, remove: 5, insert: "x" })).toBe(2)
    expect(moveCaret(3, { at: 5, remove: 1, insert: "" })).toBe(3)
  })

  it("change only the typed line, and no line break elsewhere", () => {
    const line = fc.constantFrom("a", "\n", "\r", "\r\n")
    const lines = fc.array(line, { maxLength: 8 }).map((each) => each.join(""))
    fc.assert(
      fc.property(
        lines,
        fc.array(fc.constantFrom("b", "\n"), { maxLength: 3 }),
        fc.nat(9),
        fc.nat(3),
        (text, typed, at, n) => {
          const shown = asShown(text)
          const start = Math.min(at, shown.length)
          const mine = { at: start, remove: Math.min(n, shown.length - start), insert: typed.join("") }
          const splice = inStored(mine, text)
          expect(asShown(apply(text, [splice]))).toBe(apply(shown, [mine]))
          // the splice leaves the text before and after it unchanged
          expect(asShown(text.slice(0, splice.at))).toBe(shown.slice(0, mine.at))
          expect(asShown(text.slice(splice.at + splice.remove))).toBe(shown.slice(mine.at + mine.remove))
        },
      ),
      { numRuns: 5000 },
    )
    expect(inStored({ at: 6, remove: 1, insert: "X" }, "1\r\n2\r\n3\r45")).toEqual({ at: 8, remove: 1, insert: "X" })
    expect(inStored({ at: 2, remove: 0, insert: "\n" }, "1\r2")).toEqual({ at: 2, remove: 0, insert: "\n\n" })
  })
})
