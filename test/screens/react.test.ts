// @vitest-environment jsdom
/** React hooks under StrictMode: what is opened and closed, what is rendered and how often, and errors. */
import {
  collection,
  HeadwaterError,
  type LiveText,
  openWorkspace,
  shape,
  text,
  type Workspace,
  type WorkspaceOptions,
} from "headwater"
import { memoryStore } from "headwater/memory"
import { useEntity, useHandle, useRows, useStatus, useText, useWorkspace } from "headwater/react"
import { act, Component, createElement, memo, type ReactNode, StrictMode } from "react"
import { createRoot, type Root } from "react-dom/client"
import { renderToStaticMarkup } from "react-dom/server"
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { systemClock } from "../../src/base/env.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { compose, control, endComposition, type Field, select, type } from "../support/typing.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
type Notes = { notes: typeof notes }

let root: Root
let page: HTMLElement
let close: (() => Promise<unknown>)[] = []
/** How often each component was rendered since the last look. Under StrictMode each rendering counts twice. */
let renders: Record<string, number> = {}
const rendered = () => {
  const counts = Object.fromEntries(Object.entries(renders).map(([name, n]) => [name, n / 2]))
  renders = {}
  return counts
}
const count = (name: string) => {
  renders[name] = (renders[name] ?? 0) + 1
}

beforeAll(async () => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })
  await loadAutomerge()
  // Loads the code of handles, too: later, the test of another copy of the library would get that copy's code.
  const first = await openWorkspace({ id: "first", collections: { notes }, store: memoryStore() })
  await first.notes.create({}, { id: "a" })
  await first.notes.open("a")
  await first.close()
})
beforeEach(() => {
  page = document.body.appendChild(document.createElement("div"))
  root = createRoot(page, { onCaughtError() {} }) // by default it is logged
  renders = {}
})
afterEach(async () => {
  await act(() => root.unmount())
  page.remove()
  await Promise.all(close.map((f) => f()))
  close = []
})

const show = (node: ReactNode) => act(() => root.render(createElement(StrictMode, null, node)))
/** Lets React render until `isDone`. */
async function settle(isDone: () => unknown): Promise<void> {
  const end = systemClock.now() + 20_000
  while (!isDone() && systemClock.now() < end)
    await act(() => new Promise((resolve) => systemClock.after(1, () => resolve(undefined))))
  if (!isDone()) throw new Error(`not true after 20 s: ${isDone}; the page shows ${page.innerHTML}`)
}
const field = (tag = "textarea") => page.querySelector(tag) as Field

async function opened() {
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore() })
  close.push(() => ws.close())
  return ws
}

/** Counts the openings and closings of a store, and keeps the timers of a workspace. */
function watched() {
  const store = memoryStore()
  const { claim } = store
  const seen = { claims: 0, releases: 0 }
  const timers: (() => void)[] = []
  store.claim = async (id) => {
    seen.claims++
    const release = await claim(id)
    return async () => {
      seen.releases++
      await release()
    }
  }
  const after = (ms: number, f: () => void) => {
    if (ms < 5_000) return systemClock.after(ms, f)
    timers.push(f)
    return () => void timers.splice(timers.indexOf(f), 1)
  }
  const options: WorkspaceOptions<Notes> = { id: "w", collections: { notes }, store, env: { ...systemEnv, after } }
  const passTime = (count = timers.length) => {
    for (const timer of timers.splice(0, count)) timer()
  }
  return { store, seen, options, passTime }
}

class Boundary extends Component<{ readonly children: ReactNode }> {
  override state: { readonly error?: { readonly code: string } } = {}
  static getDerivedStateFromError = (error: unknown) => ({ error })
  override render = () => this.state.error?.code ?? this.props.children
}

describe("useWorkspace", () => {
  let ws: Workspace<Notes> | null = null
  function App({ options }: { readonly options: WorkspaceOptions<Notes> | null }) {
    ws = useWorkspace(options)
    if (ws !== null) expect(ws.id).toBe(options?.id)
    return ws === null ? "opening" : "open"
  }

  test("opens once for two components under StrictMode, and closes a while after the last has gone", async () => {
    const { options, seen, passTime } = watched()
    const app = (key: string) => createElement(App, { key, options: { ...options } })
    await show([app("a"), app("b")])
    await settle(() => page.textContent === "openopen")
    expect(seen).toEqual({ claims: 1, releases: 0 })
    const first = ws
    await show([app("c")]) // a component in place of another one, as hot replacement does
    expect([page.textContent, ws]).toEqual(["open", first])
    await show(null)
    await show(app("d"))
    await show(null)
    passTime(1) // since an earlier time when nobody used it
    await show(app("e"))
    expect([page.textContent, ws, seen]).toEqual(["open", first, { claims: 1, releases: 0 }])
    await show(null)
    passTime()
    await settle(() => seen.releases === 1)
    await show(app("f"))
    await settle(() => page.textContent === "open")
    expect([ws === first, seen]).toEqual([false, { claims: 2, releases: 1 }])
    await show(null)
    passTime()
    await settle(() => seen.releases === 2)
  })

  test("another copy of the library finds the open workspace", async () => {
    const { options, seen, passTime } = watched()
    await show(createElement(App, { options }))
    await settle(() => page.textContent === "open")
    const first = ws
    vi.resetModules()
    const copy = await import("headwater/react")
    expect(copy.useWorkspace).not.toBe(useWorkspace)
    function Copy() {
      ws = copy.useWorkspace(options)
      return ws && "copy"
    }
    await show(createElement(Copy))
    await settle(() => page.textContent === "copy")
    expect([ws, seen]).toEqual([first, { claims: 1, releases: 0 }])
    await show(null)
    passTime()
    await settle(() => seen.releases === 1)
  })

  test("a workspace that nobody needs any more is closed once it is open", async () => {
    const { options, seen, store, passTime } = watched()
    let goOn = () => {}
    const { get } = store
    store.get = async (key) => {
      await new Promise<void>((resolve) => (goOn = resolve))
      store.get = get
      return get(key)
    }
    await show(createElement(App, { options }))
    await show(null)
    passTime()
    await settle(() => seen.claims === 1)
    expect(seen.releases).toBe(0)
    await settle(() => {
      goOn()
      return seen.releases === 1
    })
  })

  test("another id opens another workspace, and null gives null", async () => {
    const { options, seen, passTime } = watched()
    await show(createElement(App, { options: null }))
    expect([ws, seen.claims]).toEqual([null, 0])
    await show(createElement(App, { options }))
    await settle(() => ws?.id === "w")
    await show(createElement(App, { options: { ...options, id: "x" } }))
    await settle(() => ws?.id === "x")
    await show(null)
    passTime()
    await settle(() => seen.releases === 2)
  })

  test("an error of the opening goes to the error boundary, and the next try opens again", async () => {
    const { options, seen, store, passTime } = watched()
    const { claim } = store
    store.claim = () => Promise.reject(new HeadwaterError("STORE_FAILED", "no disk"))
    const app = (key: string) => createElement(Boundary, { key, children: createElement(App, { options }) })
    await show(app("a"))
    await settle(() => page.textContent === "STORE_FAILED")
    store.claim = claim
    await show(app("b"))
    await settle(() => page.textContent === "open")
    await show(null)
    passTime()
    await settle(() => seen.releases === 1)
  })
})

describe("rows, one row and the status", () => {
  function Rows({ ws }: { readonly ws: Workspace<Notes> | null }) {
    count("rows")
    return useRows(ws?.notes ?? null).map(({ title }) => title)
  }
  function One({ ws }: { readonly ws: Workspace<Notes> | null }) {
    count("one")
    return ` ${useEntity(ws?.notes ?? null, "a")?.title}`
  }
  function Phase({ ws }: { readonly ws: Workspace<Notes> }) {
    count("status")
    const { phase, pending } = useStatus(ws)
    return ` ${phase} ${pending}`
  }

  test("are rendered when they have changed, and not otherwise", async () => {
    const ws = await opened()
    await show([Rows, One, Phase].map((part, key) => createElement(part, { ws, key })))
    expect(page.textContent).toBe(" undefined local 0")
    rendered()
    await act(() => ws.notes.create({ title: "A" }, { id: "a" }))
    expect([page.textContent, rendered()]).toEqual(["A A local 2", { rows: 1, one: 1, status: 1 }])
    await act(() => ws.notes.create({ title: "B" }, { id: "b" }))
    expect([page.textContent, rendered()]).toEqual(["AB A local 4", { rows: 1, status: 1 }])
    await act(() => ws.notes.update("b", (draft) => void (draft.title = "B")))
    expect(rendered()).toEqual({})
    await act(() => ws.notes.delete("a"))
    expect([page.textContent, rendered()]).toEqual(["B undefined local 5", { rows: 1, one: 1, status: 1 }])
  })

  test("of null are empty, and of a server too", async () => {
    const ws = await opened()
    await ws.notes.create({ title: "A", body: "abc" }, { id: "a" })
    const handle = await ws.notes.open("a")
    const { options, seen } = watched()
    function Open() {
      const found = useWorkspace(options)
      const none = useHandle(ws.notes, "a")
      const { value } = useText(handle.text("body"))
      return ` ${found} ${none} ${value}`
    }
    expect(renderToStaticMarkup([Rows, One].map((part, key) => createElement(part, { ws: null, key })))).toBe(
      " undefined",
    )
    expect(renderToStaticMarkup([Rows, One, Open].map((part, key) => createElement(part, { ws, key })))).toBe(
      " undefined null null ",
    )
    expect(seen.claims).toBe(0)
  })
})

describe("useHandle", () => {
  let handle: { update(f: (draft: { title?: string }) => void): void } | null
  function Note({ ws, id }: { readonly ws: Workspace<Notes>; readonly id: string | null }) {
    count("note")
    const opened = useHandle(ws.notes, id)
    handle = opened
    return opened && `${opened.row.title} ${opened.row.body} ${opened.deleted} ${opened.unsaved.length}`
  }

  test("opens on mount, shows each change once, and closes on unmount", async () => {
    const ws = await opened()
    await ws.notes.create({ title: "T", body: "abc" }, { id: "a" })
    await ws.notes.create({ title: "U" }, { id: "b" })
    const { open } = ws.notes
    let opens = 0
    const counted = (id: string) => {
      opens++
      return open(id)
    }
    const spied = { ...ws, notes: { ...ws.notes, open: counted } } as Workspace<Notes>
    await show(createElement(Note, { ws: spied, id: "a" }))
    await settle(() => page.textContent !== "")
    expect([page.textContent, opens]).toEqual(["T abc false 0", 1])
    const first = handle
    rendered()
    const other = await open("a")
    await act(async () => other.text("body").splice(3, 0, "d"))
    await act(() => other.saved())
    expect(page.textContent).toBe("T abcd false 0")
    await act(async () => {})
    expect(rendered().note).toBeLessThanOrEqual(2) // on the screen, and as a saved row
    await act(() => ws.notes.delete("a"))
    await settle(() => page.textContent === "T abcd true 0")
    await show(createElement(Note, { ws: spied, id: "b" }))
    await settle(() => page.textContent === "U  false 0")
    const second = handle
    const edit = (one: typeof handle) => () => one?.update((draft) => void (draft.title = "V"))
    expect(edit(first)).toThrow("closed")
    expect(edit(second)).not.toThrow()
    await show(createElement(Note, { ws: spied, id: null }))
    expect([page.textContent, opens]).toEqual(["", 2])
    expect(edit(second)).toThrow("closed")
    await settle(() => ws.notes.get("b")?.title === "V")
  })

  test("shows edits that can never be saved", async () => {
    const ws = await opened()
    await ws.notes.create({ title: "T", body: "abc" }, { id: "a" })
    await show(createElement(Note, { ws, id: "a" }))
    await settle(() => page.textContent === "T abc false 0")
    const replica = replicaOf(ws)
    replica.step = () => {
      Reflect.deleteProperty(replica, "step") // only the save of the edit is refused
      return Promise.reject(new HeadwaterError("READ_ONLY", "you may only read"))
    }
    await act(async () => handle?.update((draft) => void (draft.title = "U")))
    await settle(() => page.textContent === "T abc false 1")
  })

  test("an entity that is not there goes to the error boundary", async () => {
    const ws = await opened()
    await show(createElement(Boundary, null, createElement(Note, { ws, id: "a" })))
    await settle(() => page.textContent !== "")
    expect(page.textContent).toBe("ENTITY_NOT_FOUND")
  })
})

describe("useText", () => {
  interface Props {
    readonly ws: Workspace<Notes>
    readonly tag?: "textarea" | "input"
    readonly bare?: boolean
    readonly id?: string
    readonly onError?: (error: unknown) => void
  }
  function Editor({ ws, id = "a", ...props }: Props) {
    return createElement(Text, { text: useHandle(ws.notes, id)?.text("body"), ...props })
  }
  /** Is rendered for its text only, and not for the row of the handle. */
  const Text = memo(
    ({ text, tag = "textarea", bare = false, onError }: Omit<Props, "ws"> & { text?: LiveText | undefined }) => {
      count("text")
      const { ref, ...props } = useText(text, { onError })
      return [
        createElement(tag, { key: 1, ...props, ...(!bare && { ref: ref as never }) }),
        createElement("output", { key: 2 }, props.value),
      ]
    },
  )
  const output = () => page.querySelector("output")?.textContent

  async function typing(body: string, props: Partial<Props> = {}) {
    const ws = await opened()
    await ws.notes.create({ body }, { id: "a" })
    const theirs = (await ws.notes.open("a")).text("body")
    await show(createElement(Editor, { ws, ...props }))
    await settle(() => field(props.tag).value !== "" || body === "")
    rendered()
    return { ws, theirs }
  }

  test.each([
    ["with ref", false],
    ["without ref", true],
  ])("%s takes each key, and renders once for it", async (_, bare) => {
    const { theirs } = await typing("say: ", { bare })
    for (const letter of "hello world") {
      await act(async () => type(field(), letter))
      expect([output(), theirs.value]).toEqual([field().value, field().value])
    }
    expect(field().value).toBe("say: hello world")
    expect(rendered()).toEqual({ text: "hello world".length })
  })

  test.each([
    ["a textarea", "textarea", "one\ntwo\n"],
    ["an input", "input", "onetwo"],
  ] as const)("%s shows line breaks as it reports them, and keeps those of the text", async (_, tag, value) => {
    for (const bare of [false, true]) {
      const { theirs, ws } = await typing("one\r\ntwo\r", { tag, bare })
      expect(field(tag).value).toBe(value)
      await act(async () => type(field(tag), "!"))
      expect([field(tag).value, theirs.value]).toEqual([`${value}!`, "one\r\ntwo\r!"])
      if (tag === "textarea") expect(output()).toBe(`${value}!`)
      await show(null)
      await ws.close()
      close = []
    }
  })

  test("keeps the caret when others write, and undoes only what was typed here", async () => {
    const { theirs } = await typing("first\nlast")
    select(field(), 5)
    await act(async () => type(field(), "X"))
    await act(async () => theirs.splice(0, 0, "the "))
    expect([field().value, output(), field().selectionStart]).toEqual(["the firstX\nlast", "the firstX\nlast", 10])
    await act(async () => void control(field(), "z"))
    expect([field().value, output(), theirs.value]).toEqual(Array(3).fill("the first\nlast"))
  })

  test("a composition is not disturbed, and what others write meanwhile appears after it", async () => {
    const { theirs } = await typing("ab")
    select(field(), 2)
    await act(async () => compose(field(), "k"))
    await act(async () => theirs.splice(0, 0, "> "))
    await act(async () => compose(field(), "か", 1))
    expect([field().value, output()]).toEqual(["abか", "abか"])
    await act(async () => endComposition(field()))
    expect([field().value, output(), theirs.value]).toEqual(Array(3).fill("> abか"))
  })

  test("what others have written appears after a composition that has changed nothing", async () => {
    const { theirs } = await typing("ab")
    select(field(), 2)
    await act(async () => compose(field(), "k"))
    await act(async () => theirs.splice(0, 0, "> "))
    await act(async () => compose(field(), "", 1))
    await act(async () => endComposition(field()))
    expect([field().value, output(), theirs.value]).toEqual(Array(3).fill("> ab"))
  })

  test.each([
    ["with ref", false],
    ["without ref", true],
  ])("%s, what the text refuses goes to onError and leaves the element", async (_, bare) => {
    const errors: unknown[] = []
    const onError = (error: unknown) => errors.push(error)
    const { ws } = await typing("ab", { bare, onError })
    await act(() => ws.notes.delete("a"))
    await act(async () => type(field(), "c"))
    expect(errors).toMatchObject([{ code: "ENTITY_DELETED" }])
    expect([field().value, output()]).toEqual(["ab", "ab"])
  })

  test("another text in the same element takes the keys from then on", async () => {
    const { ws, theirs } = await typing("one")
    await ws.notes.create({ body: "two" }, { id: "b" })
    await show(createElement(Editor, { ws, id: "b" }))
    await settle(() => field().value === "two")
    select(field(), 3)
    await act(async () => type(field(), "!"))
    expect([field().value, output(), theirs.value]).toEqual(["two!", "two!", "one"])
    await settle(() => ws.notes.get("b")?.body === "two!")
  })
})
