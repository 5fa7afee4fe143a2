import { type Collection, collection, type RowOf, shape, text } from "headwater"

/** What the page itself reads; a note may carry any other front matter as fields of its own. */
export interface Note {
  title: string
  body: string
  tags?: string[]
  /** The path that the note was imported from, and goes back to. */
  file?: string
  /** SHA-256 of that file, if it named no id: the same file is this note again, whatever was written here since. */
  fileHash?: string
}

export const notes = collection("notes", shape<Note>(), { fields: { body: text() } })

export type Row = RowOf<typeof notes>
export type Notes = typeof notes extends { schema: infer S; fields: infer F; defaults: infer D }
  ? Collection<S, F, D>
  : never

/** A note's own fields: what is left of a row without its id and metadata. */
export function fieldsOf(row: object): { title: string; body: string } & Record<string, unknown> {
  const own = Object.entries(row).filter(([key]) => key !== "id" && !key.startsWith("$"))
  return { title: "", body: "", ...Object.fromEntries(own) }
}
