import { HeadwaterError } from "headwater"
import { dateIn } from "./dates.ts"
import { equal } from "./front-matter.ts"
import { FileProblem, formatNote, hashOf, type NoteFields, parseNote } from "./markdown.ts"
import { type FilePart, fieldsOf, type Notes, type Row } from "./notes.ts"
import { difference, firstPart, PART, wholePairs } from "./splice.ts"

export interface FileToImport {
  /** The file's name with its folders, separated by "/". */
  readonly path: string
  bytes(): Promise<Uint8Array>
}

export interface ImportReport {
  created: number
  updated: number
  unchanged: number
  readonly problems: { readonly path: string; readonly why: string }[]
  /** Differences between file and note that the author of an imported file may not expect. */
  readonly remarks: { readonly path: string; readonly what: string }[]
}

/**
 * Number of files that are imported at a time. Their writes share a disk flush, so a thousand files do not need a
 * thousand flushes.
 */
const TOGETHER = 50

/**
 * Creates or updates a note for every file.
 *
 * If a note has the file's id, the file becomes the content of that note. Only the difference is written, so concurrent
 * edits merge. A file without an id is recognized by its path and its bytes: importing it again changes nothing, and
 * edits made here stay. The path alone does not identify a file, because two folders may have a README.md each: a file
 * with the same path and other bytes becomes a second note. But if the import of a note was interrupted, its file
 * completes the note, even if the file was changed or moved since. The report names each file that cannot be imported;
 * the others are imported.
 */
export async function importNotes(
  notes: Notes,
  files: readonly FileToImport[],
  progress: (done: number) => void = () => {},
): Promise<ImportReport> {
  const report: ImportReport = { created: 0, updated: 0, unchanged: 0, problems: [], remarks: [] }
  const run: Run = { notes, report, claimed: new Map(), here: notesHere(notes), given: new Map() }
  for (const path of files.map(pathOf)) run.given.set(path, (run.given.get(path) ?? 0) + 1)
  for (let i = 0; i < files.length; i += TOGETHER) {
    await Promise.all(files.slice(i, i + TOGETHER).map((file) => importOne(run, file)))
    progress(Math.min(i + TOGETHER, files.length))
  }
  return report
}

interface Run {
  readonly notes: Notes
  readonly report: ImportReport
  /** For each id, the path of the file that has it. */
  readonly claimed: Map<string, string>
  /** The notes that were here before the import. */
  readonly here: Here
  /** For each path, the number of files that have it: files of several folders may be dropped at once. */
  readonly given: Map<string, number>
}

/** The content that a note gets from a file. */
interface Source {
  readonly note: NoteFields
  /** SHA-256 of the file. */
  readonly hash: string
  /** Fields that are written with the last part of the body. */
  readonly mark: { readonly file: string; readonly fileHash?: string }
}

const pathOf = (file: FileToImport) => file.path.normalize("NFC")

async function importOne(run: Run, file: FileToImport): Promise<void> {
  const { report, claimed, here } = run
  try {
    const bytes = await file.bytes()
    const { id, fields, front, remarks } = parseNote(file.path, bytes)
    const path = pathOf(file)
    const fileDate = dateIn(fields)
    const origin = { file: path, ...(front !== undefined && { fileFront: front }), ...(fileDate && { fileDate }) }
    const hash = hashOf(bytes)
    const mark = { file: path, ...(id === undefined && { fileHash: hash }) }
    const source: Source = { note: { ...fields, ...origin }, hash, mark }
    if (id !== undefined && claimed.has(id)) {
      throw new FileProblem(`its id is also in ${claimed.get(id)}; give one of the two files another id`)
    }
    if (id !== undefined) claimed.set(id, file.path)
    const done = id === undefined ? await writeFile(run, source) : await writeNote(run.notes, id, source)
    if (done === "unchanged") return void report.unchanged++
    report[done === "completed" ? "updated" : done]++
    for (const what of remarks) report.remarks.push({ path: file.path, what })
    const isSecond = id === undefined && done === "created" && here.from.has(path)
    if (isSecond) report.remarks.push({ path: file.path, what: SECOND })
    if (done === "completed") report.remarks.push({ path: file.path, what: COMPLETED })
  } catch (error) {
    report.problems.push({ path: file.path, why: reason(error) })
  }
}

const SECOND = "a note from another file of this path exists; this is a second note"
const COMPLETED = "its last import was interrupted; the note is complete now"

type Done = "created" | "updated" | "completed" | "unchanged"

/**
 * Imports a file without an id, into the note that came from the same path and bytes, or into an incomplete note, or
 * into a new one.
 */
async function writeFile(run: Run, source: Source): Promise<Done> {
  const { notes, here } = run
  const { note, hash, mark } = source
  for (const id of here.from.get(mark.file) ?? []) {
    const row = notes.get(id)
    if (row === undefined || row.filePart !== undefined) continue
    if (row.fileHash === hash) return "unchanged"
    const whole = await notes.read(id)
    if (whole !== undefined && holds(whole, note)) return "unchanged"
  }
  const incomplete = incompleteOf(run, source)
  if (incomplete === undefined) {
    await create(notes, source)
    return "created"
  }
  await finish(notes, incomplete, source)
  return "completed"
}

/**
 * Returns the incomplete note that this file completes; undefined when there is none. The first choice is the note from
 * the same path and bytes. The second is a note with the same bytes whose path none of the given files has, because the
 * file was moved. The third is a note from the same path, if only one of the given files has that path, because the
 * file was changed.
 */
function incompleteOf({ notes, here, given }: Run, { hash, mark }: Source): string | undefined {
  const rows = here.incomplete.map((id) => notes.get(id)).filter((row) => row?.filePart !== undefined)
  const isSame = (row: Row | undefined) => row?.filePart?.hash === hash
  const ofPath = rows.filter((row) => row?.file?.normalize("NFC") === mark.file)
  const changed = given.get(mark.file) === 1 ? ofPath[0] : undefined
  const moved = rows.find((row) => isSame(row) && !given.has(row?.file?.normalize("NFC") ?? ""))
  return (ofPath.find(isSame) ?? moved ?? changed)?.id
}

/** Imports a file with an id: afterwards the note of that id has the file's content. */
async function writeNote(notes: Notes, id: string, source: Source): Promise<Done> {
  const existing = await notes.read(id)
  if (existing === undefined) {
    await create(notes, source, { id })
    return "created"
  }
  const isDeleted = existing.$deletedAt !== undefined
  const isIncomplete = existing.filePart !== undefined
  if (!isDeleted && !isIncomplete && holds(existing, source.note, id)) return "unchanged"
  if (isDeleted) await notes.restore(id)
  await (isIncomplete ? finish(notes, id, source) : rewrite(notes, id, source))
  return isIncomplete ? "completed" : "updated"
}

/**
 * Creates a note. A body that is too long for one change is written in several; until the last of them, `filePart` says
 * that the note is not complete.
 */
async function create(notes: Notes, source: Source, options: { readonly id?: string } = {}): Promise<void> {
  const { note, hash, mark } = source
  const body = note.body.slice(0, wholePairs(note.body, PART))
  const isWhole = body === note.body
  const filePart: FilePart = { hash, length: body.length }
  const created = await notes.create({ ...note, body, ...(isWhole ? mark : { filePart }) }, options)
  if (!isWhole) await complete(notes, created.id, source)
}

/** Makes an incomplete note complete. */
async function finish(notes: Notes, id: string, source: Source): Promise<void> {
  const part = notes.get(id)?.filePart
  const isBegun = part?.hash === source.hash && part.length > 0
  await (isBegun ? complete(notes, id, source) : rewrite(notes, id, source))
}

/** Appends to an incomplete note the rest of its file. Text that was written into the note meanwhile stays. */
async function complete(notes: Notes, id: string, { note, mark }: Source): Promise<void> {
  const { body } = note
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

/**
 * Gives the note the file's content. If the difference of the bodies is too large for one change, it is written in
 * several.
 */
async function rewrite(notes: Notes, id: string, { note, hash, mark }: Source): Promise<void> {
  const { body, ...fields } = note
  for (let isWhole = false; !isWhole; ) {
    await notes.update(id, (draft, edit) => {
      const change = difference(draft.body, body)
      const part = change && firstPart(change, draft.body)
      isWhole = part === change
      for (const key of Object.keys(draft)) {
        if (key !== "body" && !Object.hasOwn(fields, key)) delete (draft as Record<string, unknown>)[key]
      }
      Object.assign(draft, fields, isWhole ? mark : { filePart: { hash, length: 0 } })
      if (part !== undefined) edit.splice("body", part.at, part.remove, part.insert)
    })
  }
}

interface Here {
  /** The notes' ids by the path of their file, in NFC. */
  readonly from: ReadonlyMap<string, readonly string[]>
  /** The ids of the notes whose import was interrupted. */
  readonly incomplete: readonly string[]
}

function notesHere(notes: Notes): Here {
  const from = new Map<string, string[]>()
  const incomplete: string[] = []
  for (const { id, file, filePart } of notes.all()) {
    if (filePart !== undefined) incomplete.push(id)
    if (typeof file !== "string") continue
    const path = file.normalize("NFC")
    const ids = from.get(path)
    if (ids === undefined) from.set(path, [id])
    else ids.push(id)
  }
  return { from, incomplete }
}

/**
 * Whether the file has the same fields as the note. With `id`: also whether the file equals what an export of the note
 * would write.
 */
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
