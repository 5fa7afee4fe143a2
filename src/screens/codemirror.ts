/** Binds CodeMirror 6 to a text on a screen. */
import { Annotation, ChangeSet, type Extension, Text, Transaction } from "@codemirror/state"
import { type EditorView, type PluginValue, ViewPlugin, type ViewUpdate } from "@codemirror/view"
import type { LiveText } from "../app/live-text.ts"
import type { TextSplice } from "../schema/types.ts"

/**
 * How often it is checked whether a composition has ended, ms. What others have written is shown after the second check
 * that finds it so: CodeMirror reads what was composed up to 20 ms after the end, and a transaction would make it drop that.
 */
const COMPOSITION_CHECK_MS = 50

/** Options of `textBinding`. */
export interface TextBindingOptions {
  /**
   * Called with the error of an edit that the text has refused: `READ_ONLY`, `ENTITY_DELETED`, `TOO_LARGE`, `CLOSED`, and
   * the other codes of `LiveText.splice`. Without it, the error is thrown in a microtask, as an uncaught error of the page.
   */
  onError?(error: unknown): void
}

/**
 * Binds an editor to a text: what a person types is written to the text before the editor's update ends, and what others
 * write is shown without moving the caret or the scroll position.
 *
 * The text wins when the editor begins with another document: begin with `doc: text.value`. What others write comes as
 * transactions that are annotated with `Transaction.remote` and are not in the history, so that undo takes back one's own
 * edits only. They come in a microtask after the text has changed; what is typed before that is merged.
 *
 * While an input method composes, what it has composed so far is in the text already. What others write in that line is
 * shown when the composition has ended.
 *
 * In the editor every line break counts as one. The text keeps its "\r\n" and "\r"; a typed break is written as the first
 * one of the text is, else as "\n".
 *
 * When the text refuses an edit, the editor goes back to the text and `onError` is called. To keep people from typing where
 * they may not write, give the editor `EditorState.readOnly.of(true)` and `EditorView.editable.of(false)`, in a
 * `Compartment` if that changes. Several editors, on one page or on several devices, may be bound to one text.
 */
export function textBinding(text: LiveText, options: TextBindingOptions = {}): Extension {
  return ViewPlugin.define((view) => new Binding(view, text, options))
}

/** Marks the transactions of a binding. */
const madeBy = Annotation.define<Binding>()

/** The known text with `#typed`, and the editor's document with `#news`, are always the same document. */
class Binding implements PluginValue {
  readonly #view: EditorView
  readonly #text: LiveText
  readonly #options: TextBindingOptions
  readonly #unsubscribe: () => void
  /** The text with all splices that this binding has heard of or made. */
  #known: string
  /** Splices that this binding has made and not heard of yet. */
  #made: TextSplice[] = []
  /** What was typed and is not in the text yet: changes of one range each, one after the other. */
  #typed: ChangeSet[] = []
  /** What others have written and the editor does not show yet. */
  #news: ChangeSet
  #isSettling = false
  #isDestroyed = false
  /** The timer of the next check, while news wait for the end of a composition. */
  #check: ReturnType<typeof setTimeout> | undefined

  constructor(view: EditorView, text: LiveText, options: TextBindingOptions) {
    this.#view = view
    this.#text = text
    this.#options = options
    this.#known = text.value
    this.#news = difference(view.state.doc.toString(), shown(this.#known))
    this.#unsubscribe = text.subscribe((splices) => this.#hear(splices))
    if (!this.#news.empty) this.#settleSoon()
  }

  update({ transactions }: ViewUpdate): void {
    for (const transaction of transactions) {
      const { changes } = transaction
      if (transaction.annotation(madeBy) === this) {
        this.#news = ChangeSet.empty(changes.newLength)
      } else if (!changes.empty) {
        this.#typed.push(...singles(changes.map(this.#news)))
        this.#news = this.#news.map(changes, true)
      }
    }
    this.#send()
    if (!this.#news.empty || this.#typed.length > 0 || this.#made.length > 0) this.#settleSoon()
  }

  destroy(): void {
    this.#isDestroyed = true
    clearTimeout(this.#check)
    this.#unsubscribe()
  }

  #settleSoon(): void {
    if (this.#isSettling) return
    this.#isSettling = true
    queueMicrotask(() => {
      this.#isSettling = false
      this.#settle()
    })
  }

  /** Call in a microtask: then the text has told all its splices, and the editor is not in the midst of an update. */
  #settle(): void {
    const { value } = this.#text
    if (value !== this.#known) this.#take(difference(shown(this.#known), shown(value)), value)
    this.#made = []
    this.#send()
    this.#show()
  }

  // ── from the editor to the text ───────────────────────────────────────────────────────────────────────────────────

  /** Writes what was typed. Where the text has changes that are not told yet, offsets in it are unknown: that waits. */
  #send(): void {
    try {
      while (this.#typed.length > 0 && this.#text.value === this.#known) this.#write(this.#typed.shift()!)
    } catch (error) {
      this.#typed = []
      this.#backToText()
      queueMicrotask(() => {
        if (this.#options.onError === undefined) throw error
        this.#options.onError(error)
      })
    }
    if (this.#typed.length === 0 && this.#news.newLength !== shownAt(this.#known, this.#known.length))
      this.#backToText()
  }

  #write(change: ChangeSet): void {
    const before = this.#known
    const splice = spliceOf(change, before)
    const after = spliced(before, splice)
    if (after === before) return
    // Before `splice`, because others may answer it with edits, which this binding hears of before `splice` returns.
    this.#known = after
    this.#made.push(splice)
    try {
      this.#text.splice(splice.at, splice.remove, splice.insert)
    } catch (error) {
      this.#known = before
      this.#made.pop()
      throw error
    }
  }

  #backToText(): void {
    this.#news = difference(this.#view.state.doc.toString(), shown(this.#known))
    if (!this.#news.empty) this.#settleSoon()
  }

  // ── from the text to the editor ───────────────────────────────────────────────────────────────────────────────────

  #hear(splices: readonly TextSplice[]): void {
    for (const splice of splices) {
      const [own] = this.#made
      if (own === undefined) this.#take(changeOf(splice, this.#known), spliced(this.#known, splice))
      else if (isSame(own, splice)) this.#made.shift()
      // Else an edit from before our own that is told after it. All such edits together change nothing, because our own was
      // made where the text was the known one. `#settle` finds out if that is not so.
    }
    this.#settleSoon()
  }

  /** Takes in a change of the known text by others, which leads to the text `after`. */
  #take(change: ChangeSet, after: string): void {
    const typed: ChangeSet[] = []
    for (const one of this.#typed) {
      typed.push(...singles(one.map(change)))
      change = change.map(one, true)
    }
    this.#typed = typed
    this.#news = this.#news.compose(change)
    this.#known = after
  }

  #show(): void {
    if (this.#isDestroyed || this.#news.empty) return
    if (this.#isComposedIn()) return this.#showAfterComposition()
    this.#view.dispatch({
      changes: this.#news,
      annotations: [madeBy.of(this), Transaction.remote.of(true), Transaction.addToHistory.of(false)],
      filter: false, // an editor that refuses changes must still show the text
    })
  }

  /** Whether an input method composes in a line that the news change, or has done so until a moment ago. */
  #isComposedIn(): boolean {
    const { composing, state } = this.#view
    if (!composing && this.#check === undefined) return false
    const { from, to } = state.doc.lineAt(state.selection.main.head)
    return this.#news.touchesRange(from, to) !== false
  }

  /** Checks instead of listening to `compositionend`, which Chromium on Android does not send to the editor's element. */
  #showAfterComposition(wasComposing = true): void {
    this.#check ??= setTimeout(() => {
      this.#check = undefined
      const isComposing = this.#view.composing
      if (isComposing || wasComposing) this.#showAfterComposition(isComposing)
      else this.#show()
    }, COMPOSITION_CHECK_MS)
  }
}

// ── offsets and line breaks ─────────────────────────────────────────────────────────────────────────────────────────

/** The text as the editor counts it: one unit for each line break. */
const shown = (text: string): string => text.replace(/\r\n?/g, "\n")

/** The editor's offset of an offset in the text. */
function shownAt(text: string, at: number): number {
  let pairs = 0
  for (let pair = text.indexOf("\r\n"); pair >= 0 && pair + 1 < at; pair = text.indexOf("\r\n", pair + 2)) pairs++
  return at - pairs
}

/** The offset in the text of an offset in the editor. Never inside "\r\n". */
function textAt(text: string, offset: number): number {
  let at = offset
  for (let pair = text.indexOf("\r\n"); pair >= 0 && pair < at; pair = text.indexOf("\r\n", pair + 2)) at++
  return at
}

const spliced = (text: string, { at, remove, insert }: TextSplice): string =>
  text.slice(0, at) + insert + text.slice(at + remove)

const isSame = (a: TextSplice, b: TextSplice): boolean =>
  a.at === b.at && a.remove === b.remove && a.insert === b.insert

/** The splice of the text that a change of the editor's document means. The change has one range. */
function spliceOf(change: ChangeSet, text: string): TextSplice {
  let [at, end, insert] = [0, 0, ""]
  change.iterChanges((from, to, _from, _to, inserted) => {
    at = textAt(text, from)
    end = textAt(text, to)
    insert = inserted.toString().replaceAll("\n", /\r\n?|\n/.exec(text)?.[0] ?? "\n")
  })
  if (isDivided(text, at)) insert = text[--at] + insert
  if (isDivided(text, end)) insert += text[end++]
  // A "\r" and a "\n" that were two breaks, or of which one was typed, must not become one break.
  const next = text[end] ?? ""
  if (text[at - 1] === "\r" && (insert + next)[0] === "\n") insert = `\r${insert}`
  else if (insert.endsWith("\r") && next === "\n") insert += "\n"
  return { at, remove: end - at, insert }
}

/** Whether an offset stands between the two units of one character. */
const isDivided = (text: string, at: number): boolean => at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff

/** The change of the editor's document that a splice of the text means. */
function changeOf(splice: TextSplice, before: string): ChangeSet {
  const after = spliced(before, splice)
  let [start, end] = [splice.at, splice.at + splice.remove]
  const tail = after.length - before.length
  // A splice can join "\r" and "\n" to one break, or divide that break: then the whole of it changes.
  const isJoined = (text: string, at: number) => text[at - 1] === "\r" && text[at] === "\n"
  if (isJoined(before, start) || isJoined(after, start)) start--
  if (isJoined(before, end) || isJoined(after, end + tail)) end++
  const insert = Text.of(after.slice(start, end + tail).split(/\r\n?|\n/))
  const length = shownAt(before, before.length)
  return ChangeSet.of({ from: shownAt(before, start), to: shownAt(before, end), insert }, length)
}

/** The change that makes one document of the editor another one, in one range. */
function difference(before: string, after: string): ChangeSet {
  if (before === after) return ChangeSet.empty(before.length)
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && before[start] === after[start]) start++
  let same = 0
  if (isDivided(before, start) || isDivided(after, start)) start--
  while (same < shorter - start && before.at(-1 - same) === after.at(-1 - same)) same++
  if (isDivided(before, before.length - same) || isDivided(after, after.length - same)) same--
  const insert = Text.of(after.slice(start, after.length - same).split("\n"))
  return ChangeSet.of({ from: start, to: before.length - same, insert }, before.length)
}

/** Divides a change into changes of one range each, one after the other. */
function singles(changes: ChangeSet): ChangeSet[] {
  const all: ChangeSet[] = []
  let { length } = changes
  changes.iterChanges((fromA, toA, from, _to, insert) => {
    all.push(ChangeSet.of({ from, to: from + toA - fromA, insert }, length))
    length += insert.length - (toA - fromA)
  })
  return all
}
