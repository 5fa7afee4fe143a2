import { preview } from "headwater"
import { changedAt } from "./dates.ts"
import type { Notes, Row } from "./notes.ts"

/** UTF-16 units of long texts that are kept for the next search. */
const KEPT = 8_000_000

/** ms between two calls of `onFound`. */
const FOUND_EVERY = 250

export interface Search {
  /**
   * The notes that contain every word of the query, the best first: a title that equals the query, one that begins with
   * it, one that contains its words, any other note; newer before older. Without a query all notes, newest first.
   */
  find(query: string): Row[]
  /** `reading`: more notes may be found. `incomplete`: some long notes could not be read. */
  readonly state: "done" | "reading" | "incomplete"
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
  let hasFailed = false
  let toldAt = 0

  function find(query: string): Row[] {
    const asked = wordsOf(query)
    if (asked.join(" ") !== words.join(" ")) {
      words = asked
      seen = new WeakMap()
      hasFailed = false
    }
    unread = []
    const found = words.length === 0 ? [...notes.all()] : notes.all().filter(has)
    const rank = words.length === 0 ? () => 0 : ranking(folded(query).trim(), words)
    found.sort((a, b) => rank(a) - rank(b) || changedAt(b) - changedAt(a) || (a.id < b.id ? 1 : -1))
    unread.sort((a, b) => changedAt(a) - changedAt(b)) // taken from the end
    if (unread.length > 0 && !isReading) void read()
    return found
  }

  function has(row: Row): boolean {
    const short = textOf(row)
    const missing = words.filter((word) => !short.includes(word))
    if (missing.length === 0) return true
    if (!row.$long?.["body"]) return false
    const known = seen.get(row)
    if (known !== undefined) return known
    const text = texts.get(row)
    if (text !== undefined) seen.set(row, containsAll(text, missing))
    else if (row !== reading && !hasFailed) unread.push(row)
    return seen.get(row) ?? false
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
      hasFailed = true // Automerge cannot be loaded, most likely
      unread = []
      return
    }
    const text = folded(whole.body)
    texts.set(row, text)
    const short = textOf(row)
    const isFound = words.every((word) => short.includes(word) || text.includes(word))
    seen.set(row, isFound)
    if (!isFound || performance.now() - toldAt < FOUND_EVERY) return
    toldAt = performance.now()
    onFound()
  }

  return {
    find,
    get state() {
      if (isReading && words.length > 0) return "reading"
      return hasFailed ? "incomplete" : "done"
    },
  }
}

const wordsOf = (query: string) => folded(query).split(/\s+/).filter(Boolean)
const folded = (text: string) => text.normalize("NFC").toLowerCase()
const containsAll = (text: string, words: readonly string[]) => words.every((word) => text.includes(word))

/** A number for each note, the smaller the better its title. */
function ranking(query: string, words: readonly string[]): (row: Row) => number {
  const ranks = new Map<Row, number>()
  return (row) => {
    let rank = ranks.get(row)
    if (rank === undefined) {
      const title = folded(String(row.title)).trim()
      rank = title === query ? 0 : title.startsWith(query) ? 1 : containsAll(title, words) ? 2 : 3
      ranks.set(row, rank)
    }
    return rank
  }
}

const shortTexts = new WeakMap<Row, string>()

/** What a row has of a note's text. A row is the same object until it changes, so its text is made once. */
function textOf(row: Row): string {
  let text = shortTexts.get(row)
  if (text === undefined) {
    const tags = Array.isArray(row.tags) ? row.tags.join(" ") : ""
    text = folded(`${row.title}\n${tags}\n${preview(row, "body", 4096)}`)
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
    get(row: Row): string | undefined {
      const known = texts.get(row.id)
      return known?.row === row ? known.text : undefined
    },
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
