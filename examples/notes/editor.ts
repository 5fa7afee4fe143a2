import type { HeadwaterError } from "headwater"
import { datesOf } from "./dates.ts"
import { child, element } from "./dom.ts"
import type { Notes } from "./notes.ts"
import { report } from "./report.ts"
import { apply, asShown, difference, firstPart, inStored, moveCaret, over, PART, wholePairs } from "./splice.ts"

interface Content {
  readonly title: string
  readonly body: string
}

/**
 * Returns a note's content as the inputs show it. Inputs replace some line breaks (HTML, "API value"), and another
 * program may have written such line breaks into the note.
 */
function shown({ title, body }: Partial<Content>): Content {
  return { title: String(title ?? "").replace(/[\n\r]/g, ""), body: asShown(body ?? "") }
}

/**
 * One note in the editor. When another note is opened, the session of this note is kept until everything that was typed
 * into it is written.
 */
interface Session {
  readonly id: string
  /**
   * The last content, as the inputs show it, that was the same in inputs and document. Where the inputs differ from it,
   * something was typed that is not written yet.
   */
  base: Content
  /** False for a new note until its first text is saved. */
  exists: boolean
  writing?: Promise<void> | undefined
  /** Whether the last write failed with `STORE_FAILED`, so that `retry` writes again. */
  waits?: boolean
  /**
   * Whether a report has said that text typed into this note is not saved. Only a note that is not open any more is
   * reported in this way.
   */
  isReported?: boolean
  /**
   * Whether the note was deleted while it was in the editor. Text typed into it is written once the note is restored.
   */
  isDeleted?: boolean
  /** The content of the inputs at the time when another note was opened; undefined while this note is in the inputs. */
  left?: Content | undefined
}

export interface Editor {
  /** Shows an empty note. The first key that is typed creates it. */
  create(id: string): void
  open(id: string): Promise<void>
  close(): void
  /**
   * Resolves when the text typed into this note is saved, or when a message has said that the text is not saved.
   * Undefined when nothing is being written.
   */
  written(id: string): Promise<void> | undefined
  /** Whether typed text waits for the disk to work again, in the open note or in a note that was open before. */
  readonly waits: boolean
  /** Tries again to write all text that waits for the disk. */
  retry(): void
  readonly id: string | undefined
}

/**
 * Shows title and body, and saves them while they are typed. An input event becomes the smallest splice of the
 * document's present text, so concurrent edits merge. Edits of others appear in the inputs without moving the caret.
 */
export function showEditor(
  notes: Notes,
  onChange: (id: string | undefined) => void,
  onUnsaved: (unsaved: boolean) => void = () => {},
): Editor {
  const section = element("editor", HTMLElement)
  const title = element("title", HTMLInputElement)
  const body = element("body", HTMLTextAreaElement)
  const saved = element("saved", HTMLElement)
  const dates = element("dates", HTMLElement)
  const notice = element("notice", HTMLElement)
  const remedy = child<HTMLButtonElement>(notice, "button")
  let session: Session | undefined
  let opening: string | undefined
  /** The sessions whose typed text is not on the disk yet, including the sessions of notes that were open before. */
  const unsaved = new Set<Session>()
  /**
   * Whether an input method is composing a character. The character is not text yet, and changing the inputs now would
   * break it.
   */
  let composing = false

  const typed = (of: Session): Content => of.left ?? { title: title.value, body: body.value }
  const unwritten = (of: Session) => typed(of).title !== of.base.title || typed(of).body !== of.base.body

  function write(of: Session): Promise<void> {
    if (unwritten(of)) mark(of, true)
    of.writing ??= Promise.resolve().then(() => writeAll(of))
    return of.writing
  }

  async function writeAll(of: Session): Promise<void> {
    try {
      while (unwritten(of) && !(composing && of === session)) await (of.exists ? update(of) : create(of))
      of.waits = of.isReported = false
      say(of, undefined)
      retry()
    } catch (error) {
      of.waits = (error as HeadwaterError).code === "STORE_FAILED"
      writeFailed(of, error as HeadwaterError)
    } finally {
      of.writing = undefined
      mark(of, unwritten(of))
    }
    await refresh(of)
  }

  function retry(): void {
    for (const of of unsaved) if (of.waits && of.writing === undefined) void write(of)
  }

  function mark(of: Session, is: boolean): void {
    if (is) unsaved.add(of)
    else unsaved.delete(of)
    if (is && of === session) saved.textContent = "" // the text has changed since it was saved
    onUnsaved(unsaved.size > 0)
  }

  async function create(of: Session): Promise<void> {
    const { title, body: text } = typed(of)
    const content = { title, body: text.slice(0, wholePairs(text, PART)) }
    await notes.create(content, { id: of.id }).catch(async (error) => {
      if (!(await isSaved(of.id, content))) throw error
    })
    of.exists = true
    of.base = content
  }

  async function update(of: Session): Promise<void> {
    let before = of.base
    let after = of.base
    try {
      await notes.update(of.id, (draft, edit) => {
        const now = typed(of)
        const there = shown(draft)
        const change = difference(of.base.body, now.body, of.left ? undefined : body.selectionEnd)
        const mine = change && firstPart(change, of.base.body)
        const theirs = difference(of.base.body, there.body)
        const splices = mine === undefined ? [] : theirs === undefined ? [mine] : over(mine, theirs)
        let text = draft.body
        for (const splice of splices) {
          const { at, remove, insert } = inStored(splice, text)
          edit.splice("body", at, remove, insert)
          text = apply(text, [{ at, remove, insert }])
        }
        if (now.title !== of.base.title) draft.title = now.title
        delete draft.fileDate // `fileDate` says when the note was last changed, and that is now
        // `base` is the content on which inputs and document last agreed: `after` once this update is saved, `before`
        // if it fails
        before = there
        of.base = after = shown({ title: draft.title, body: text })
        let whole = of.base
        // if the edit is long, this update writes only its first part: keep the rest in the inputs
        if (change !== mine && change !== undefined)
          whole = { ...of.base, body: theirs === undefined ? now.body : apply(now.body, over(theirs, change)) }
        if (of.left === undefined) takeIn(whole)
        else of.left = whole
      })
    } catch (error) {
      of.base = (await isSaved(of.id, after)) ? after : before
      throw error
    }
  }

  /** Whether the note has this content. After a failed write it may, because the write may have reached the disk. */
  async function isSaved(id: string, { title, body }: Content): Promise<boolean> {
    const there = await notes.read(id).catch(() => undefined)
    const content = there && shown(there)
    return content?.title === title && content.body === body
  }

  /**
   * Reports a failed write. Nothing typed is lost: it stays in the inputs and is written with the next key or by the
   * button. If the note is not open any more, its text is in the inputs again when the note is opened.
   */
  function writeFailed(of: Session, error: HeadwaterError): void {
    if (of !== session) {
      if (!of.isReported) report(`"${typed(of).title}" was not saved: ${error.message}`, [typed(of).body])
      of.isReported = true
      if (isGone(error)) of.base = typed(of) // the note cannot be opened any more, so the report shows the text
    } else if (!isGone(error)) say(of, `Not saved: ${error.message}`, "Try again", () => write(of))
  }

  const isGone = ({ code }: HeadwaterError) => code === "ENTITY_DELETED" || code === "ENTITY_NOT_FOUND"

  async function restore(of: Session): Promise<void> {
    await notes.restore(of.id)
    say(of, undefined)
    await write(of)
  }

  /** Shows changes made elsewhere. While something typed is being written, the write itself shows them. */
  async function refresh(of: Session): Promise<void> {
    if (of !== session || of.writing || composing || !of.exists) return
    const row = notes.get(of.id)
    const kept = unwritten(of) ? " Your text is still here." : ""
    if (row === undefined) {
      of.isDeleted = true
      return say(of, `This note was deleted.${kept}`, "Restore", () => restore(of))
    }
    dates.textContent = datesOf(row)
    if (of.isDeleted) {
      of.isDeleted = false
      say(of, undefined)
      if (kept !== "") return write(of)
    }
    if (kept === "") saved.textContent = row.$sync === "stored" ? "Stored at the relay" : "Saved on this device"
    const unread = (error: Error) => say(of, `Not read: ${error.message}`, "Try again", () => refresh(of))
    const whole = row.$long === undefined ? row : await notes.read(of.id).catch(unread)
    if (whole?.body === undefined || of !== session || of.writing || composing || unwritten(of)) return
    say(of, undefined)
    of.base = shown({ title: whole.title, body: whole.body })
    takeIn(of.base)
  }

  function show(next: Session): void {
    leave()
    const content = next.left ?? next.base
    next.left = undefined
    next.isReported = false
    session = next
    title.value = content.title
    body.value = content.body
    body.setSelectionRange(0, 0)
    body.scrollTop = 0
    section.hidden = false
    saved.textContent = dates.textContent = ""
    say(next, undefined)
    onChange(next.id)
    void write(next) // writes text that was typed earlier and is not saved yet
  }

  function takeIn(content: Content): void {
    if (title.value !== content.title) title.value = content.title
    const text = content.body
    const change = difference(body.value, text)
    if (change === undefined) return
    const { selectionStart, selectionEnd, scrollTop, selectionDirection } = body
    body.value = text
    body.setSelectionRange(moveCaret(selectionStart, change), moveCaret(selectionEnd, change), selectionDirection)
    body.scrollTop = scrollTop
  }

  function say(of: Session, message: string | undefined, button = "", act: () => Promise<void> = async () => {}): void {
    if (of !== session) return
    notice.hidden = message === undefined
    const text = child(notice, "span")
    // a screen reader would announce an equal text again
    if (text.textContent !== (message ?? "")) text.textContent = message ?? ""
    remedy.textContent = button
    remedy.onclick = () => act().catch((error: Error) => say(of, error.message, button, act))
  }

  function leave(): void {
    if (session === undefined) return
    composing = false
    session.left = typed(session)
    void write(session)
    session = undefined
  }

  for (const input of [title, body]) {
    input.addEventListener("compositionstart", () => {
      composing = true
    })
    input.addEventListener("compositionend", () => {
      composing = false
      if (session !== undefined) void write(session)
    })
    input.addEventListener("input", () => {
      if (session !== undefined) void write(session)
    })
  }
  window.addEventListener("beforeunload", (event) => {
    if (unsaved.size > 0) event.preventDefault()
  })
  title.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return
    event.preventDefault()
    body.focus()
  })
  notes.subscribe((_, delta) => {
    const ids = new Set([...delta.added, ...delta.changed, ...delta.removed])
    if (session && ids.has(session.id)) void refresh(session)
    // if the note was deleted meanwhile, this write fails, and the text is reported as not saved
    for (const other of unsaved) if (other.waits && other !== session && ids.has(other.id)) void write(other)
  })

  return {
    get id() {
      return session?.id
    },
    create(id) {
      opening = undefined
      show({ id, base: { title: "", body: "" }, exists: false })
    },
    async open(id) {
      opening = id
      if (session?.id === id) return
      const left = [...unsaved].find((one) => one.id === id)
      if (left !== undefined) return show(left)
      const row = notes.get(id)
      const whole = row === undefined || row.$long !== undefined ? await notes.read(id) : row
      if (opening !== id || whole === undefined) return
      show({ id, base: shown(whole), exists: true })
      // Reading the note loads WebAssembly and the document, so that the first key does not wait for them.
      if (whole === row) void notes.read(id).catch(() => {})
    },
    written: (id) => [...unsaved].find((one) => one.id === id)?.writing,
    get waits() {
      return [...unsaved].some((one) => one.waits)
    },
    retry,
    close() {
      opening = undefined
      leave()
      section.hidden = true
      onChange(undefined)
    },
  }
}
