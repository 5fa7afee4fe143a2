import { formatNote, pathOf } from "./markdown.ts"
import { fieldsOf, type Notes } from "./notes.ts"

export interface ExportedFile {
  readonly path: string
  readonly text: string
}

/** Every note as a Markdown file, at the path it came from or named by its title. */
export async function exportNotes(notes: Notes): Promise<ExportedFile[]> {
  const taken = new Set<string>()
  const files: ExportedFile[] = []
  for (const row of notes.all()) {
    // a long body is not in its row
    const whole = row.body === undefined ? await notes.read(row.id) : row
    if (whole === undefined) continue
    const fields = fieldsOf(whole)
    files.push({ path: pathOf(fields, taken), text: formatNote(row.id, fields) })
  }
  return files
}
