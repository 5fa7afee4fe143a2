/** CodeMirror editors that are bound to notes of real workspaces, for tests in jsdom. */
import { history } from "@codemirror/commands"
import { EditorState, type Extension } from "@codemirror/state"
import { EditorView } from "@codemirror/view"
import { collection, type LiveText, openWorkspace, shape, text } from "headwater"
import { textBinding } from "headwater/codemirror"
import { memoryStore } from "headwater/memory"

// jsdom has no layout. CodeMirror measures lines in it and is content with none.
Range.prototype.getClientRects = () => [] as unknown as DOMRectList

export const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })

/** Opens a note with this body on a device without a relay. */
export async function noteOf(body: string) {
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore() })
  await ws.notes.create({ body }, { id: "a" })
  const handle = await ws.notes.open("a")
  return { ws, handle, body: handle.text("body") }
}

/** An editor that is bound to the text. `errors`: what its `onError` was called with. */
export function editorOf(text: LiveText, { doc = text.value, extensions = [] as Extension } = {}) {
  const errors: unknown[] = []
  const binding = textBinding(text, { onError: (error) => errors.push(error) })
  const state = EditorState.create({ doc, extensions: [history(), binding, extensions] })
  const view = new EditorView({ state, parent: document.body })
  return { view, errors }
}

/** Types as a person does: at the caret, and the caret goes behind it. */
export function type(view: EditorView, text: string): void {
  view.dispatch(view.state.replaceSelection(text), { userEvent: "input.type", scrollIntoView: true })
}

/** The text as an editor shows it. */
export const asShown = (value: string): string => value.replace(/\r\n?/g, "\n")

/** Lets all microtasks pass, and those that they queue: one binding's may be an edit that another one hears of. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Shows `text` at the caret as what an input method composes, in place of what it has composed so far. */
export async function compose(view: EditorView, text: string): Promise<void> {
  const event = view.compositionStarted ? "compositionupdate" : "compositionstart"
  if (event === "compositionstart") composed.delete(view)
  view.focus() // CodeMirror reads the caret from the page only where it has the focus
  view.contentDOM.dispatchEvent(new CompositionEvent(event, { data: text }))
  const before = composed.get(view) ?? ""
  const { node, offset } = view.domAtPos(view.state.selection.main.head)
  if (!(node instanceof window.Text)) throw new Error("compose in a line that is not empty")
  node.replaceData(offset - before.length, before.length, text)
  getSelection()?.collapse(node, offset - before.length + text.length)
  composed.set(view, text)
  await Promise.resolve() // CodeMirror observes the mutation
}

/** What an input method has composed so far. */
const composed = new WeakMap<EditorView, string>()

export function endComposition(view: EditorView): void {
  view.contentDOM.dispatchEvent(new CompositionEvent("compositionend", { data: composed.get(view) ?? "" }))
}
