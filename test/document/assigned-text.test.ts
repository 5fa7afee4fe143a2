import { readFileSync } from "node:fs"
import path from "node:path"
import { beforeAll, expect, test } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import { dice } from "../support/dice.ts"
import { Replica, runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

/**
 * Two devices start from the text `base`. One assigns `ours` and the other one `theirs`, and then they merge. `order`:
 * pairs of actors for the two devices. Returns the merged text for each pair.
 */
function merged(
  base: string,
  ours: string,
  theirs: string,
  order: readonly [number, number][] = [
    [0, 1],
    [1, 0],
  ],
) {
  return order.map(([first, second]) => {
    const [a, b] = [new Replica(first), new Replica(second)]
    a.update((draft) => void (draft.body = base), 1)
    b.pull(a)
    a.update((draft) => void (draft.body = ours), 2)
    b.update((draft) => void (draft.body = theirs), 2)
    a.pull(b)
    b.pull(a)
    const [text, other] = [a, b].map(({ entity }) => entity.whole(undefined)["body"] as string)
    expect(other).toBe(text)
    a.entity.free()
    b.entity.free()
    return text as string
  })
}

test.each([
  ["nothing", "", "Password: correcthorse", "Password: batterystaple"],
  ["the start of the line", "Password: ", "Password: correcthorse", "Password: batterystaple"],
  ["another word", "Password: hunter2", "Password: correcthorse", "Password: batterystaple"],
  ["a word with letters of both", "Password: better", "Password: correcthorse", "Password: batterystaple"],
])("two passwords that replace %s are both kept, one after the other", (_, base, ours, theirs) => {
  for (const text of merged(base, ours, theirs)) {
    expect(text).toContain("correcthorse")
    expect(text).toContain("batterystaple")
    expect(text.replaceAll("Password: ", "")).toHaveLength("correcthorsebatterystaple".length)
  }
})

test("two new sentences that replace one are both kept, one after the other", () => {
  const [ours, theirs] = ["A dog lay by the door", "One bird flew over the roof"]
  for (const text of merged("Then the cat sat on the mat.", `${ours}.`, `${theirs}.`)) {
    expect([`${ours}${theirs}.`, `${theirs}${ours}.`]).toContain(text)
  }
})

test("a word inserted beside a replaced word stays a separate word", () => {
  for (const text of merged("foo bar end", "foo baz bar end", "foo qux end")) expect(text).toBe("foo baz qux end")
  for (const text of merged("foo bar end", "foo bar baz end", "foo qux end")) expect(text).toBe("foo qux baz end")
  for (const text of merged("foo bar", "foo baz bar", "foo qux")) expect(text).toBe("foo baz qux")
  for (const text of merged("2026-11-29 a", "2026-12-01 a", "2026-11-29 b")) expect(text).toBe("2026-12-01 b")
  for (const text of merged("a 👩‍👧 b", "a 👩‍👦 b", "a 👩‍👧 c")) expect(text).toBe("a 👩‍👦 c")
  for (const text of merged("猫が座る。", "犬が座る。", "猫が走る。")) expect(text).toBe("犬が走る。")
})

test("concurrent edits of different lines keep every line whole", () => {
  const base = "- [ ] buy milk\n- [ ] call Ann\n- [ ] pay rent\n"
  const ours = base.replace("buy milk", "order two crates of oat milk").replace("pay rent", "pay the rent")
  const theirs = base.replace("- [ ] call Ann\n", "- [x] call Ann\n- [ ] write to Bob\n")
  for (const text of merged(base, ours, theirs)) {
    const lines = [
      "- [ ] order two crates of oat milk",
      "- [x] call Ann",
      "- [ ] write to Bob",
      "- [ ] pay the rent",
      "",
    ]
    expect(text.split("\n")).toEqual(lines)
  }
})

// ── prose ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const docs = path.resolve(import.meta.dirname, "../../docs")
const paragraphs = ["architecture.md", "errors.md", "protocol.md", "reliability.md"]
  .flatMap((name) => readFileSync(path.join(docs, name), "utf8").split(/\n\n+/))
  .map((text) => text.replaceAll("\n", " "))
  .filter((text) => /^[A-Z][^|`]{150,}\.$/.test(text))
const sentencesOf = (text: string): string[] => text.match(/.+?(?:[.!?](?= )|$)/g) ?? []
const WORD = /[\p{L}\p{N}_]+(?:['’.:@/-][\p{L}\p{N}_]+)*/gu

interface Rewrite {
  readonly text: string
  /** The new words, each of which occurs once, with the number of its sentence. */
  readonly made: ReadonlyMap<string, number>
  /** Numbers of the rewritten sentences. */
  readonly touched: ReadonlySet<number>
}

/** Rewrites some sentences: replaces a few words by new ones, or the whole sentence by new and common words. */
function rewritten(sentences: readonly string[], side: string, next: () => number): Rewrite {
  const made = new Map<string, number>()
  const touched = new Set<number>()
  const fresh = (sentence: number) => {
    const letters = Array.from({ length: 2 + Math.floor(9 * next()) }, () => "etaoinshr"[Math.floor(9 * next())])
    const word = `${side}${letters.join("")}${made.size}`
    made.set(word, sentence)
    touched.add(sentence)
    return word
  }
  const text = sentences.map((sentence, n) => {
    const way = next()
    if (way < 0.25) {
      return sentence.replace(WORD, (word) => {
        const how = next()
        if (how < 0.15) return fresh(n)
        if (how < 0.2) return `${fresh(n)} ${word}`
        return how < 0.25 ? `${word} ${fresh(n)}` : word
      })
    }
    if (way > 0.4) return sentence
    const words = Array.from({ length: 4 + Math.floor(8 * next()) }, () =>
      next() < 0.3 ? (["the", "a", "is", "of", "it"][Math.floor(5 * next())] as string) : fresh(n),
    )
    touched.add(n)
    return `${sentence.startsWith(" ") ? " " : ""}${words.join(" ")}${sentence.at(-1)}`
  })
  return { text: text.join(""), made, touched }
}

test("prose is rewritten on two devices: every word of a sentence that only one of them changed survives", () => {
  const next = dice(20261129)
  const seen = { rewritten: 0, alone: 0, both: 0 }
  const broken: string[] = []
  for (let run = 0; run < runs(500, 10_000); run++) {
    const base = paragraphs[Math.floor(next() * paragraphs.length)] as string
    const sentences = sentencesOf(base)
    expect(sentences.join("")).toBe(base)
    const sides = [rewritten(sentences, "x", next), rewritten(sentences, "y", next)] as const
    const [text = ""] = merged(base, sides[0].text, sides[1].text, [[run % 2, 1 - (run % 2)]])
    const words = new Set(text.match(WORD))
    for (const [side, other] of [sides, [sides[1], sides[0]] as const]) {
      for (const [word, sentence] of side.made) {
        seen.rewritten++
        const alone = !other.touched.has(sentence)
        seen[alone ? "alone" : "both"]++
        // In a sentence that both devices have changed, words of the two devices may stand together without a space.
        if (alone ? !words.has(word) : !text.includes(word)) broken.push(`${word} in: ${text}`)
      }
    }
    // A sentence that neither device has changed must be in the merged text.
    for (const [n, sentence] of sentences.entries()) {
      const untouched = sides.every(({ touched }) => !touched.has(n))
      if (untouched && !text.includes(sentence.trim())) broken.push(`${sentence} in: ${text}`)
    }
  }
  console.log(`${seen.rewritten} new words, ${seen.alone} of them where only one side wrote; ${broken.length} broken`)
  expect(Math.min(seen.alone, seen.both)).toBeGreaterThan(seen.rewritten / 20)
  expect(broken.slice(0, 3)).toEqual([])
})
