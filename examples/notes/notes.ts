import { type Collection, collection, type RowOf, shape, text } from "headwater"

/** The fields that the page reads. A note may have others: every key of a file's front matter becomes a field. */
export interface Note {
  title: string
  body: string
  tags?: string[]
  /** Path of the file that the note was imported from; an export writes to it again. Its characters are in NFC. */
  file?: string
  /**
   * SHA-256 of that file in hexadecimal, if the file named no id. Importing the same path and bytes again finds this
   * note by it, whatever was edited here since.
   */
  fileHash?: string
  /** The front matter as that file has it, if an export would write it differently without it. */
  fileFront?: string
  /** When the note was written, by the file's front matter. The page removes it with the first edit. */
  fileDate?: string
  /**
   * While a long file is being imported, and after that was interrupted: which file, and how much of its body is here.
   */
  filePart?: FilePart
}

export interface FilePart {
  /** SHA-256 of the file in hexadecimal. */
  hash: string
  /** UTF-16 units. */
  length: number
}

export const notes = collection("notes", shape<Note>(), { fields: { body: text() } })

export type Row = RowOf<typeof notes>
export type Notes = typeof notes extends { schema: infer S; fields: infer F; defaults: infer D }
  ? Collection<S, F, D>
  : never

/** A note's own fields: its row without `id` and the `$` metadata. */
export function fieldsOf(row: object): { title: string; body: string } & Record<string, unknown> {
  const own = Object.entries(row).filter(([key]) => key !== "id" && !key.startsWith("$"))
  return { title: "", body: "", ...Object.fromEntries(own) }
}
