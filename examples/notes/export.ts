import { pathKey, spellingsOf } from "./file-name.ts"
import { formatNote, isFileOf, type NoteFields, pathsOf } from "./markdown.ts"
import { fieldsOf, type Notes } from "./notes.ts"

/** The target of an export: a folder, or an archive. */
export interface Target {
  /** Returns the file that is at this path now; undefined when there is none. */
  read(path: string): Promise<Blob | undefined>
  write(path: string, text: string): Promise<void>
}

export interface ExportReport {
  exported: number
  /** Notes that could not be exported. All others were exported. */
  readonly problems: { readonly path: string; readonly why: string }[]
}

/**
 * Writes every note as a Markdown file, to the path that it was imported from, else to a path made from its title. An
 * existing file is overwritten only if it is the note's own: a second export writes the same files again, and no other
 * file is lost.
 */
export async function exportNotes(notes: Notes, target: Target): Promise<ExportReport> {
  const report: ExportReport = { exported: 0, problems: [] }
  const taken = new Set<string>()
  for (const row of notes.all()) {
    let path = row.title
    try {
      // a row leaves out long fields
      const whole = row.$long === undefined ? row : await notes.read(row.id)
      if (whole === undefined) continue
      const fields = fieldsOf(whole)
      path = pathsOf(fields).next().value as string
      if (fields["filePart"] !== undefined) {
        throw new Error("its import was interrupted; import the file again, then export")
      }
      path = await pathFor(row.id, fields, target, taken)
      taken.add(pathKey(path))
      await target.write(path, formatNote(row.id, fields))
      report.exported++
    } catch (error) {
      report.problems.push({ path, why: (error as Error).message })
    }
  }
  return report
}

/**
 * Returns the first of a note's possible paths that is free: no other note of this export has the path, and no file
 * except the note's own is there. Spellings of a path count as one path.
 */
async function pathFor(id: string, fields: NoteFields, target: Target, taken: ReadonlySet<string>): Promise<string> {
  for (const path of pathsOf(fields)) {
    if (taken.has(pathKey(path))) continue
    let own: string | undefined
    let isFree = true
    for (const spelling of spellingsOf(path)) {
      const there = await target.read(spelling)
      if (there === undefined) continue
      if (await isFileOf(there, id, fields["fileHash"])) own ??= spelling
      else isFree = false
    }
    if (own !== undefined || isFree) return own ?? path
  }
  throw new Error("there is no path for it")
}
