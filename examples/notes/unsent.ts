import type { Notes } from "./notes.ts"

/**
 * Counts the notes that the relay does not have as they are here. The function that it returns is given the number of unsent
 * changes, and returns undefined when there are some, but of notes that it does not know.
 */
export function countUnsent(notes: Notes): (changes: number) => number | undefined {
  const unsent = new Set(notes.all().flatMap((row) => (row.$pending ? [row.id] : [])))
  /** Notes that were deleted here: they have no row that says whether the deletion was sent. */
  const deleted = new Set<string>()
  notes.subscribe((_, { added, changed, removed, from }) => {
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
  return (changes) => {
    if (changes === 0) deleted.clear()
    const count = unsent.size + Math.min(deleted.size, Math.max(0, changes - unsent.size))
    return count === 0 && changes > 0 ? undefined : Math.min(count, changes)
  }
}
