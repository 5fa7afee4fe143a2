import type { HeadwaterError } from "headwater"
import { child, element } from "./dom.ts"
import type { Editor } from "./editor.ts"
import type { List } from "./list.ts"
import type { Notes } from "./notes.ts"
import { report } from "./report.ts"

export interface Deletions {
  remove(id: string): void
  /** Brings back the note that was deleted last, then the one before it, and so on. */
  undo(): void
}

/** Deletes notes, and offers to restore them until the message is dismissed. */
export function showDeletions(notes: Notes, editor: Editor, list: List, closeEditor: () => void): Deletions {
  const toast = element("toast", HTMLElement)
  const announced = element("announced", HTMLElement)
  /** Ids of deleted notes that can be brought back. The note that was deleted last is last. */
  let deleted: string[] = []
  const deleting = new Map<string, Promise<void>>()

  function remove(id: string): void {
    if (editor.id === id) closeEditor()
    const written = editor.written(id)
    const wasThere = notes.get(id) !== undefined
    if (!wasThere && written === undefined) return // nothing was typed into this new note, so nothing was stored
    show(withLast(id)) // offer the undo at once; an undo that follows immediately waits for `deleting`
    announced.textContent = "Note deleted. Press Alt U to bring it back."
    const done = Promise.resolve(written)
      .then(() => notes.delete(id))
      .catch((error: HeadwaterError) => {
        const isThere = notes.get(id) !== undefined
        // a deletion that reports a failure may have reached the disk: the note is gone, so keep the offer to undo
        if (isThere || !wasThere) forget(id)
        // a new note that could not be saved never existed, and the editor has reported the failure
        if (isThere) report("The note could not be deleted", [error.message])
      })
      .finally(() => deleting.delete(id))
    deleting.set(id, done)
  }

  function undo(): void {
    const id = deleted.at(-1)
    if (id === undefined) return
    const isFocused = toast.contains(document.activeElement)
    forget(id)
    Promise.resolve(deleting.get(id))
      .then(() => notes.restore(id))
      .then(
        () => {
          announced.textContent = "Note restored."
          if (isFocused) list.focus(id)
        },
        (error: HeadwaterError) => {
          const mayComeBack = notes.get(id) === undefined && error.code !== "ENTITY_NOT_FOUND"
          if (mayComeBack) show(withLast(id)) // so that the person can try again
          report("The note could not be restored", [error.message])
        },
      )
  }

  const withLast = (id: string) => [...deleted.filter((other) => other !== id), id]
  const forget = (id: string) => show(deleted.filter((other) => other !== id))

  /**
   * Shows or hides the message. No timer hides it, because people who use a keyboard or a screen reader need more time.
   */
  function show(ids: string[]): void {
    const isFocused = toast.contains(document.activeElement)
    deleted = ids
    toast.hidden = ids.length === 0
    child(toast, "span").textContent = ids.length === 1 ? "Note deleted" : `${ids.length} notes deleted`
    if (isFocused && toast.hidden) list.focus()
  }

  // a deleted note may come back by other means: the editor's button, another device
  notes.subscribe((_, { added }) => {
    for (const id of added) if (deleted.includes(id) && !deleting.has(id)) forget(id)
  })
  element("undo", HTMLElement).addEventListener("click", undo)
  element("dismiss", HTMLElement).addEventListener("click", () => show([]))
  return { remove, undo }
}
