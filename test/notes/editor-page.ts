import { openWorkspace } from "headwater"
import { type MemoryOptions, memoryStore } from "headwater/memory"
import { afterEach, beforeEach, vi } from "vitest"
import { notes as definition } from "../../examples/notes/notes.ts"

// A page without a browser, for the tests of the editor, of deletions and of the disk watcher.

/** The part of an element that these tests need. test/browser/notes.test.ts runs the editor on real elements. */
class FakeElement extends EventTarget {
  #value = ""
  private readonly lineBreak: string
  constructor(lineBreak = "\n") {
    super()
    this.lineBreak = lineBreak
  }
  get value(): string {
    return this.#value
  }
  /** Changes line breaks as inputs do: a <textarea> has LF only, an <input> has none. */
  set value(text: string) {
    this.#value = text.replace(/\r\n?|\n/g, this.lineBreak)
  }
  textContent = ""
  hidden = false
  selectionStart = 0
  selectionEnd = 0
  onclick: (() => Promise<void>) | undefined
  private readonly children = new Map<string, FakeElement>()
  querySelector(selector: string): FakeElement {
    const found = this.children.get(selector) ?? new FakeElement(selector === "title" ? "" : "\n")
    this.children.set(selector, found)
    return found
  }
  setSelectionRange(): void {}
  replaceChildren(): void {}
  contains(): boolean {
    return false
  }
  showModal(): void {}
}

let step: MemoryOptions["step"]
/** Sets a function that is called at every step of the disk, and may throw. With undefined the disk works. */
export const onDisk = (does: MemoryOptions["step"]) => {
  step = does
}
const open = () =>
  openWorkspace({
    id: "notes",
    collections: { notes: definition },
    store: memoryStore({ step: (name) => step?.(name) }),
  })
export let ws: Awaited<ReturnType<typeof open>>
let elements: FakeElement
export const at = (id: string) => elements.querySelector(id)
export const notice = () => (at("notice").hidden ? undefined : at("notice").querySelector("span").textContent)
/** Returns the heading of the last report. */
export const reported = () => at("report").querySelector("h2").textContent
export const asksBeforeItGoes = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }))
export const tryAgain = () => at("notice").querySelector("button").onclick?.()
export const type = (text: string) => {
  at("body").value = text
  at("body").dispatchEvent(new Event("input"))
}
/** Ends a `slowDisk`. */
export let goOn = () => {}
/** Lets every operation of the disk wait until `goOn` is called. */
export const slowDisk = () => {
  const done = new Promise<void>((resolve) => (goOn = resolve))
  step = () => done
}
export const gone = (): never => {
  throw new Error("the disk is gone")
}

/** Gives each test of a file a page and notes of its own. */
export function usePage(): void {
  beforeEach(async () => {
    for (const name of ["HTMLElement", "HTMLInputElement", "HTMLTextAreaElement", "HTMLDialogElement"])
      vi.stubGlobal(name, FakeElement)
    vi.stubGlobal("document", { getElementById: at, createElement: () => new FakeElement() })
    vi.stubGlobal("window", new EventTarget())
    elements = new FakeElement() // new elements, because the editor of the previous test still listens to the old ones
    step = undefined
    ws = await open()
  })
  afterEach(async () => {
    step = undefined
    goOn()
    vi.unstubAllGlobals()
    await ws.close()
  })
}
