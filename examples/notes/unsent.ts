import type { Notes } from "./notes.ts"

/**
 * Counts the notes with unsent changes. Returns a function that takes the number of unsent changes and returns the
 * number of notes, or undefined when there are unsent changes but none of their notes is known.
 * `onChange` is called when the number of notes has changed without a change of the workspace's status.
 */
export function countUnsent(notes: Notes, onChange = () => {}): (changes: number) => number | undefined {
  const unsent = new Set(notes.all().flatMap((row) => (row.$pending ? [row.id] : [])))
  /**
   * Notes that were deleted here, the oldest deletion first. `notes` has no row of a deleted note, so no row says
   * whether the deletion was sent.
   */
  const deleted = new Set<string>()
  let isLooking = false
  let looksAgain = false

  /** Drops the deletions that were sent. They are sent in order, so the search ends at the first unsent one. */
  async function look(): Promise<void> {
    looksAgain = true
    if (isLooking) return
    isLooking = true
    while (looksAgain) {
      looksAgain = false
      for (const id of deleted) {
        const isSent = await notes.read(id).then(
          (note) => note?.$pending !== true,
          () => false,
        )
        if (!isSent) break
        if (deleted.delete(id)) onChange()
      }
    }
    isLooking = false
  }

  notes.subscribe((_, { added, changed, removed, from }) => {
    if (deleted.size > 0) void look()
    for (const id of [...added, ...changed]) {
      deleted.delete(id)
      if (notes.get(id)?.$pending) unsent.add(id)
      else unsent.delete(id)
    }
    for (const id of removed) {
      unsent.delete(id)
      if (from === "here") deleted.add(id)
    }
  })

  let before = 0
  return (changes) => {
    if (changes === 0) deleted.clear()
    else if (changes < before && deleted.size > 0) void look()
    before = changes
    const count = unsent.size + Math.min(deleted.size, Math.max(0, changes - unsent.size))
    return count === 0 && changes > 0 ? undefined : Math.min(count, changes)
  }
}
