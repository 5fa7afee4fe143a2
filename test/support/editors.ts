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

/** Where an input method composes, and what it has composed so far. */
interface Composition {
  readonly node: Text
  readonly at: number
  text: string
}
const compositions = new WeakMap<EditorView, Composition>()

/** Shows `text` at the caret as what an input method composes, in place of what it has composed so far. */
export async function compose(view: EditorView, text: string): Promise<void> {
  const composition = compositions.get(view) ?? beginComposition(view)
  const { node, at } = composition
  if (!node.isConnected) throw new Error("the editor has replaced the node in which an input method composes")
  const type = composition.text === "" ? "compositionstart" : "compositionupdate"
  view.contentDOM.dispatchEvent(new CompositionEvent(type, { data: text }))
  node.replaceData(at, composition.text.length, text)
  getSelection()?.collapse(node, at + text.length)
  composition.text = text
  await Promise.resolve() // CodeMirror observes the mutation
}

function beginComposition(view: EditorView): Composition {
  view.focus() // CodeMirror reads the caret from the page only where it has the focus
  const { node, offset } = view.domAtPos(view.state.selection.main.head)
  if (!(node instanceof window.Text)) throw new Error("compose in a line that is not empty")
  const composition = { node, at: offset, text: "" }
  compositions.set(view, composition)
  return composition
}

export function endComposition(view: EditorView): void {
  const { text } = compositions.get(view)!
  compositions.delete(view)
  view.contentDOM.dispatchEvent(new CompositionEvent("compositionend", { data: text }))
}
