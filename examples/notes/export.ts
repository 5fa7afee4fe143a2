import { formatNote, isFileOf, pathsOf } from "./markdown.ts"
import { fieldsOf, type Notes } from "./notes.ts"

/** Where an export goes: a folder, or an archive. */
export interface Target {
  /** The file that is there already. */
  read(path: string): Promise<Blob | undefined>
  write(path: string, text: string): Promise<void>
}

export interface ExportReport {
  exported: number
  /** What was not exported, and stopped nothing else. */
  readonly problems: { readonly path: string; readonly why: string }[]
}

/**
 * Every note as a Markdown file, at the path it came from or named by its title. What is there stays: only a note's own
 * file is written again, so a second export changes the same files.
 */
export async function exportNotes(notes: Notes, target: Target): Promise<ExportReport> {
  const report: ExportReport = { exported: 0, problems: [] }
  const taken = new Set<string>() // some disks know no case
  for (const row of notes.all()) {
    let path = row.title
    try {
      // a long body is not in its row
      const whole = row.body === undefined ? await notes.read(row.id) : row
      if (whole === undefined) continue
      const fields = fieldsOf(whole)
      for (path of pathsOf(fields)) {
        if (taken.has(path.toLowerCase())) continue
        const there = await target.read(path)
        if (there === undefined || (await isFileOf(there, row.id, fields["fileHash"]))) break
      }
      taken.add(path.toLowerCase())
      await target.write(path, formatNote(row.id, fields))
      report.exported++
    } catch (error) {
      report.problems.push({ path, why: (error as Error).message })
    }
  }
  return report
}
