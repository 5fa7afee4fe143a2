import { type HeadwaterError, openWorkspace } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { showConnection } from "./connection.ts"
import { showDeletions } from "./deletions.ts"
import { watchDisk } from "./disk.ts"
import { element } from "./dom.ts"
import { showEditor } from "./editor.ts"
import { dateFormat, showList, timeOfDayFormat } from "./list.ts"
import { notes as definition } from "./notes.ts"
import { report } from "./report.ts"
import { showTransfer } from "./transfer.ts"
import { countUnsent } from "./unsent.ts"

// Four tasks get a turn of the event loop each: compiling the page's scripts, making two formats of dates, and opening
// the workspace. All in one turn, they would keep the page from answering a key for 0.1 s.
const endOfTurn = () => new Promise((done) => setTimeout(done))
await endOfTurn()
timeOfDayFormat()
await endOfTurn()
dateFormat()
await endOfTurn()

const DATABASE = "notes"
const relayUrl = document.querySelector<HTMLMetaElement>('meta[name="relay"]')?.content ?? ""
const statusText = element("status", HTMLElement)
const announced = element("announced", HTMLElement)

const workspace = await openWorkspace({
  id: "notes",
  collections: { notes: definition },
  store: indexedDBStore(DATABASE),
  relay: { url: relayUrl },
  wasm: new URL("automerge.wasm", document.baseURI),
}).catch((error: HeadwaterError): Promise<never> => {
  statusText.textContent = announced.textContent =
    error.code === "STORE_IN_USE"
      ? "The notes are open in another tab. Close that tab, then reload this page."
      : error.message
  if (error.code !== "STORE_IN_USE") throw error
  return new Promise(() => {}) // the message is enough: throw no error, and do not run the rest of the page
})
const { notes } = workspace

const list = showList(notes, { open, remove: (id) => deletions.remove(id) })
const editor = showEditor(
  notes,
  (id) => list.select(id),
  (is) => connection.unsaved(is),
)
const connection = showConnection(
  workspace,
  countUnsent(notes, () => connection.refresh()),
)
const deletions = showDeletions(notes, editor, list, closeEditor)
showTransfer(notes, connection.busy)
watchDisk(workspace, editor, DATABASE)

function open(id: string): void {
  const failed = (error: Error) => report("The note could not be opened", [error.message])
  editor.open(id).then(() => element("body", HTMLElement).focus(), failed)
}

function create(): void {
  editor.create(notes.newId())
  element("title", HTMLElement).focus()
}

function closeEditor(): void {
  editor.close()
  list.focus()
}

// buttons and keys ---------------------------------------------------------------------------------------------------

const keys = element("keys", HTMLDialogElement)
const search = element("search", HTMLInputElement)
element("new", HTMLElement).addEventListener("click", create)
element("back", HTMLElement).addEventListener("click", closeEditor)
element("delete", HTMLElement).addEventListener("click", () => editor.id !== undefined && deletions.remove(editor.id))
element("help", HTMLElement).addEventListener("click", () => keys.showModal())

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") !== null || event.isComposing) return
  const writing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement
  if (event.altKey && event.code === "KeyN") create()
  else if (event.altKey && event.code === "KeyO") connection.toggle()
  else if (event.altKey && event.code === "KeyU") deletions.undo()
  else if (event.key === "Escape" && event.target === search && search.value !== "") return
  else if (event.key === "Escape") closeEditor()
  else if (event.key === "/" && !writing) search.focus()
  else if (event.key === "?" && !writing) keys.showModal()
  else return
  event.preventDefault()
})
