/** Binds an input or a textarea to a text. */
import type { LiveText } from "../app/live-text.ts"
import type { TextSplice } from "../schema/types.ts"
import { editOf, type Field, offsetIn, shownIn } from "./shown-text.ts"
import { apply, cross, inParts, inverse, move, type Splices } from "./splices.ts"
import { Steps } from "./undo-steps.ts"

/** How `bindText` deals with an element. */
export interface BindTextOptions {
  /**
   * Called when the text has refused what a person typed (`READ_ONLY`, `ENTITY_DELETED`, `TOO_LARGE`, `CLOSED`): the
   * element shows the text without it. Without `onError`, the error is thrown in a microtask.
   */
  readonly onError?: (error: unknown) => void
}

/** Where a selection begins and ends, in units of the text. */
type Range = readonly [number, number]

/**
 * Keeps an input or textarea and a text the same, both ways, until the returned function is called.
 *
 * What others write appears without moving the caret, the selection or the scroll position. While an input method
 * composes, the element is left alone, and both sides are merged after that. Undo and redo (by key or by menu) take back
 * and repeat what was typed in this element, a word at a time, and nothing else. A textarea shows CR and CRLF as line
 * breaks, an input shows no breaks; those that nobody types over stay in the text as they are. A typed break is an LF,
 * or a CRLF if the first break of the text is one. An input must be of the type text, search, tel or password.
 */
export function bindText(element: Field, text: LiveText, options: BindTextOptions = {}): () => void {
  /** The text by what was told of it, without `theirs`. `text.value` may be newer. */
  let copy = text.value
  /** What others have made of `copy` and the element does not show yet. */
  let theirs: Splices = []
  /** What the element showed of `copy` before a person edited it. */
  let shown = ""
  /** The selection before that edit, in units of `shown`. */
  let selected: Range | undefined
  /** How many splices were made here of which this binding was not told yet. */
  let own = 0
  let isChanging = false
  let isComposing = false
  const undo = new Steps()
  const redo = new Steps()

  const selection = (): Range => [element.selectionStart ?? 0, element.selectionEnd ?? element.value.length]
  const inText = (range: Range, of: string): Range => [offsetIn(element, of, range[0]), offsetIn(element, of, range[1])]

  function show(range: Range): void {
    shown = shownIn(element, copy)
    if (element.value === shown) return
    const { scrollTop, scrollLeft, selectionDirection, selectionStart } = element
    element.value = shown
    const [start = 0, end = 0] = range.map((offset) => shownIn(element, copy.slice(0, offset)).length)
    if (selectionStart !== null) element.setSelectionRange(start, end, selectionDirection ?? undefined)
    Object.assign(element, { scrollTop, scrollLeft })
  }

  /**
   * Takes in what others have made, then makes the splices `mine` in the text, and shows the result. Returns those that
   * were refused. `mine` comes from `source`; what undoes it goes to `target`, the first splice by `first`. `before`: the
   * selection in `copy`; `after`: the one in the text that `mine` makes.
   */
  function change(mine: Splices, before: Range, after: Range, source: Steps, target: Steps, first = pushTo(target)) {
    let refusal: { error: unknown } | undefined
    let record = first
    isChanging = true
    while (refusal === undefined) {
      const [moved, theirsAfter] = cross(mine, theirs)
      before = movedOver(before, theirs)
      after = movedOver(after, theirsAfter)
      target.moveOver(theirs)
      source.moveOver(theirsAfter)
      copy = apply(copy, theirs)
      theirs = []
      mine = moved
      const [next] = mine
      if (next === undefined) break
      const undoing = inverse(next, copy)
      if (undoing.insert !== next.insert) {
        own++
        try {
          text.splice(next.at, next.remove, next.insert)
        } catch (error) {
          own--
          refusal = { error }
          break
        }
        copy = apply(copy, [next])
        before = movedOver(before, [next])
        record(undoing)
        record = (more) => target.add(more)
      }
      mine = mine.slice(1)
    }
    isChanging = false
    show(refusal === undefined ? after : before)
    if (refusal !== undefined) report(refusal.error)
    return mine
  }

  function report(error: unknown): void {
    if (options.onError !== undefined) options.onError(error)
    else {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /** Brings the element and the text together. Returns false where that must wait. `isRun`: whether a key was typed. */
  function merge(time = 0, isRun = false): boolean {
    // Offsets of `copy` mean nothing in a text that is newer. This binding is about to be told of that.
    if (isChanging || isComposing || apply(copy, theirs) !== text.value) return false
    const after = selection()
    const edit = editOf(element, copy, shown, element.value, after[1], selected)
    if (edit === undefined) {
      const range = inText(after, copy)
      if (theirs.length > 0) change([], range, range, redo, undo)
    } else {
      const end = edit.at + edit.remove
      const before = selected === undefined ? ([end, end] as const) : inText(selected, copy)
      redo.clear()
      change(inParts(edit, copy), before, inText(after, apply(copy, [edit])), redo, undo, (undoing) =>
        isRun ? undo.addTyped(undoing, time, copy) : undo.push(undoing),
      )
    }
    selected = undefined
    return true
  }

  /** Takes a step back or forth in place of the browser, if the event asks for one. */
  function stepBy(event: Event, isUndo: boolean, isRedo: boolean): void {
    if (!isUndo && !isRedo) return
    event.preventDefault()
    if (!merge() || element.readOnly) return
    const [source, target] = isUndo ? [undo, redo] : [redo, undo]
    const mine = source.pop()
    const last = mine.at(-1)
    if (last === undefined) return
    const end = last.at + last.insert.length
    const refused = change(mine, inText(selection(), copy), [end, end], source, target)
    if (refused.length > 0) source.push(...refused)
  }

  function remember(): void {
    if (!isComposing) selected = selection()
  }

  function composed({ timeStamp }: Event): void {
    isComposing = false
    merge(timeStamp, true)
  }

  const listeners: Record<string, (event: InputEvent & KeyboardEvent) => void> = {
    beforeinput(event) {
      stepBy(event, event.inputType === "historyUndo", event.inputType === "historyRedo")
      remember()
    },
    // What is pasted, dropped or cut (insertFromPaste, deleteByCut) is a step of its own.
    input: ({ timeStamp, inputType }) => void merge(timeStamp, !/From|By/.test(inputType)),
    keydown(event) {
      if (event.altKey || event.defaultPrevented || !(event.ctrlKey || event.metaKey)) return
      const key = event.key.toLowerCase()
      const isZ = key === "z"
      stepBy(event, isZ && !event.shiftKey, isZ || (key === "y" && event.ctrlKey))
    },
    compositionstart() {
      remember()
      isComposing = true
    },
    compositionend: composed,
    blur: composed,
  }

  const unsubscribe = text.subscribe((splices) => {
    if (own > 0)
      own-- // what is made here is told of in the order in which it was made, before anything newer
    else theirs = [...theirs, ...splices]
    if (theirs.length > 0) merge()
  })
  show([copy.length, copy.length])
  for (const [type, listener] of Object.entries(listeners)) element.addEventListener(type, listener as EventListener)

  return () => {
    isComposing = false
    merge()
    unsubscribe()
    for (const [type, f] of Object.entries(listeners)) element.removeEventListener(type, f as EventListener)
  }
}

const pushTo = (steps: Steps) => (splice: TextSplice) => steps.push(splice)

/** Moves a selection over splices, so that what others insert at its edges stays outside. */
const movedOver = (range: Range, splices: Splices): Range =>
  splices.reduce<Range>(([start, end], one) => [move(start, one, start < end), move(end, one, false)], range)
