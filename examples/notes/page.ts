import { type HeadwaterError, openWorkspace, type Status } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { child, element } from "./dom.ts"
import { showEditor } from "./editor.ts"
import { showList } from "./list.ts"
import { notes as definition } from "./notes.ts"
import { showTransfer } from "./transfer.ts"

const relayUrl = document.querySelector<HTMLMetaElement>('meta[name="relay"]')?.content ?? ""
const statusText = element("status", HTMLElement)

const workspace = await openWorkspace({
  id: "notes",
  collections: { notes: definition },
  store: indexedDBStore("notes"),
  relay: { url: relayUrl },
  wasm: new URL("automerge.wasm", document.baseURI),
}).catch((error: HeadwaterError) => {
  statusText.textContent =
    error.code === "STORE_IN_USE" ? "The notes are open in another tab; close it and reload." : error.message
  throw error
})
const { notes } = workspace

const list = showList(notes, { open: (id) => void open(id), remove: (id) => void remove(id) })
const editor = showEditor(notes, (id) => list.select(id))
showTransfer(notes, (message) => {
  busy = message
  showStatus(workspace.status)
})

async function open(id: string): Promise<void> {
  await editor.open(id)
  element("body", HTMLElement).focus()
}

function create(): void {
  editor.create(notes.newId())
  element("title", HTMLElement).focus()
}

function closeEditor(): void {
  editor.close()
  list.focus()
}

async function remove(id: string): Promise<void> {
  if (editor.id === id) closeEditor()
  if (notes.get(id) === undefined) return // a new one without a key typed
  await notes.delete(id)
  const toast = element("toast", HTMLElement)
  child(toast, "span").textContent = "Note deleted"
  toast.hidden = false
  const hide = setTimeout(() => (toast.hidden = true), 10_000)
  child<HTMLButtonElement>(toast, "button").onclick = () => {
    clearTimeout(hide)
    toast.hidden = true
    void notes.restore(id)
  }
}

// the connection -----------------------------------------------------------------------------------------------------

const connection = element("connection", HTMLButtonElement)
let busy: string | undefined
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
}

function describe({ phase, pending, error, progress }: Status): string {
  const owed = pending === 0 ? "" : ` · ${pending} to send`
  if (phase === "live") return pending === 0 ? "Online · all stored" : `Online${owed}`
  if (phase === "syncing") return `Syncing${progress ? ` ${percent(progress)}` : ""}${owed}`
  if (phase === "connecting") return `Connecting…${owed}`
  if (phase === "error") return `${error?.message ?? "Error"}${owed}`
  return `Offline${owed}`
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
element("delete", HTMLElement).addEventListener("click", () => editor.id !== undefined && void remove(editor.id))
element("help", HTMLElement).addEventListener("click", () => keys.showModal())

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") !== null || event.isComposing) return
  const writing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement
  if (event.altKey && event.code === "KeyN") create()
  else if (event.altKey && event.code === "KeyO") toggleConnection()
  else if (event.key === "Escape" && event.target === search && search.value !== "") return
  else if (event.key === "Escape") closeEditor()
  else if (event.key === "/" && !writing) search.focus()
  else if (event.key === "?" && !writing) keys.showModal()
  else return
  event.preventDefault()
})
