import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { FileProblem, formatNote, MAX_FILE, parseNote, pathsOf } from "../../examples/notes/markdown.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
/** Returns the value after a round trip through JSON, which makes 0 of -0. */
const json = (value: unknown) => JSON.parse(JSON.stringify(value))
const problemOf = (content: Uint8Array | string) => {
  try {
    parseNote("a.md", typeof content === "string" ? bytes(content) : content)
  } catch (error) {
    if (error instanceof FileProblem) return error.message
    throw error
  }
  return "none"
}

describe("a Markdown file", () => {
  it("becomes a note: front matter is fields, the rest is the body", () => {
    const file =
      "---\ntitle: Groceries\ntags: [home, week]\ndone: false\ndue: 2026-11-21\nn: 3\n---\n\n- milk\n---\n- bread\n"
    expect(parseNote("a.md", bytes(file))).toEqual({
      id: undefined,
      fields: {
        title: "Groceries",
        tags: ["home", "week"],
        done: false,
        due: "2026-11-21",
        n: 3,
        body: "\n- milk\n---\n- bread\n",
      },
      front: "title: Groceries\ntags: [home, week]\ndone: false\ndue: 2026-11-21\nn: 3\n",
      remarks: [],
    })
    for (const same of [file.replace("---", "---  "), file.replace("\n---\n", "\n...\n")]) {
      expect(parseNote("a.md", bytes(same))).toEqual(parseNote("a.md", bytes(file)))
    }
  })

  it.each(["id:", "id: null", 'id: ""'])("with an empty %s has no id", (id) => {
    expect(parseNote("a.md", bytes(`---\n${id}\ntitle: T\n---\n`))).toEqual({
      id: undefined,
      fields: { title: "T", body: "" },
      front: `${id}\ntitle: T\n`,
      remarks: [],
    })
  })

  it("keeps the spelling of a number that would be written differently", () => {
    const kept = ["1.10", "00123", "0x1F", "0o17", "1.0", "1e3", "+1", "-0", ".inf", "12345678901234567890"]
    kept.push("1e+21", "9007199254740992", "12345678901234568") // spelled as in JSON, but too large for an exact number
    const numbers = [0, 7, -12, 4.5, 9007199254740991]
    const front = `kept: [${kept}]\nnumbers: [${numbers}]\n2.50: key\nsame: &a 007\nagain: *a\n`
    const { fields } = parseNote("a.md", bytes(`---\ntitle: 3.0\n${front}---\n`))
    expect(fields).toEqual({ title: "3.0", body: "", kept, numbers, "2.50": "key", same: "007", again: "007" })
    expect(parseNote("a.md", bytes(formatNote("n1", fields))).fields).toEqual(fields)
  })

  it.each([
    ["a rule and prose", "---\nJust a line below a rule.\n\nMore.\n"],
    ["prose between rules", "---\nJust a line.\n---\n# Heading\n"],
    ["a heading between rules", "---\n# Heading\n---\nprose\n"],
    ["a list between rules", "---\n- a\n- b\n---\nprose\n"],
    ["what was never closed", "---\ntitle: T\n"],
  ])("that begins with %s is read as body only, with a remark", (_, file) => {
    const { fields, remarks } = parseNote("name.md", bytes(file))
    expect(fields).toEqual({ title: file.includes("# Heading") ? "Heading" : "name", body: file })
    expect(remarks).toEqual(["its first line is ---, but no front matter follows, so all of it is the note's body"])
  })

  it("keeps, under another name, a key that no field can have, and reports it", () => {
    const front = "id: guides/intro\nfile: report.pdf\nbody: b\n$sync: x\n__proto__: { a: 1 }\noriginal-file: 1\n"
    const { id, fields, remarks } = parseNote("a.md", bytes(`---\n${front}---\nbody`))
    expect({ id, fields }).toEqual({
      id: undefined,
      fields: {
        title: "a",
        body: "body",
        "original-id": "guides/intro",
        "original-original-file": "report.pdf",
        "original-body": "b",
        "original-$sync": "x",
        "original-__proto__": { a: 1 },
        "original-file": 1,
      },
    })
    expect(remarks.length).toBe(5)
    expect(remarks[0]).toBe("`id` of its front matter became the field `original-id`")
  })

  it.each([
    ["title: {{title}}", { "{ title }": null }],
    ["title: { en: Hello, de: Hallo }", { en: "Hello", de: "Hallo" }],
    ["title: [a, [b, c]]", ["a", ["b", "c"]]],
    ["title: [a, b]", ["a", "b"]],
  ])("with %s keeps that value under another name, takes its heading as title, and reports it", (front, value) => {
    const { fields, remarks } = parseNote("a.md", bytes(`---\n${front}\n---\n# Heading\n`))
    expect(fields).toEqual({ title: "Heading", "original-title": value, body: "# Heading\n" })
    expect(remarks).toEqual(["`title` of its front matter became the field `original-title`"])
  })

  it.each([
    ["!foo bar", "bar", "!foo"],
    ["!foo { a: [1] }", { a: [1] }, "!foo"],
    ["!!binary aGVsbG8=", "aGVsbG8=", "tag:yaml.org,2002:binary"],
    ["!!set { x, y }", { x: null, y: null }, "tag:yaml.org,2002:set"],
    ["!!timestamp 2026-11-21", "2026-11-21", "tag:yaml.org,2002:timestamp"],
  ])("with the value %s keeps it without its tag, and reports it", (front, value, tag) => {
    const { fields, remarks } = parseNote("a.md", bytes(`---\nkey: ${front}\nagain: ${front}\n---\n`))
    expect(fields).toEqual({ title: "a", key: value, again: value, body: "" })
    expect(remarks).toEqual([`the tag ${tag} of its front matter is not part of the field's value`])
  })

  it("is read within seconds, whatever it contains", () => {
    const begun = performance.now()
    const half = MAX_FILE / 2
    for (const filler of [" ", "#", "# ", " #", "\t", "a "]) {
      parseNote("a.md", bytes(`# a${filler.repeat(half / filler.length)}b\n`))
      pathsOf({ title: `a${filler.repeat(half)}b` }).next()
    }
    expect(performance.now() - begun).toBeLessThan(5000)
  })

  it.each([
    ["long", Array.from({ length: 60_000 }, (_, i) => `k${i}: ${i}`).join("\n")],
    ["long and crafted", "&a ".repeat(100_000)],
  ])("whose front matter is too %s is read as body only, with a remark", (_, front) => {
    const file = `---\n${front}\n---\ntext`
    const { fields, remarks } = parseNote("a.md", bytes(file))
    expect(fields).toEqual({ title: "a", body: file })
    const why = "its front matter is longer than 64 KiB"
    expect(remarks).toEqual([`its first line is ---, but ${why}, so all of it is the note's body`])
  })

  it("without front matter gets its title from the first heading, else from the file's name", () => {
    expect(parseNote("b.md", bytes("\n# Plan B #\ntext")).fields).toEqual({
      title: "Plan B",
      body: "\n# Plan B #\ntext",
    })
    expect(parseNote("folder/c.d.md", bytes("text")).fields).toEqual({ title: "c.d", body: "text" })
    for (const [line, title] of [
      ["#\tTab \t ##  ", "Tab"],
      ["# C#", "C#"],
      ["# #\n#\n#none\n# Next\n# Last", "Next"],
    ] as const) {
      expect(parseNote("a.md", bytes(line)).fields.title).toBe(title)
    }
  })

  it("with CR LF and a byte order mark is read like any other file", () => {
    expect(parseNote("a.md", bytes("\ufeff---\r\ntitle: T\r\n---\r\nx\r\ny")).fields).toEqual({
      title: "T",
      body: "x\ny",
    })
  })

  it.each([
    ["empty", "", "it is empty"],
    ["not UTF-8", new Uint8Array([0x61, 0xff, 0x62]), "it is not UTF-8 text; save it as UTF-8 and import it again"],
    ["5 MB long", new Uint8Array(5_000_000), "it is 5.0 MB long; split it into files of at most 1 MB"],
  ])("that is %s is refused with a reason", (_, content, message) => {
    expect(problemOf(content).slice(0, message.length)).toBe(message)
  })

  it("of the greatest size is a note", () => {
    expect(problemOf(new Uint8Array(MAX_FILE).fill(0x61))).toBe("none")
  })

  it("written and read again is the same note", () => {
    // the values contain no number beyond 2^53, because a note keeps such a number as text
    const exact = (_: string, n: unknown) => (Number.isInteger(n) && !Number.isSafeInteger(n) ? 0 : n)
    const value = fc
      .jsonValue({ maxDepth: 2, noUnicodeString: false })
      .map((value) => JSON.parse(JSON.stringify(value), exact))
      .filter((value) => !JSON.stringify(value).includes("__proto__"))
    const key = fc
      .string({ minLength: 1 })
      .filter((k) => !/^(?:id|body|file|fileHash|fileFront|fileDate|filePart|title|__proto__|[$@].*)$/s.test(k))
    fc.assert(
      fc.property(
        fc.string(),
        fc.string({ unit: "grapheme" }),
        fc.dictionary(key, value, { noNullPrototype: true }),
        (title, body, rest) => {
          const fields = { ...rest, title, body: body.replaceAll("\r\n", "\n") }
          const { front: _, ...again } = parseNote("a.md", bytes(formatNote("n1", json(fields))))
          expect(json(again)).toEqual(json({ id: "n1", fields, remarks: [] }))
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe("the path of an exported note", () => {
  it.each([
    [{ title: "T", file: "work/plan.md" }, "work/plan.md"],
    [{ title: "A: b/c?" }, "A- b-c-.md"],
    [{ title: " " }, "untitled.md"],
    [{ file: "a.markdown" }, "a.markdown"],
    [{ file: "A.MD" }, "A.MD"],
    [{ file: "notes/a.txt" }, "notes/a.txt"],
    [{ title: "a.txt" }, "a.txt.md"],
    [{ file: `${"long ".repeat(40)}name.md` }, `${"long ".repeat(40)}name.md`],
    [{ file: `${"\u4e00".repeat(80)}.md` }, `${"\u4e00".repeat(80)}.md`],
    [{ file: `${"\u4e00".repeat(81)}.md` }, `${"\u4e00".repeat(80)}.md`],
    [{ file: `${"x".repeat(241)}/${"x".repeat(100_000)}.md` }, `${"x".repeat(80)}/${"x".repeat(80)}.md`],
  ])("of %j is the path it was imported from, else its title", (fields, path) => {
    expect(pathsOf(fields).next().value).toBe(path)
  })

  it.each([
    [{ file: "../../etc/passwd.md" }, "etc/passwd.md"],
    [{ file: "/ETC/passwd" }, "ETC/passwd.md"],
    [{ title: ".." }, "untitled.md"],
  ])("of %j never leads out of the folder", (fields, path) => {
    expect(pathsOf(fields).next().value).toBe(path)
  })

  it.each([
    ["CON", "CON-.md"],
    ["con", "con-.md"],
    ["nul.txt", "nul-.txt.md"],
    ["COM1 .a", "COM1-.a.md"],
    ["LPT\u00b3", "LPT\u00b3-.md"],
    ["CONIN$", "CONIN$-.md"],
    ["com10", "com10.md"],
    ["console", "console.md"],
    ["Trailing dots ...", "Trailing dots.md"],
    ["Trailing spaces \u00a0 ", "Trailing spaces.md"],
    ["a\tb\u0000c", "a-b-c.md"],
    ["e\u0301", "\u00e9.md"],
  ])("of a note called %j is %s, which every system accepts", (title, path) => {
    expect(pathsOf({ title }).next().value).toBe(path)
    expect(pathsOf({ file: `${title}/${title}.md` }).next().value).toBe(`${path.slice(0, -3)}/${path}`)
  })

  it("is never cut inside a character as a person sees it (a grapheme)", () => {
    const family = "👩\u200d👩\u200d👧"
    for (const character of ["🙂", "🇫🇷", "👍🏽", family, "e\u0323\u0302\u0301", "한", "x"]) {
      for (let ahead = 0; ahead < 12; ahead++) {
        const path = pathsOf({ title: `${"a".repeat(ahead)}${character.repeat(100)}` }).next().value as string
        const kept = path.slice(ahead, -3)
        const one = character.normalize("NFC")
        expect(kept, path).toBe(one.repeat(kept.length / one.length))
        expect(kept.length).toBeGreaterThan(60)
        expect(new TextEncoder().encode(path).length).toBeLessThan(250)
      }
    }
    const endless = `a${"\u0301".repeat(500)}`
    expect(pathsOf({ title: endless }).next().value).toMatch(/^\u00e1\u0301{79}\.md$/)
  })

  it("has a number after the first path", () => {
    const [, second, third] = Array.from(
      { length: 3 },
      (
        (paths) => () =>
          paths.next().value
      )(pathsOf({ title: "a.b" })),
    )
    expect([second, third]).toEqual(["a.b 2.md", "a.b 3.md"])
  })
})
