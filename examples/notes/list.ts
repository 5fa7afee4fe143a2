import { preview } from "headwater"
import { changedAt } from "./dates.ts"
import { child, element } from "./dom.ts"
import { type Notes, type Row, tagsOf } from "./notes.ts"
import { searchNotes } from "./search.ts"

/** Number of rows for which elements are made at first. Scrolling to the end of the list adds as many again. */
const ROWS_PER_DRAW = 40
/** The longest wait before the list is drawn again, ms. */
const LONGEST_WAIT_MS = 100

export interface List {
  select(id: string | undefined): void
  /** Focuses this note, else the selected note, else the first. */
  focus(id?: string): void
}

/**
 * Shows the notes that contain every word of the search. The list is drawn from rows. Only a search loads documents,
 * and only of notes whose long text may contain a word that their row does not.
 */
export function showList(notes: Notes, on: { open: (id: string) => void; remove: (id: string) => void }): List {
  const search = element("search", HTMLInputElement)
  const count = element("count", HTMLElement)
  const ul = element("rows", HTMLElement)
  /** The elements that the list shows. */
  let items = new Map<Row, HTMLLIElement>()
  let selected: string | undefined
  let shown = ROWS_PER_DRAW
  let found: readonly Row[] = []
  let drawing = false
  /** The note that gets the focus when the list is drawn next. */
  let toFocus: string | undefined
  /** How long the latest search and drawing took, ms. */
  let took = 0

  const end = document.createElement("li")
  new IntersectionObserver(([entry]) => {
    if (entry?.isIntersecting !== true || shown >= found.length) return
    shown += ROWS_PER_DRAW
    draw()
  }).observe(end)

  const finder = searchNotes(notes, () => refresh())
  const refresh = () => {
    // draw at most once a frame, however many notes an import or a first sync adds, and spend at most a fifth of the
    // time on it, because finding and sorting 10,000 notes takes several ms
    if (drawing) return
    drawing = true
    setTimeout(() => requestAnimationFrame(refreshNow), Math.min(4 * took, LONGEST_WAIT_MS))
  }
  const refreshNow = () => {
    drawing = false
    const begun = performance.now()
    found = finder.find(search.value)
    draw()
    took = performance.now() - begun
  }

  function draw(): void {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["id"] : undefined
    items = new Map(found.slice(0, shown).map((row) => [row, item(row)]))
    ul.replaceChildren(...items.values(), end)
    const next = toFocus ?? focused
    toFocus = undefined
    if (next !== undefined) buttonOf(next)?.focus()
    const all = notes.all().length
    const reading = ", searching long notes…"
    const incomplete = ", some long notes could not be searched"
    const more = { done: "", rereading: "", reading, incomplete }[finder.state]
    const isPart = found.length !== all || more !== ""
    count.textContent = `${isPart ? `${found.length} of ` : ""}${all} note${all === 1 ? "" : "s"}${more}`
  }

  function item(row: Row): HTMLLIElement {
    const li = items.get(row) ?? render(row)
    child(li, "button").setAttribute("aria-current", String(row.id === selected))
    return li
  }

  const buttonOf = (id: string) => ul.querySelector<HTMLButtonElement>(`button[data-id="${CSS.escape(id)}"]`)
  const buttons = () => [...ul.querySelectorAll("button")]

  ul.addEventListener("click", ({ target }) => {
    const id = target instanceof Element && target.closest("button")?.dataset["id"]
    if (id) on.open(id)
  })
  ul.addEventListener("keydown", (event) => {
    const all = buttons()
    const at = all.indexOf(document.activeElement as HTMLButtonElement)
    const id = all[at]?.dataset["id"]
    if (event.key === "ArrowDown") all[at + 1]?.focus()
    else if (event.key === "ArrowUp") (all[at - 1] ?? search).focus()
    else if (event.key === "Delete" && id !== undefined) {
      ;(all[at + 1] ?? all[at - 1] ?? search).focus()
      on.remove(id)
    } else return
    event.preventDefault()
  })
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") buttons()[0]?.focus()
    else if (event.key === "Enter" && found[0] !== undefined) on.open(found[0].id)
    else return
    event.preventDefault()
  })
  search.addEventListener("input", () => {
    shown = ROWS_PER_DRAW
    ul.scrollTop = 0
    refresh()
  })

  notes.subscribe(refresh)
  refresh()
  return {
    select(id) {
      selected = id
      for (const button of buttons()) button.setAttribute("aria-current", String(button.dataset["id"] === id))
    },
    focus(id = selected) {
      if (drawing && id !== undefined && buttonOf(id) === null) {
        toFocus = id // the list has not drawn the note yet
        return
      }
      const button = (id !== undefined && buttonOf(id)) || buttons()[0] || search
      button.focus()
    },
  }
}

function render(row: Row): HTMLLIElement {
  const button = document.createElement("button")
  button.type = "button"
  button.dataset["id"] = row.id
  button.classList.toggle("unsent", row.$pending)
  const title = document.createElement("strong")
  title.textContent = preview(row, "title") || "Untitled"
  const when = document.createElement("em")
  when.textContent = row.$pending ? "not sent yet" : day(changedAt(row))
  const line = document.createElement("span")
  const tags = tagsOf(row).map((tag) => `#${tag}`)
  line.textContent = [...tags, preview(row, "body", 120).replaceAll("\n", " ")].join(" ") || "No text"
  button.append(when, title, line)
  const li = document.createElement("li")
  li.append(button)
  return li
}

// Each format is made once. `toLocaleTimeString` would make one for each call, which takes 0.1 ms for each row of the
// list.
let timeOfDay: Intl.DateTimeFormat | undefined
let date: Intl.DateTimeFormat | undefined

/**
 * Make the formats of dates. The first one takes a browser some 20 ms of processor time and the second one 10 ms, so
 * the page makes them before there are rows, in a turn of the event loop each.
 */
export const timeOfDayFormat = () => (timeOfDay ??= new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" }))
export const dateFormat = () => (date ??= new Intl.DateTimeFormat())

function day(ms: number): string {
  const at = new Date(ms)
  return (at.toDateString() === new Date().toDateString() ? timeOfDayFormat() : dateFormat()).format(at)
}
