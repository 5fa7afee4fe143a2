// @vitest-environment jsdom
/** The binding of CodeMirror to a text on a screen, one rule after the other. */
import { redo, undo } from "@codemirror/commands"
import { EditorState, Transaction } from "@codemirror/state"
import { EditorView } from "@codemirror/view"
import { beforeAll, describe, expect, test } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import { asShown, compose, editorOf, endComposition, noteOf, settled, type } from "../support/editors.ts"
import { until } from "../support/until.ts"

beforeAll(() => loadAutomerge())

const shownIn = (view: EditorView) => view.state.doc.toString()

test("what is typed is in the text before the update ends", async () => {
  const { body } = await noteOf("abc")
  const { view } = editorOf(body)
  view.dispatch({ selection: { anchor: 1 } })
  type(view, "x")
  expect(body.value).toBe("axbc")
  view.dispatch({
    changes: [
      { from: 0, to: 1, insert: "AA" },
      { from: 2, to: 2, insert: "-" },
      { from: 3, to: 4 },
    ],
  })
  expect(body.value).toBe("AAx-b")
  expect(shownIn(view)).toBe("AAx-b")
})

test("what others write comes as one transaction that is remote and not in the history, and the caret keeps its place", async () => {
  const { body } = await noteOf("one two")
  const heard: Transaction[] = []
  const { view } = editorOf(body, {
    extensions: EditorView.updateListener.of((u) => void heard.push(...u.transactions)),
  })
  view.dispatch({ selection: { anchor: 4 } })
  type(view, "X")
  heard.length = 0
  body.splice(0, 0, "zero ")
  body.splice(body.value.length, 0, " three")
  expect(shownIn(view)).toBe("one Xtwo")
  await settled()
  expect(shownIn(view)).toBe("zero one Xtwo three")
  expect(view.state.selection.main.head).toBe(10)
  expect(
    heard.map((t) => [t.annotation(Transaction.remote), t.annotation(Transaction.addToHistory), t.scrollIntoView]),
  ).toEqual([[true, false, false]])
  undo(view)
  expect(body.value).toBe("zero one two three")
  redo(view)
  expect(body.value).toBe("zero one Xtwo three")
  expect(shownIn(view)).toBe(body.value)
})

test("what is typed before others' edits are shown is merged with them", async () => {
  const { body } = await noteOf("abc")
  const { view } = editorOf(body)
  view.dispatch({ selection: { anchor: 1 } })
  body.splice(0, 1, "____")
  body.splice(body.value.length, 0, "!")
  type(view, "x")
  type(view, "y")
  expect(body.value).toBe("____xybc!")
  await settled()
  expect(shownIn(view)).toBe("____xybc!")
  expect(view.state.selection.main.head).toBe(6)
})

test("the text wins over the document with which an editor begins, and undo does not bring that back", async () => {
  const { body } = await noteOf("the text")
  const { view } = editorOf(body, { doc: "something else" })
  await settled()
  expect([shownIn(view), body.value]).toEqual(["the text", "the text"])
  undo(view)
  expect(body.value).toBe("the text")
})

test("two editors and an app that answers edits with edits show one text", async () => {
  const { body } = await noteOf("")
  const [a, b] = [editorOf(body), editorOf(body)]
  body.subscribe((splices) => {
    if (splices.some(({ insert }) => insert === "(")) body.splice(body.value.length, 0, ")")
    if (splices.some(({ insert }) => insert === ")")) b.view.dispatch({ changes: { from: 0, insert: "f" } })
  })
  type(a.view, "(")
  await settled()
  type(b.view, "x")
  await settled()
  expect([shownIn(a.view), shownIn(b.view)]).toEqual([body.value, body.value])
  expect([...body.value].sort().join("")).toBe("()fx")
})

test("an edit that is dispatched while the text tells another one waits for that one", async () => {
  const { body } = await noteOf("abc")
  let act = () => {}
  body.subscribe(() => act()) // is told before the editor's binding
  const { view, errors } = editorOf(body)
  act = () => {
    act = () => {}
    view.dispatch({ changes: { from: 3, insert: "d" } })
    expect(body.value).toBe("12345abc") // the editor does not know yet where its "d" belongs
  }
  body.splice(0, 0, "12345")
  await settled()
  expect([body.value, shownIn(view), errors]).toEqual(["12345abcd", "12345abcd", []])
})

test("an editor that is destroyed in the same moment loses nothing that was typed", async () => {
  const { body } = await noteOf("abc")
  let act = () => {}
  body.subscribe(() => act())
  const { view } = editorOf(body)
  act = () => {
    act = () => {}
    view.dispatch({ changes: { from: 3, insert: "d" } })
    view.destroy()
  }
  body.splice(0, 0, "1")
  await settled()
  expect(body.value).toBe("1abcd")
})

describe("an edit that the text refuses", () => {
  test("is taken back and reported, and the caret stays", async () => {
    const { ws, handle, body } = await noteOf("one two")
    const { view, errors } = editorOf(body)
    view.dispatch({ selection: { anchor: 3 } })
    await ws.notes.delete("a")
    await until(() => handle.deleted)
    type(view, "X")
    await settled()
    expect([shownIn(view), view.state.selection.main.head]).toEqual(["one two", 3])
    expect(errors).toMatchObject([{ code: "ENTITY_DELETED" }])
    view.dispatch({ changes: { from: 4, to: 7, insert: "TWO" } })
    await settled()
    expect(shownIn(view)).toBe("one two")
    undo(view)
    await settled()
    expect([shownIn(view), body.value]).toEqual(["one two", "one two"])
    await ws.notes.restore("a")
    await until(() => !handle.deleted)
    type(view, "Y")
    expect(body.value).toBe("oneY two")
  })

  test("is taken back when it is too large, or comes after the handle is closed", async () => {
    const { handle, body } = await noteOf("ab")
    const { view, errors } = editorOf(body)
    view.dispatch({ selection: { anchor: 1 } })
    type(view, "x".repeat(300_000))
    await settled()
    expect(shownIn(view)).toBe("ab")
    await handle.close()
    type(view, "x")
    await settled()
    expect(shownIn(view)).toBe("ab")
    expect(errors).toMatchObject([{ code: "TOO_LARGE" }, { code: "CLOSED" }])
  })

  test("does not take back what others have written, nor edits of the same transaction that were written", async () => {
    const { body } = await noteOf("ab")
    const { view, errors } = editorOf(body)
    body.splice(0, 0, "others ")
    view.dispatch({
      changes: [
        { from: 0, insert: "1" },
        { from: 2, insert: "\ud800" },
      ],
    })
    await settled()
    expect([body.value, shownIn(view)]).toEqual(["others 1ab", "others 1ab"])
    expect(errors).toHaveLength(1)
  })
})

describe("a read-only editor", () => {
  test("shows what others write", async () => {
    const { body } = await noteOf("ab")
    const refuse = [EditorState.readOnly.of(true), EditorState.changeFilter.of(() => false)]
    const { view } = editorOf(body, { extensions: refuse })
    body.splice(1, 0, "x")
    await settled()
    expect(shownIn(view)).toBe("axb")
  })
})

describe("line breaks", () => {
  const edit = async (before: string, from: number, to: number, insert: string) => {
    const { body } = await noteOf(before)
    const { view, errors } = editorOf(body)
    view.dispatch({ changes: { from, to, insert: view.state.toText(insert) } })
    const expected = shownIn(view)
    await settled()
    expect(errors).toEqual([])
    expect(asShown(body.value)).toBe(shownIn(view))
    expect(shownIn(view)).toBe(expected) // nothing that the person saw has changed again
    return body.value
  }

  test.each([
    ["a break of the text's own kind is typed", "a\r\nb", 3, 3, "x\ny", "a\r\nbx\r\ny"],
    ["behind the first break", "a\r\nb", 2, 2, "x", "a\r\nxb"],
    ["before the first break", "a\r\nb", 1, 1, "x", "ax\r\nb"],
    ["a pair is deleted whole", "a\r\nb\r\nc", 3, 4, "", "a\r\nbc"],
    ["old breaks stay", "a\rb", 2, 3, "x\ny", "a\rx\ry"],
    ["no break in the text", "ab", 1, 1, "\r\n", "a\nb"],
    ["a break behind a lone CR", "n\na\rb", 4, 4, "\n", "n\na\r\r\nb"],
    ["a break before a lone LF", "n\ra\nb", 3, 3, "\n", "n\ra\r\n\nb"],
    ["two breaks do not become one", "a\rX\nb", 2, 3, "", "a\r\r\nb"],
    ["whole characters", "a😀b", 1, 3, "😁", "a😁b"],
    ["half of a character that changes", "a😀b", 2, 3, "\ude01", "a😁b"],
  ])("%s", async (_, before, from, to, insert, after) => {
    expect(await edit(before, from, to, insert)).toBe(after)
  })

  test.each([
    ["joins two breaks", "a\rX\nb", 2, 1, ""],
    ["divides a break", "a\r\nb", 2, 0, "X"],
    ["takes half of a break", "a\r\nb", 1, 1, ""],
    ["takes the other half", "a\r\nb", 2, 1, ""],
    ["makes a break of two halves", "a\rb", 2, 0, "\n"],
    ["is behind breaks", "\r\n\r\nab", 5, 1, "x\r\ny"],
  ])("a splice of others that %s", async (_, before, at, remove, insert) => {
    const { body } = await noteOf(before)
    const { view } = editorOf(body)
    body.splice(at, remove, insert)
    await settled()
    expect(shownIn(view)).toBe(asShown(body.value))
    const end = view.state.doc.length
    view.dispatch({ changes: { from: end, insert: "!" } })
    expect(body.value.endsWith("!")).toBe(true)
  })
})

describe("while an input method composes", () => {
  test("others' edits in other lines are shown, and those in its line once it has ended", async () => {
    const { body } = await noteOf("one\ntwo\nthree")
    const { view } = editorOf(body)
    view.dispatch({ selection: { anchor: 7 } })
    view.focus()
    await compose(view, "n")
    expect([view.composing, body.value]).toEqual([true, "one\ntwon\nthree"])
    body.splice(0, 0, "zero\n")
    await settled()
    expect(shownIn(view)).toBe("zero\none\ntwon\nthree")
    body.splice("zero\none\n".length, 0, "their ")
    await compose(view, "に")
    expect([shownIn(view), body.value]).toEqual(["zero\none\ntwoに\nthree", "zero\none\ntheir twoに\nthree"])
    endComposition(view)
    await until(() => shownIn(view) === body.value)
    expect(body.value).toBe("zero\none\ntheir twoに\nthree")
    expect(view.state.selection.main.head).toBe(body.value.indexOf("に") + 1)
  })
})
