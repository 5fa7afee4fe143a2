/** A page with an editor in which an official binding of Automerge runs on a handle, for a test to drive. */
import { automergeSyncPlugin } from "@automerge/automerge-codemirror"
import { init } from "@automerge/prosemirror"
import { defaultKeymap } from "@codemirror/commands"
import { EditorView as CodeMirror, keymap as keysOfCodeMirror } from "@codemirror/view"
import { collection, openWorkspace, shape, text } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { baseKeymap, toggleMark } from "prosemirror-commands"
import { keymap } from "prosemirror-keymap"
import { EditorState } from "prosemirror-state"
import { EditorView } from "prosemirror-view"

const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })

/** Opens the note and shows it. `first`: the body with which this device makes it; another device waits for it. */
async function openNote(relay: string, binding: "codemirror" | "prosemirror", first?: string): Promise<void> {
  const ws = await openWorkspace({
    id: binding,
    collections: { notes },
    store: indexedDBStore(binding),
    relay: { url: relay },
    wasm: new URL("automerge.wasm", document.baseURI),
  })
  if (first !== undefined) await ws.notes.create({ body: first }, { id: "a" })
  await new Promise<void>((resolve) => {
    const look = () => ws.notes.get("a") !== undefined && resolve()
    ws.notes.subscribe(look)
    look()
  })
  const handle = await ws.notes.open("a")
  if (binding === "codemirror") {
    const extensions = [
      keysOfCodeMirror.of(defaultKeymap),
      automergeSyncPlugin({ handle: handle as never, path: ["body"] }),
    ]
    const view = new CodeMirror({ doc: handle.text("body").value, extensions, parent: document.body })
    const caret = () => view.state.selection.main.head
    const place = (at: number) => view.dispatch({ selection: { anchor: at } })
    Object.assign(window, { editor: { ws, handle, shown: () => view.state.doc.toString(), caret, place } })
  } else {
    const { schema, pmDoc, plugin } = init(handle as never, ["body"])
    const keys = keymap({ ...baseKeymap, "Mod-b": toggleMark(schema.marks["strong"]!) })
    const state = EditorState.create({ schema, doc: pmDoc, plugins: [keys, plugin] })
    const view = new EditorView(document.body, { state })
    const shown = () => view.state.doc.textBetween(0, view.state.doc.content.size, "\n")
    const html = () => view.dom.innerHTML
    const caret = () => view.state.doc.textBetween(0, view.state.selection.head, "\n").length
    Object.assign(window, { editor: { ws, handle, shown, html, caret } })
  }
}

Object.assign(window, { openNote })
