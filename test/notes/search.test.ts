import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { notes as definition } from "../../examples/notes/notes.ts"
import { searchNotes } from "../../examples/notes/search.ts"
import { untilPasses } from "../support/until.ts"

const open = () => openWorkspace({ id: "notes", collections: { notes: definition }, store: memoryStore() })
let ws: Awaited<ReturnType<typeof open>>
beforeEach(async () => {
  ws = await open()
})
afterEach(() => ws.close())

const filler = "river delta spring basin ".repeat(400)
/** Makes a search that is used as the list uses it: after each `onFound`, `find` is called again. */
function search(notes = ws.notes, idle = async () => {}) {
  let query = ""
  const drawn: string[][] = []
  const finder = searchNotes(notes, () => drawn.push(titles()), idle)
  const titles = () => finder.find(query).map(({ title }) => title)
  return {
    drawn,
    finder,
    now: (words: string) => {
      query = words
      return titles()
    },
    async whole(words: string) {
      const first = this.now(words)
      await untilPasses(() => expect(finder.state).toMatch(/done|incomplete/))
      return { first, last: titles() }
    },
  }
}
const note = (title: string, body: string, rest = {}) => ws.notes.create({ title, body, ...rest })

describe("the search", () => {
  it.each([[["home", "work"]], ["home, work"], ["#home #work"]])("finds the tags of %j", async (tags) => {
    await note("A", "text", { tags })
    const { now } = search()
    expect([now("work"), now("home work"), now("play")]).toEqual([["A"], ["A"], []])
  })

  it("keeps the newest first while notes change, are made and are deleted", async () => {
    const { finder } = search()
    const dates = ["2020-01-02", "2021-05-06", "2026-01-01", "2019-03-04", "2024-07-08"]
    for (const [i, date] of dates.entries()) await note(`${i}`, "text", { fileDate: date })
    const order = () => finder.find("").map(({ title }) => title)
    expect(order()).toEqual(["2", "4", "1", "0", "3"])
    const [first, second] = ws.notes.all()
    await ws.notes.update(first!.id, (draft) => void (draft.fileDate = "2022-01-01"))
    await note("5", "text", { fileDate: "2021-01-01" })
    await ws.notes.delete(second!.id)
    await note("6", "text", { fileDate: "1999-01-01" })
    expect(order()).toEqual(["2", "4", "0", "5", "3", "6"])
  })

  it("finds words after the preview of a long note", async () => {
    await note("Long", `${filler}The Licence is here.${filler}`)
    await note("Other", filler)
    await note("Short", "about a LICENCE")
    expect(await search().whole("licence")).toEqual({ first: ["Short"], last: ["Short", "Long"] })
    expect(await search().whole("licence short")).toEqual({ first: ["Short"], last: ["Short"] })
    // "long" is in the title, "here" far behind in the body
    expect(await search().whole("long here")).toEqual({ first: [], last: ["Long"] })
  })

  it("puts titles that equal the query first, then those that begin with it, then those that contain it", async () => {
    await note("Plan", "first")
    await note("The plan", "second")
    await note("Planning", "third")
    await note("Other", "a plan in the text")
    expect(search().now(" PLAN ")).toEqual(["Plan", "Planning", "The plan", "Other"])
    expect(search().now("the plan")).toEqual(["The plan", "Other"])
  })

  it("compares characters, not their Unicode spellings", async () => {
    await note("caf\u00e9", "")
    await note("CAFE\u0301", "")
    expect(search().now("caf\u00e9").length).toBe(2)
    expect(search().now("cafe\u0301").length).toBe(2)
  })

  it.each([
    ["STRASSE", "stra\u00dfe"],
    ["\u01f0", "J\u030c"],
    ["STRA\u1e9eE", "strasse"],
    ["\u039f\u0394\u039f\u03a3\u0397", "\u03bf\u03b4\u03bf\u03c2"],
    ["Plan\u00a0 B", "plan b"],
  ])("finds %j by the query %j, also in a long note", async (text, query) => {
    await note(text, "")
    await note("Long", `${filler}${text}${filler}`)
    expect((await search().whole(query)).last).toEqual([text, "Long"])
  })

  it("ignores differences in spaces when it compares a title with the query", async () => {
    await note("Plan\u00a0 B", "")
    await note("Plan B, newer", "")
    expect(search().now("plan  b ")[0]).toBe("Plan\u00a0 B")
  })

  it("reads a long note once for all searches, and again when it has changed", async () => {
    const read = vi.fn(ws.notes.read)
    const { id } = await note("Long", `${filler}one${filler}`)
    const one = search({ ...ws.notes, read })
    const find = (words: string) => one.whole(words)
    expect((await find("one")).last).toEqual(["Long"])
    expect((await find("two")).last).toEqual([])
    expect((await find("on")).first).toEqual(["Long"])
    expect(read).toHaveBeenCalledTimes(1)
    await ws.notes.update(id, (draft) => void (draft.body = `${filler}now two${filler}`))
    expect((await find("two")).last).toEqual(["Long"])
    expect((await find("one")).last).toEqual([])
    expect(read).toHaveBeenCalledTimes(2)
    // a note that was found stays in the list while somebody types into it
    await find("two")
    for (let n = 0; n < 3; n++) {
      await ws.notes.update(id, (_, edit) => edit.splice("body", 0, 0, "more "))
      expect((await find("two")).first).toEqual(["Long"])
    }
  })

  it("reads no note if the rows decide the search, and stops reading when the search is cleared", async () => {
    const read = vi.fn(ws.notes.read)
    for (let n = 0; n < 5; n++) await note(`Long ${n}`, filler)
    let goOn = () => {}
    const one = search({ ...ws.notes, read }, () => new Promise<void>((resolve) => (goOn = resolve)))
    expect(one.now("river").length).toBe(5)
    expect([one.finder.state, read.mock.calls.length]).toEqual(["done", 0])
    one.now("licence")
    expect(one.finder.state).toBe("reading")
    goOn()
    await untilPasses(() => expect(read).toHaveBeenCalledTimes(1))
    one.now("")
    goOn()
    await untilPasses(() => expect(one.finder.state).toBe("done"))
    expect(read).toHaveBeenCalledTimes(1)
  })

  it("reports found notes while it is still reading", async () => {
    for (let n = 0; n < 4; n++) await note(`Long ${n}`, `${filler}licence${filler}`)
    const one = search(ws.notes, () => new Promise((resolve) => setTimeout(resolve, 150)))
    expect(one.now("licence")).toEqual([])
    await untilPasses(() => expect(one.drawn.at(-1)?.length).toBe(4))
    expect(one.drawn.length).toBeGreaterThan(2)
    expect(one.drawn[0]!.length).toBeLessThan(4)
  })

  it("is incomplete when a long note cannot be read, and tries again with the next query", async () => {
    await note("Long", `${filler}licence${filler}`)
    const read = vi.fn(ws.notes.read)
    read.mockRejectedValueOnce(new Error("WebAssembly is not there"))
    const one = search({ ...ws.notes, read })
    expect((await one.whole("licence")).last).toEqual([])
    expect(one.finder.state).toBe("incomplete")
    expect((await one.whole("licenc")).last).toEqual(["Long"])
    expect(one.finder.state).toBe("done")
  })

  it("goes on after notes that cannot be read, and reads them again when they have changed", async () => {
    for (let n = 0; n < 12; n++) await note(`Long ${n}`, `${filler}licence${filler}`)
    const bad = new Set(["Long 11", "Long 7", "Long 6", "Long 0"])
    const read = vi.fn(async (id: string) => {
      if (bad.has(ws.notes.get(id)!.title)) throw new Error("the document could not be made")
      return ws.notes.read(id)
    })
    const one = search({ ...ws.notes, read })
    expect((await one.whole("licence")).last.length).toBe(8)
    expect([one.finder.state, read.mock.calls.length]).toEqual(["incomplete", 12])
    expect((await one.whole("licence")).last.length).toBe(8)
    expect(read).toHaveBeenCalledTimes(12) // no failed note is read again for each drawing of the list

    bad.clear()
    for (const { id, title } of ws.notes.all()) {
      if (/ (?:11|7|6)$/.test(title)) await ws.notes.update(id, (draft) => void (draft.title += " mended"))
    }
    expect((await one.whole("licence")).last.length).toBe(11)
    expect(one.finder.state).toBe("incomplete")
    const last = ws.notes.all().find(({ title }) => title === "Long 0")!
    await ws.notes.update(last.id, (draft) => void (draft.title += " mended"))
    expect((await one.whole("licence")).last.length).toBe(12)
    expect(one.finder.state).toBe("done")
  })

  it("gives up when no note can be read, until the next query", async () => {
    for (let n = 0; n < 40; n++) await note(`Long ${n}`, `${filler}licence${filler}`)
    const read = vi.fn(ws.notes.read)
    read.mockRejectedValue(new Error("WebAssembly is not there"))
    const one = search({ ...ws.notes, read })
    expect((await one.whole("licence")).last).toEqual([])
    expect((await one.whole("licence")).last).toEqual([])
    expect(one.finder.state).toBe("incomplete")
    expect(read.mock.calls.length).toBeLessThan(20)
    read.mockImplementation(ws.notes.read)
    expect((await one.whole("licenc")).last.length).toBe(40)
    expect(one.finder.state).toBe("done")
  })

  it("keeps only a limited amount of long texts, and still ends", async () => {
    const read = vi.fn(ws.notes.read)
    for (let n = 0; n < 12; n++) await note(`Long ${n}`, "x".repeat(80_000))
    const huge = async (id: string) => ({ ...(await read(id))!, body: `${"x".repeat(1_000_000)}end` })
    const one = search({ ...ws.notes, read: huge })
    expect((await one.whole("end")).last.length).toBe(12)
    expect((await one.whole("none")).last.length).toBe(0)
    expect(read.mock.calls.length).toBeGreaterThan(12)
    expect(read.mock.calls.length).toBeLessThan(24)
  }, 60_000)

  it("sorts by a file's date until the note is edited", async () => {
    await note("Typed", "")
    await note("Old", "", { fileDate: "2001-02-03" })
    await note("New", "", { fileDate: "2099-01-01" })
    expect(search().now("")).toEqual(["New", "Typed", "Old"])
  })
})
