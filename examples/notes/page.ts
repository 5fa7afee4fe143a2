import { type HeadwaterError, openWorkspace, type Status } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { element } from "./dom.ts"
import { showEditor } from "./editor.ts"
import { showList } from "./list.ts"
import { notes as definition } from "./notes.ts"
import { report } from "./report.ts"
import { showTransfer } from "./transfer.ts"

const relayUrl = document.querySelector<HTMLMetaElement>('meta[name="relay"]')?.content ?? ""
const statusText = element("status", HTMLElement)
const announced = element("announced", HTMLElement)

const workspace = await openWorkspace({
  id: "notes",
  collections: { notes: definition },
  store: indexedDBStore("notes"),
  relay: { url: relayUrl },
  wasm: new URL("automerge.wasm", document.baseURI),
}).catch((error: HeadwaterError): Promise<never> => {
  statusText.textContent = announced.textContent =
    error.code === "STORE_IN_USE"
      ? "The notes are open in another tab. Close that tab, then reload this page."
      : error.message
  if (error.code !== "STORE_IN_USE") throw error
  return new Promise(() => {}) // the person has been told: no error, and the rest of the page does not run
})
const { notes } = workspace

const list = showList(notes, { open, remove })
const editor = showEditor(
  notes,
  (id) => list.select(id),
  (is) => {
    unsaved = is
    showStatus(workspace.status)
  },
)
showTransfer(notes, (message) => {
  busy = message
  showStatus(workspace.status)
})

function open(id: string): void {
  editor.open(id).then(() => element("body", HTMLElement).focus(), failed("The note could not be opened"))
}

function create(): void {
  editor.create(notes.newId())
  element("title", HTMLElement).focus()
}

function closeEditor(): void {
  editor.close()
  list.focus()
}

function failed(what: string): (error: Error) => void {
  return (error) => report(what, [error.message])
}

// deleting -----------------------------------------------------------------------------------------------------------

const toast = element("toast", HTMLElement)
let deleted: string | undefined
let deleting: Promise<void> = Promise.resolve()

function remove(id: string): void {
  if (editor.id === id) closeEditor()
  const written = editor.written(id)
  if (notes.get(id) === undefined && written === undefined) return // a new note into which nothing was typed
  showDeleted(id) // at once: an undo may follow immediately, and it waits for `deleting`
  deleting = Promise.resolve(written)
    .then(() => notes.delete(id))
    .catch((error: Error) => {
      showDeleted(undefined)
      // a new note that could not be saved never existed, and the editor has said so
      if (notes.get(id) !== undefined) failed("The note could not be deleted")(error)
    })
}

/** The message stays until it is answered: people who use a keyboard or a screen reader need longer than others. */
function showDeleted(id: string | undefined): void {
  const focused = toast.contains(document.activeElement)
  deleted = id
  toast.hidden = id === undefined
  if (id !== undefined) announced.textContent = "Note deleted. Press Alt U to bring it back."
  if (focused && toast.hidden) list.focus()
}

function undo(): void {
  const id = deleted
  if (id === undefined) return
  const focused = toast.contains(document.activeElement)
  showDeleted(undefined)
  deleting
    .then(() => notes.restore(id))
    .then(
      () => focused && requestAnimationFrame(() => list.focus(id)), // drawn by then
      failed("The note could not be restored"),
    )
}

// the connection -----------------------------------------------------------------------------------------------------

const connection = element("connection", HTMLButtonElement)
let busy: string | undefined
let unsaved = false
let said: string | undefined
let wanted = true

function toggleConnection(): void {
  wanted = !wanted
  connection.setAttribute("aria-pressed", String(wanted))
  if (wanted) workspace.connect()
  else workspace.disconnect()
}

function showStatus(status: Status): void {
  connection.dataset["phase"] = status.phase
  statusText.textContent = busy ?? describe(status)
  const news = busy === undefined ? phrase(status) : busy.replace(/ \d.*/, "")
  if (news !== said) announced.textContent = said = news
}

function describe(status: Status): string {
  const { phase, pending, progress } = status
  if (unsaved) return `${phrase(status)} · not saved yet`
  if (pending === 0 && phase === "live") return "Online · all stored"
  const done = phase === "syncing" && progress ? ` ${percent(progress)}` : ""
  return `${phrase(status)}${done}${pending === 0 ? "" : ` · ${pending} to send`}`
}

function phrase({ phase, error }: Status): string {
  if (phase === "live") return "Online"
  if (phase === "syncing") return "Syncing"
  if (phase === "connecting") return "Connecting…"
  if (phase === "error") return error?.message ?? "Error"
  return "Offline"
}

const percent = ({ done, total }: { done: number; total: number }) =>
  `${Math.floor((100 * done) / Math.max(1, total))} %`

workspace.onStatus(showStatus)
showStatus(workspace.status)

// buttons and keys ---------------------------------------------------------------------------------------------------

const keys = element("keys", HTMLDialogElement)
const search = element("search", HTMLInputElement)
connection.addEventListener("click", toggleConnection)
element("new", HTMLElement).addEventListener("click", create)
element("back", HTMLElement).addEventListener("click", closeEditor)
element("delete", HTMLElement).addEventListener("click", () => editor.id !== undefined && remove(editor.id))
element("undo", HTMLElement).addEventListener("click", undo)
element("dismiss", HTMLElement).addEventListener("click", () => showDeleted(undefined))
element("help", HTMLElement).addEventListener("click", () => keys.showModal())

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") !== null || event.isComposing) return
  const writing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement
  if (event.altKey && event.code === "KeyN") create()
  else if (event.altKey && event.code === "KeyO") toggleConnection()
  else if (event.altKey && event.code === "KeyU") undo()
  else if (event.key === "Escape" && event.target === search && search.value !== "") return
  else if (event.key === "Escape") closeEditor()
  else if (event.key === "/" && !writing) search.focus()
  else if (event.key === "?" && !writing) keys.showModal()
  else return
  event.preventDefault()
})
