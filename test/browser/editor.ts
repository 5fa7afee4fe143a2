/** A page with a CodeMirror editor that is bound to a note, for a test to drive. */
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands"
import { EditorView, keymap } from "@codemirror/view"
import { collection, openWorkspace, shape, text } from "headwater"
import { textBinding } from "headwater/codemirror"
import { indexedDBStore } from "headwater/indexeddb"

const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })

/** Opens the note and shows it in an editor. `first`: the body with which this device makes it; another one waits for it. */
async function openNote(relay: string, first?: string): Promise<void> {
  const ws = await openWorkspace({
    id: "w",
    collections: { notes },
    store: indexedDBStore("editor"),
    relay: { url: relay },
  })
  if (first !== undefined) await ws.notes.create({ body: first }, { id: "a" })
  await new Promise<void>((resolve) => {
    const look = () => ws.notes.get("a") !== undefined && resolve()
    ws.notes.subscribe(look)
    look()
  })
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  const extensions = [history(), keymap.of([...defaultKeymap, ...historyKeymap]), textBinding(body)]
  const view = new EditorView({ doc: body.value, extensions, parent: document.body })
  Object.assign(window, { editor: { ws, handle, body, view } })
}

Object.assign(window, { openNote })
