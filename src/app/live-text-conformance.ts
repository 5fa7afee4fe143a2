/** The conformance suite of the `LiveText` contract. */
import type { TextSplice } from "../schema/types.ts"
import type { LiveText } from "./live-text.ts"

/** A text to test. */
export interface LiveTextFixture {
  /** The text "one two three". */
  readonly text: LiveText
  /**
   * Makes these splices as another device, one after the other, and delivers them together. Resolves once `text` has
   * told of them.
   */
  arrive(splices: readonly TextSplice[]): Promise<void>
  destroy(): Promise<void>
}

const BODY = "one two three"

/**
 * The conformance suite of the `LiveText` contract: registers one test for each rule of the contract. `make` is called
 * for every test. `runner`: `{ test }` of vitest, of node:test, or of another runner with such a function.
 */
export function liveTextConformance(
  name: string,
  make: () => Promise<LiveTextFixture>,
  runner: { test(name: string, run: () => Promise<void>): void },
): void {
  const line = (sentence: string, body: (text: LiveText, fixture: LiveTextFixture) => unknown) =>
    runner.test(`${name} ${sentence}`, async () => {
      const fixture = await make()
      try {
        await body(fixture.text, fixture)
      } finally {
        await fixture.destroy()
      }
    })

  line("shows a splice before splice returns", (text) => {
    equal(text.value, BODY)
    text.splice(3, 1, "-")
    equal(text.value, "one-two three")
    text.splice(0, 4)
    equal(text.value, "two three")
  })

  line("counts UTF-16 units", (text) => {
    text.splice(3, 0, "😀")
    text.splice(5, 1, "é")
    equal(text.value, "one😀étwo three")
  })

  line("tells of a splice before splice returns, also another subscriber, with the splice that was made", (text) => {
    const heard: unknown[] = []
    for (const who of ["first", "second"]) text.subscribe((splices, from) => heard.push([who, splices, from]))
    text.splice(4, 3, "2")
    const splices = [{ at: 4, remove: 3, insert: "2" }]
    equal(heard, [
      ["first", splices, "here"],
      ["second", splices, "here"],
    ])
  })

  line("tells nobody of a splice that changes nothing", (text) => {
    let times = 0
    text.subscribe(() => times++)
    text.splice(4, 0, "")
    text.splice(4, 3, "two")
    equal([text.value, times], [BODY, 0])
  })

  line("tells nobody after the end of a subscription", (text) => {
    const heard: string[] = []
    const endFirst = text.subscribe(() => heard.push("first"))
    const endSecond = text.subscribe(() => {
      heard.push("second")
      endSecond()
    })
    text.splice(0, 0, "a")
    endFirst()
    endFirst()
    text.splice(0, 0, "b")
    equal(heard, ["first", "second"])
  })

  line("refuses a splice beyond the text or within a surrogate pair, and changes nothing", (text) => {
    text.splice(0, 0, "😀")
    let times = 0
    text.subscribe(() => times++)
    const { value } = text
    const { length } = value
    for (const [at, remove] of [
      [-1, 0],
      [0, length + 1],
      [length + 1, 0],
      [2, -1],
      [0.5, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ] as const) {
      equal(
        codeOf(() => text.splice(at, remove, "x")),
        "SPLICE_RANGE",
      )
    }
    equal([text.value, times], [value, 0])
  })

  line("tells of an edit made inside a subscriber once everybody has heard of the edit before", (text) => {
    const heard: string[] = []
    let isFirst = true
    text.subscribe(([splice]) => {
      heard.push(`1 ${splice?.insert}`)
      if (!isFirst) return
      isFirst = false
      text.splice(0, 0, "B")
      heard.push(`1 sees ${text.value.slice(0, 2)}`)
    })
    text.subscribe(([splice]) => heard.push(`2 ${splice?.insert}`))
    text.splice(0, 0, "A")
    equal(heard, ["1 A", "1 sees BA", "2 A", "1 B", "2 B"])
  })

  line("does not tell who subscribes inside a subscriber of an edit that they see already", (text) => {
    let copy = () => ""
    const end = text.subscribe(() => {
      end()
      text.splice(0, 0, "B")
      copy = follow(text)
    })
    text.subscribe(() => {})
    text.splice(0, 0, "A")
    text.splice(0, 0, "C")
    equal([text.value, copy()], [`CBA${BODY}`, `CBA${BODY}`])
  })

  line(
    "tells of edits of others as their splices, which leave what is between them alone",
    async (text, { arrive }) => {
      const copy = follow(text)
      const heard: TextSplice[] = []
      const sources = new Set<string>()
      text.subscribe((splices, from) => {
        heard.push(...splices)
        sources.add(from)
      })
      await arrive([
        { at: 0, remove: 0, insert: "# " },
        { at: 15, remove: 0, insert: "!" },
      ])
      equal([text.value, copy()], [`# ${BODY}!`, `# ${BODY}!`])
      for (const { remove, insert } of heard) equal([remove, insert.includes("one")], [0, false])
      equal(sources.has("here"), false)
    },
  )

  line("has the same text as all who apply its splices, whoever edits", async (text, { arrive }) => {
    const copies = [follow(text)]
    for (let n = 0; n < 40; n++) {
      const at = (n * 7) % (text.value.length + 1)
      const remove = Math.min(n % 4, text.value.length - at)
      if (n % 5 === 0) await arrive([{ at, remove, insert: `${n}` }])
      else text.splice(at, remove, `<${n}>`)
      if (n % 10 === 0) copies.push(follow(text))
      for (const copy of copies) equal(copy(), text.value)
    }
  })
}

/** Applies the splices of a text to a copy of its value. Returns a function that reads the copy. */
function follow(text: LiveText): () => string {
  let copy = text.value
  text.subscribe((splices) => {
    for (const { at, remove, insert } of splices) copy = copy.slice(0, at) + insert + copy.slice(at + remove)
  })
  return () => copy
}

function equal(actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (is !== should) throw new Error(`expected ${should}, not ${is}`)
}

function codeOf(call: () => void): unknown {
  try {
    call()
    return "no error"
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}
