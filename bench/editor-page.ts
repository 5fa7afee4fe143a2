/** The functions that editor-in-browser.ts calls in the page. */
import { history } from "@codemirror/commands"
import type { Extension } from "@codemirror/state"
import { EditorView } from "@codemirror/view"
import { textBinding } from "headwater/codemirror"
import { indexedDBStore } from "headwater/indexeddb"
import { openNotes } from "./notes.ts"

/** For each key, the time from its event to the end of the frame that shows its letter, ms. */
const times: number[] = []
/** For each key, the part of that time until its letter is in the editor and in the text. */
const work: number[] = []
let pressed = 0

/** Shows an editor, and measures its keys. */
function show(doc: string, binding: Extension): void {
  const extensions = [history(), EditorView.lineWrapping, binding]
  const view = new EditorView({ doc, extensions, parent: document.body })
  addEventListener("keydown", ({ timeStamp }) => (pressed = timeStamp), { capture: true })
  view.contentDOM.addEventListener("input", () => {
    const begun = pressed
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => times.push(performance.now() - begun) // the first task after the frame
    requestAnimationFrame(() => port2.postMessage(null))
    // The editor observes the letter in a microtask, as this one.
    queueMicrotask(() => work.push(performance.now() - begun))
  })
  view.focus()
  view.dispatch({ selection: { anchor: view.state.doc.line(3).to } })
}

Object.assign(globalThis, {
  /** Shows this text in an editor without a binding. */
  bare: (body: string) => show(body, []),
  /** Shows the note that another device has made. */
  async bound(relay: string, id: string) {
    const ws = await openNotes(indexedDBStore("bench"), relay)
    await ws.whenSynced()
    const body = (await ws.notes.open(id)).text("body")
    show(body.value, textBinding(body))
  },
  taken: () => ({ times: times.splice(0), work: work.splice(0) }),
})
