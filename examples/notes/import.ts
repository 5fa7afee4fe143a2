import { HeadwaterError } from "headwater"
import { dateIn } from "./dates.ts"
import { equal } from "./front-matter.ts"
import { FileProblem, formatNote, hashOf, type NoteFields, parseNote } from "./markdown.ts"
import { type FilePart, fieldsOf, type Notes } from "./notes.ts"
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
    const fileDate = dateIn(fields)
    const origin = { file: path, ...(front !== undefined && { fileFront: front }), ...(fileDate && { fileDate }) }
    const note = { ...fields, ...origin }
    const hash = hashOf(bytes)
    if (id !== undefined && claimed.has(id)) {
      throw new FileProblem(`its id is also in ${claimed.get(id)}; give one of the two files another id`)
    }
    if (id !== undefined) claimed.set(id, file.path)
    const sameFile = here.get(path) ?? []
    const done =
      id === undefined ? await writeFile(notes, note, hash, sameFile) : await writeNote(notes, id, note, hash)
    if (done === "unchanged") return void report.unchanged++
    report[done === "completed" ? "updated" : done]++
    for (const what of remarks) report.remarks.push({ path: file.path, what })
    const isSecond = id === undefined && done === "created" && sameFile.length > 0
    if (isSecond) report.remarks.push({ path: file.path, what: SECOND })
    if (done === "completed") report.remarks.push({ path: file.path, what: COMPLETED })
  } catch (error) {
    report.problems.push({ path: file.path, why: reason(error) })
  }
}

const SECOND = "a note from another file of this path exists; this is a second note"
const COMPLETED = "its last import was interrupted; the note is complete now"

type Done = "created" | "updated" | "completed" | "unchanged"

/** A file without an id: the note that came from the same path and bytes, or a new one. */
async function writeFile(notes: Notes, note: NoteFields, hash: string, sameFile: readonly string[]): Promise<Done> {
  for (const id of sameFile) {
    const row = notes.get(id)
    if (row?.filePart?.hash === hash) {
      await complete(notes, id, note.body, { fileHash: hash })
      return "completed"
    }
    if (row?.fileHash === hash) return "unchanged"
    const whole = row && (await notes.read(id))
    if (whole !== undefined && holds(whole, note)) return "unchanged"
  }
  await create(notes, note, hash, {}, { fileHash: hash })
  return "created"
}

/** A file with an id: the note of that id has its content afterwards. */
async function writeNote(notes: Notes, id: string, note: NoteFields, hash: string): Promise<Done> {
  const existing = await notes.read(id)
  if (existing === undefined) {
    await create(notes, note, hash, { id }, {})
    return "created"
  }
  const isDeleted = existing.$deletedAt !== undefined
  if (!isDeleted && existing.filePart === undefined && holds(existing, note, id)) return "unchanged"
  if (isDeleted) await notes.restore(id)
  const part = existing.filePart
  const isInterrupted = part?.hash === hash && part.length > 0
  if (isInterrupted) await complete(notes, id, note.body, {})
  else await rewrite(notes, id, note, hash)
  return isInterrupted ? "completed" : "updated"
}

/**
 * Creates a note. A body that one change cannot hold is written in several; until the last of them, `filePart` says
 * that the note is not complete. `mark` is written with the last.
 */
async function create(
  notes: Notes,
  note: NoteFields,
  hash: string,
  options: { readonly id?: string },
  mark: { readonly fileHash?: string },
): Promise<void> {
  const body = note.body.slice(0, wholePairs(note.body, PART))
  const isWhole = body === note.body
  const filePart: FilePart = { hash, length: body.length }
  const created = await notes.create({ ...note, body, ...(isWhole ? mark : { filePart }) }, options)
  if (!isWhole) await complete(notes, created.id, note.body, mark)
}

/** Appends to an incomplete note what it lacks of its file. What was written into it meanwhile stays. */
async function complete(notes: Notes, id: string, body: string, mark: { readonly fileHash?: string }): Promise<void> {
  for (let isWhole = false; !isWhole; ) {
    await notes.update(id, (draft, edit) => {
      const from = draft.filePart?.length ?? body.length
      const to = wholePairs(body, from + PART)
      edit.splice("body", draft.body.length, 0, body.slice(from, to))
      isWhole = to === body.length
      if (isWhole) delete draft.filePart
      else if (draft.filePart !== undefined) draft.filePart = { ...draft.filePart, length: to }
      if (isWhole) Object.assign(draft, mark)
    })
  }
}

/** Makes the note what the file says. A body that differs by more than one change can hold is written in several. */
async function rewrite(notes: Notes, id: string, { body, ...fields }: NoteFields, hash: string): Promise<void> {
  for (let isWhole = false; !isWhole; ) {
    await notes.update(id, (draft, edit) => {
      const change = difference(draft.body, body)
      const part = change && firstPart(change, draft.body)
      isWhole = part === change
      for (const key of Object.keys(draft)) {
        if (key !== "body" && !(key in fields)) delete (draft as Record<string, unknown>)[key]
      }
      Object.assign(draft, fields, !isWhole && { filePart: { hash, length: 0 } })
      if (part !== undefined) edit.splice("body", part.at, part.remove, part.insert)
    })
  }
}

/** The ids of the notes that came from each path, whose characters are in NFC. */
function notesByFile(notes: Notes): Map<string, string[]> {
  const byFile = new Map<string, string[]>()
  for (const { id, file } of notes.all()) {
    if (typeof file !== "string") continue
    const path = file.normalize("NFC")
    const ids = byFile.get(path)
    if (ids === undefined) byFile.set(path, [id])
    else ids.push(id)
  }
  return byFile
}

/** Whether the file says nothing else than the note, or is, with this id, what an export of the note would write. */
function holds(whole: object, wanted: NoteFields, id?: string): boolean {
  const held = fieldsOf(whole)
  const { fileHash: _, ...fields } = held
  if (equal(fields, wanted)) return true
  return id !== undefined && held["file"] === wanted["file"] && formatNote(id, held) === formatNote(id, wanted)
}

function reason(error: unknown): string {
  if (error instanceof FileProblem) return error.message
  if (error instanceof HeadwaterError) return `${error.message} (${error.code})`
  return `it could not be read: ${(error as Error).message}`
}
