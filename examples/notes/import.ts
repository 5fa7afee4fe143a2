import { HeadwaterError } from "headwater"
import { equal } from "./front-matter.ts"
import { FileProblem, formatNote, hashOf, type NoteFields, parseNote } from "./markdown.ts"
import { fieldsOf, type Notes } from "./notes.ts"
import { difference, firstPart, PART, wholePairs } from "./splice.ts"

export interface FileToImport {
  /** File name with its folders, separated by "/". */
  readonly path: string
  bytes(): Promise<Uint8Array>
}

export interface ImportReport {
  created: number
  updated: number
  unchanged: number
  readonly problems: { readonly path: string; readonly why: string }[]
  /** What the author of an imported file may not expect of the note. */
  readonly remarks: { readonly path: string; readonly what: string }[]
}

/** Files that are imported at a time: their writes share a disk flush, so a thousand files do not cost a thousand. */
const TOGETHER = 50

/**
 * Creates or updates a note for every file.
 *
 * A file with the id of a note becomes that note's content. Only the difference is written, so concurrent edits merge.
 * A file without an id is recognized by its path and its bytes: importing it again changes nothing, and what was edited
 * here stays. The path alone does not identify a file, for two folders may have a README.md each: a file of the same
 * path with other bytes becomes a second note. A file that cannot be imported is named in the report; the others are
 * imported.
 */
export async function importNotes(
  notes: Notes,
  files: readonly FileToImport[],
  progress: (done: number) => void = () => {},
): Promise<ImportReport> {
  const report: ImportReport = { created: 0, updated: 0, unchanged: 0, problems: [], remarks: [] }
  const claimed = new Map<string, string>()
  const here = notesByFile(notes)
  for (let i = 0; i < files.length; i += TOGETHER) {
    await Promise.all(files.slice(i, i + TOGETHER).map((file) => importOne(notes, file, claimed, here, report)))
    progress(Math.min(i + TOGETHER, files.length))
  }
  return report
}

async function importOne(
  notes: Notes,
  file: FileToImport,
  claimed: Map<string, string>,
  here: ReadonlyMap<string, readonly string[]>,
  report: ImportReport,
): Promise<void> {
  try {
    const bytes = await file.bytes()
    const { id, fields, front, remarks } = parseNote(file.path, bytes)
    const path = file.path.normalize("NFC")
    const origin = { file: path, ...(front !== undefined && { fileFront: front }) }
    const note = { ...fields, ...origin, ...(id === undefined && { fileHash: hashOf(bytes) }) }
    if (id !== undefined && claimed.has(id)) {
      throw new FileProblem(`its id is also in ${claimed.get(id)}; give one of the two files another id`)
    }
    if (id !== undefined) claimed.set(id, file.path)
    const sameFile = id === undefined ? (here.get(path) ?? []) : []
    const done = await write(notes, id, note, sameFile)
    report[done]++
    if (done === "unchanged") return
    const second = sameFile.length === 0 ? [] : ["a note from another file of this path exists; this is a second note"]
    for (const what of [...remarks, ...second]) report.remarks.push({ path: file.path, what })
  } catch (error) {
    report.problems.push({ path: file.path, why: reason(error) })
  }
}

async function write(
  notes: Notes,
  id: string | undefined,
  note: NoteFields,
  sameFile: readonly string[],
): Promise<"created" | "updated" | "unchanged"> {
  for (const candidate of id === undefined ? sameFile : [id]) {
    const whole = await notes.read(candidate)
    if (whole !== undefined && whole.$deletedAt === undefined && holds(whole, note, id)) return "unchanged"
  }
  const existing = id === undefined ? undefined : await notes.read(id)
  if (id === undefined || existing === undefined) {
    const start = note.body.slice(0, wholePairs(note.body, PART))
    const created = await notes.create({ ...note, body: start }, id === undefined ? {} : { id })
    if (start !== note.body) await rewrite(notes, created.id, note)
    return "created"
  }
  if (existing.$deletedAt !== undefined) await notes.restore(id)
  await rewrite(notes, id, note)
  return "updated"
}

/** Makes the note what the file says. A body that differs by more than one change can hold is written in several. */
async function rewrite(notes: Notes, id: string, { body, ...fields }: NoteFields): Promise<void> {
  for (let done = false; !done; ) {
    await notes.update(id, (draft, edit) => {
      for (const key of Object.keys(draft)) {
        if (key !== "body" && !(key in fields)) delete (draft as Record<string, unknown>)[key]
      }
      Object.assign(draft, fields)
      const change = difference(draft.body, body)
      const part = change && firstPart(change, draft.body)
      if (part !== undefined) edit.splice("body", part.at, part.remove, part.insert)
      done = part === change
    })
  }
}

function notesByFile(notes: Notes): Map<string, string[]> {
  const byFile = new Map<string, string[]>()
  for (const { id, file } of notes.all()) {
    if (typeof file !== "string") continue
    const path = file.normalize("NFC")
    byFile.set(path, [...(byFile.get(path) ?? []), id])
  }
  return byFile
}

/** Whether importing the file would change nothing: it is the file that the note came from, or it equals the note. */
function holds(whole: object, wanted: NoteFields, id?: string): boolean {
  const held = fieldsOf(whole)
  const { fileHash: heldHash, ...fields } = held
  const { fileHash, ...others } = wanted
  if ((fileHash !== undefined && fileHash === heldHash) || equal(fields, others)) return true
  return id !== undefined && held["file"] === wanted["file"] && formatNote(id, held) === formatNote(id, wanted)
}

function reason(error: unknown): string {
  if (error instanceof FileProblem) return error.message
  if (error instanceof HeadwaterError) return `${error.message} (${error.code})`
  return `it could not be read: ${(error as Error).message}`
}
