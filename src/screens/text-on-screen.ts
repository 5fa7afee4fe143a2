/** A text as React shows it in an input or textarea. */
import type { LiveText } from "../app/live-text.ts"
import { editOf, type Field, shownIn } from "./shown-text.ts"
import { inParts } from "./splices.ts"
import { bindText } from "./textarea.ts"

/** What a change event says of its element. */
interface Target {
  readonly value: string
  readonly selectionStart: number | null
}

/**
 * A text, and the element that shows it. `bindText` keeps the two the same. `value` is what the element shows, so React,
 * which puts `value` into the element after each key and each rendering, never finds a difference. It therefore moves no
 * caret, and does not disturb an input method.
 */
export class TextOnScreen {
  /** Called with what the text refuses. Without it, the error is thrown in a microtask. */
  onError: ((error: unknown) => void) | undefined
  readonly #text: LiveText | undefined
  /** The element, while `bindText` is at work on it. */
  #element: Field | undefined
  #unbind: (() => void) | undefined
  readonly #listeners = new Set<() => void>()

  constructor(text: LiveText | undefined) {
    this.#text = text
  }

  readonly value = (): string => this.#element?.value ?? shownIn({ tagName: "TEXTAREA" }, this.#text?.value ?? "")

  readonly subscribe = (f: () => void): (() => void) => {
    this.#listeners.add(f)
    // The element shows what this call tells of only after `bindText` was called as well, and after it has ended.
    const end = this.#text?.subscribe(() => queueMicrotask(f))
    return () => {
      this.#listeners.delete(f)
      end?.()
    }
  }

  readonly ref = (element: Field | null): void => {
    this.#unbind?.()
    this.#unbind = this.#element = undefined
    if (element === null || this.#text === undefined) return
    this.#element = element
    const stop = bindText(element, this.#text, { onError: (error) => this.#report(error) })
    // At its end, a composition may bring what others have written meanwhile, and change nothing of the text.
    const ends = ["compositionend", "blur"]
    for (const end of ends) element.addEventListener(end, this.#tell)
    this.#unbind = () => {
      stop()
      for (const end of ends) element.removeEventListener(end, this.#tell)
    }
  }

  /** React calls this after each key, before it puts `value` into the element. */
  readonly onChange = ({ target }: { readonly target: Target }): void => {
    if (this.#element === undefined) this.#take(target)
    this.#tell()
  }

  /** Makes the edit of an element that is not bound, because the app has not passed `ref` to it. */
  #take(target: Target & { readonly tagName?: string }): void {
    const text = this.#text
    if (text === undefined) return
    const now = text.value
    const { value, tagName = "TEXTAREA", selectionStart } = target
    const edit = editOf({ tagName }, now, shownIn({ tagName }, now), value, selectionStart ?? value.length)
    try {
      for (const { at, remove, insert } of edit === undefined ? [] : inParts(edit, now)) text.splice(at, remove, insert)
    } catch (error) {
      this.#report(error)
    }
  }

  readonly #tell = (): void => {
    for (const f of this.#listeners) f()
  }

  #report(error: unknown): void {
    if (this.onError !== undefined) return this.onError(error)
    queueMicrotask(() => {
      throw error
    })
  }
}
