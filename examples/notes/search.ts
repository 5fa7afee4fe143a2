import { preview } from "headwater"
import { changedAt } from "./dates.ts"
import type { Notes, Row } from "./notes.ts"

/** UTF-16 units of long texts that are kept for the next search. */
const KEPT = 8_000_000

/** Long notes that cannot be read, one after the other, after which no more are tried for a query. */
const FAILURES = 10

/** ms between two calls of `onFound`. */
const FOUND_EVERY = 250

export interface Search {
  /**
   * The notes that contain every word of the query, the best first: a title that equals the query, one that begins with
   * it, one that contains its words, any other note; newer before older. Without a query all notes, newest first.
   */
  find(query: string): readonly Row[]
  /**
   * `reading`: long notes are read, and more may be found. `rereading`: only notes that have changed since. `incomplete`:
   * some long notes could not be read.
   */
  readonly state: "done" | "reading" | "rereading" | "incomplete"
}

/**
 * A search over rows. A row has only the start of a long text: the rest of it is read while the page has nothing else
 * to do, one note at a time. `onFound` is called when that has found more, and when it has ended: then `find` gives
 * more.
 */
export function searchNotes(notes: Notes, onFound: () => void, idle: () => Promise<void> = whenIdle): Search {
  const texts = longTexts()
  let words: readonly string[] = []
  /** Long notes whose text was looked at for these words, and whether it has them. */
  let seen = new WeakMap<Row, boolean>()
  let unread: Row[] = []
  let reading: Row | undefined
  let isReading = false
  /** Long notes that could not be read for these words; they are tried again for other words. */
  let failed = new WeakSet<Row>()
  let failuresInARow = 0
  /** Whether a long note that may have the words was not read. */
  let isIncomplete = false
  let toldAt = 0

  function find(query: string): readonly Row[] {
    const asked = wordsOf(query)
    if (asked.join(" ") !== words.join(" ")) {
      words = asked
      seen = new WeakMap()
      failed = new WeakSet()
      failuresInARow = 0
    }
    unread = []
    isIncomplete = false
    if (words.length === 0) return newestFirst()
    const whole = words.join(" ")
    const found: Row[][] = [[], [], [], []]
    for (const row of newestFirst()) if (has(row)) found[rankOf(row, whole, words)]!.push(row)
    unread.reverse() // taken from the end
    if (unread.length > 0 && !isReading) void read()
    return found.flat()
  }

  let rows: readonly Row[] = []
  let sorted: readonly Row[] = []

  /** All notes; they are sorted when one has changed, and not for each search. */
  function newestFirst(): readonly Row[] {
    if (rows === notes.all()) return sorted
    rows = notes.all()
    sorted = [...rows].sort((a, b) => changedAt(b) - changedAt(a) || (a.id < b.id ? 1 : -1))
    return sorted
  }

  function has(row: Row): boolean {
    const { text } = textOf(row)
    if (containsAll(text, words)) return true
    if (!row.$long?.["body"]) return false
    const known = seen.get(row)
    if (known !== undefined) return known
    const last = texts.get(row.id)
    const isFound = last !== undefined && words.every((word) => text.includes(word) || last.text.includes(word))
    // until a changed note is read again it stays where it is: somebody may be typing into it
    if (last?.row === row) seen.set(row, isFound)
    else if (failed.has(row) || failuresInARow >= FAILURES) isIncomplete = true
    else if (row !== reading) unread.push(row)
    return isFound
  }

  async function read(): Promise<void> {
    isReading = true
    while (unread.length > 0) {
      await idle()
      reading = unread.pop()
      if (reading !== undefined) await look(reading)
      reading = undefined
    }
    isReading = false
    onFound()
  }

  async function look(row: Row): Promise<void> {
    const whole = await notes.read(row.id).catch(() => undefined)
    if (notes.get(row.id) !== row) return // it has changed meanwhile: then the list asks again
    if (whole === undefined) {
      failed.add(row)
      isIncomplete = true
      if (++failuresInARow >= FAILURES) unread = [] // Automerge cannot be loaded, most likely
      return
    }
    failuresInARow = 0
    const long = folded(whole.body)
    texts.set(row, long)
    const { text } = textOf(row)
    const isFound = words.every((word) => text.includes(word) || long.includes(word))
    seen.set(row, isFound)
    if (!isFound || performance.now() - toldAt < FOUND_EVERY) return
    toldAt = performance.now()
    onFound()
  }

  return {
    find,
    get state() {
      if (!isReading || words.length === 0) return isIncomplete ? "incomplete" : "done"
      const isNew = (row: Row | undefined) => row !== undefined && texts.get(row.id) === undefined
      return isNew(reading) || unread.some(isNew) ? "reading" : "rereading"
    },
  }
}

const wordsOf = (query: string) => folded(query).split(/\s+/).filter(Boolean)
/** Text as a search compares it: STRASSE and straße are equal, and so are a Greek letter's two forms. */
const folded = (text: string) => text.toLowerCase().normalize("NFC").replaceAll("ß", "ss").replaceAll("ς", "σ")
const containsAll = (text: string, words: readonly string[]) => words.every((word) => text.includes(word))

/** 0 for the best title, 3 for one that says nothing of the search. */
function rankOf(row: Row, query: string, words: readonly string[]): 0 | 1 | 2 | 3 {
  const { title } = textOf(row)
  if (title.startsWith(query)) return title === query ? 0 : 1
  return containsAll(title, words) ? 2 : 3
}

interface Text {
  readonly title: string
  /** Title, tags and what the row has of the body. */
  readonly text: string
}

const shortTexts = new WeakMap<Row, Text>()

/** What a row has of a note's text. A row is the same object until it changes, so its text is made once. */
function textOf(row: Row): Text {
  let text = shortTexts.get(row)
  if (text === undefined) {
    const tags = Array.isArray(row.tags) ? row.tags.join(" ") : ""
    const title = wordsOf(String(row.title)).join(" ")
    text = { title, text: `${title}\n${folded(`${tags}\n${preview(row, "body", 4096)}`)}` }
    shortTexts.set(row, text)
  }
  return text
}

/**
 * Long texts, each with the row that it was read for; the oldest are forgotten when there are too many. A row changes with its
 * note, except when an edit keeps the text's length within a second of another edit: the next edit mends that.
 */
function longTexts() {
  const texts = new Map<string, { readonly row: Row; readonly text: string }>()
  let units = 0
  const forget = (id: string) => {
    units -= texts.get(id)?.text.length ?? 0
    texts.delete(id)
  }
  return {
    get: (id: string) => texts.get(id),
    set(row: Row, text: string): void {
      forget(row.id)
      texts.set(row.id, { row, text })
      units += text.length
      for (const id of texts.keys()) {
        if (units <= KEPT) break
        forget(id)
      }
    },
  }
}

function whenIdle(): Promise<void> {
  return new Promise((resolve) => {
    // Safari has no requestIdleCallback
    if ("requestIdleCallback" in window) requestIdleCallback(() => resolve(), { timeout: 500 })
    else setTimeout(resolve, 20)
  })
}
