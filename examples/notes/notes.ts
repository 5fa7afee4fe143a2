import { type Collection, collection, type RowOf, shape, text } from "headwater"

/** The fields that the page reads. A note may have other fields: every key of a file's front matter becomes one. */
export interface Note {
  title: string
  body: string
  tags?: string[]
  /** Path of the file that the note was imported from, in NFC. An export writes to this path again. */
  file?: string
  /**
   * SHA-256 of that file in hexadecimal, if the file has no id. By this hash, importing the same path and bytes again
   * finds this note, even if the note was edited here since.
   */
  fileHash?: string
  /** The front matter of that file, if an export would otherwise write it differently. */
  fileFront?: string
  /**
   * When the note was last written, according to the file's front matter. The first edit in the page removes this
   * field.
   */
  fileDate?: string
  /**
   * Present while a long file is being imported, and after its import was interrupted: which file, and how much of its
   * body is in the note.
   */
  filePart?: FilePart
}

export interface FilePart {
  /** SHA-256 of the file, in hexadecimal. */
  hash: string
  /** UTF-16 units of the file's body that are in the note. */
  length: number
}

export const notes = collection("notes", shape<Note>(), { fields: { body: text() } })

export type Row = RowOf<typeof notes>
export type Notes = typeof notes extends { schema: infer S; fields: infer F; defaults: infer D }
  ? Collection<S, F, D>
  : never

/** Returns a note's own fields: its row without `id` and the `$` metadata. */
export function fieldsOf(row: object): { title: string; body: string } & Record<string, unknown> {
  const own = Object.entries(row).filter(([key]) => key !== "id" && !key.startsWith("$"))
  return { title: "", body: "", ...Object.fromEntries(own) }
}

/**
 * Returns a note's tags. Front matter may have them as a list, or as one text such as `home, work` or `#home #work`.
 */
export function tagsOf(row: Row): readonly string[] {
  const { tags } = row as { readonly tags?: unknown }
  if (Array.isArray(tags)) return tags.map(String)
  if (typeof tags !== "string") return []
  return tags
    .split(/[,\s]+/)
    .map((tag) => tag.replace(/^#/, ""))
    .filter(Boolean)
}
