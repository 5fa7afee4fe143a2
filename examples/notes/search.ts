import { preview } from "headwater"
import { changedAt } from "./dates.ts"
import { type Notes, type Row, tagsOf } from "./notes.ts"

/** The most UTF-16 units of long texts that are kept for the next search. */
const KEPT = 8_000_000

/**
 * When this many long notes, one after the other, cannot be read, the search reads no more notes for the query: the disk
 * has probably failed. Only long notes are read, because the rows have the whole text of the others.
 */
const FAILURES = 10

/** ms between two calls of `onFound`. */
const FOUND_EVERY = 250

export interface Search {
  /**
   * Returns the notes that contain every word of the query, the best first: a title that equals the query, a title that
   * begins with it, a title that contains its words, any other note. Among equals, newer notes come first. Without a
   * query, returns all notes, newest first.
   */
  find(query: string): readonly Row[]
  /**
   * `reading`: long notes are being read, and more may be found. `rereading`: the same, but only for notes that have
   * changed since they were read. `incomplete`: some long notes could not be read.
   */
  readonly state: "done" | "reading" | "rereading" | "incomplete"
}

/**
 * Searches rows. A row has only the start of a long text. The rest of the text is read one note at a time, while the
 * page has nothing else to do. `onFound` is called when this reading has found another note, and when it has ended:
 * `find` then returns a new result.
 */
export function searchNotes(notes: Notes, onFound: () => void, idle: () => Promise<void> = whenIdle): Search {
  const texts = longTexts()
  let words: readonly string[] = []
  /** For each long note whose whole text was searched for `words`: whether the text has all of them. */
  let seen = new WeakMap<Row, boolean>()
  let unread: Row[] = []
  let reading: Row | undefined
  let isReading = false
  /** Long notes that could not be read for `words`. A search for other words tries to read them again. */
  let failed = new WeakSet<Row>()
  let failuresInARow = 0
  /** Whether a long note that may contain the words was not read, because reading it or earlier notes failed. */
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
    unread.reverse() // `read` takes from the end
    if (unread.length > 0 && !isReading) void read()
    return found.flat()
  }

  let rows: readonly Row[] = []
  let sorted: readonly Row[] = []

  /**
   * Returns all notes, newest first. They are sorted only when a note has changed, not for each search. Only the notes
   * that have changed are compared, because this runs once a frame during a first sync.
   */
  function newestFirst(): readonly Row[] {
    if (rows === notes.all()) return sorted
    const { gone, come } = difference(rows, notes.all())
    rows = notes.all()
    const unchanged = gone.size === 0 ? sorted : sorted.filter((row) => !gone.has(row))
    sorted = merged(come.sort(newer), unchanged)
    return sorted
  }

  function has(row: Row): boolean {
    const { text } = textOf(row)
    if (containsAll(text, words)) return true
    if (row.$long === undefined) return false
    const known = seen.get(row)
    if (known !== undefined) return known
    const last = texts.get(row.id)
    const isFound = last !== undefined && words.every((word) => text.includes(word) || last.text.includes(word))
    // a changed note stays in the list until it is read again, because somebody may be typing into it
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
    if (notes.get(row.id) !== row) return // the note has changed meanwhile, so the list calls `find` again
    if (whole === undefined) {
      failed.add(row)
      isIncomplete = true
      if (++failuresInARow >= FAILURES) unread = [] // most likely Automerge cannot be loaded
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

const newer = (a: Row, b: Row) => changedAt(b) - changedAt(a) || (a.id < b.id ? 1 : -1)

/**
 * Compares two lists of rows that are ordered by id. A row is the same object until it changes, so a changed note has a
 * row in `gone` and a row in `come`.
 */
function difference(before: readonly Row[], now: readonly Row[]): { gone: ReadonlySet<Row>; come: Row[] } {
  const gone = new Set<Row>()
  const come: Row[] = []
  let at = 0
  for (const row of now) {
    while (at < before.length && before[at]!.id < row.id) gone.add(before[at++]!)
    const old = before[at]
    if (old?.id === row.id) at++
    if (old === row) continue
    if (old?.id === row.id) gone.add(old)
    come.push(row)
  }
  while (at < before.length) gone.add(before[at++]!)
  return { gone, come }
}

/** Merges two lists that are sorted, newest first. */
function merged(few: readonly Row[], many: readonly Row[]): readonly Row[] {
  const all: Row[] = []
  let at = 0
  for (const row of few) {
    while (at < many.length && newer(many[at]!, row) < 0) all.push(many[at++]!)
    all.push(row)
  }
  return all.concat(many.slice(at))
}

const wordsOf = (query: string) => folded(query).split(/\s+/).filter(Boolean)
/** Returns a text as a search compares it: STRASSE and straße are equal, and so are the two forms of a Greek letter. */
const folded = (text: string) => text.toLowerCase().normalize("NFC").replaceAll("ß", "ss").replaceAll("ς", "σ")
const containsAll = (text: string, words: readonly string[]) => words.every((word) => text.includes(word))

/** Ranks a note: 0 for the best title, 3 for a title without the words of the search. */
function rankOf(row: Row, query: string, words: readonly string[]): 0 | 1 | 2 | 3 {
  const { title } = textOf(row)
  if (title.startsWith(query)) return title === query ? 0 : 1
  return containsAll(title, words) ? 2 : 3
}

interface Text {
  readonly title: string
  /** Title, tags, and the part of the body that the row has. */
  readonly text: string
}

const shortTexts = new WeakMap<Row, Text>()

/**
 * Returns the part of a note's text that its row has. A row is the same object until it changes, so its text is made
 * only once.
 */
function textOf(row: Row): Text {
  let text = shortTexts.get(row)
  if (text === undefined) {
    const tags = tagsOf(row).join(" ")
    const title = wordsOf(preview(row, "title")).join(" ")
    text = { title, text: `${title}\n${folded(`${tags}\n${preview(row, "body", 4096)}`)}` }
    shortTexts.set(row, text)
  }
  return text
}

/**
 * Keeps long texts, each with the row for which it was read; drops the oldest when there are too many. A changed note
 * gets a new row, except when an edit within a second of another edit keeps the text's length. In that case the kept
 * text is outdated until the next edit.
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
