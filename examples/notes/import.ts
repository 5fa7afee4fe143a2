import { HeadwaterError } from "headwater"
import { FileProblem, hashOf, type NoteFields, parseNote } from "./markdown.ts"
import { fieldsOf, type Notes } from "./notes.ts"
import { difference, firstPart, PART, wholePairs } from "./splice.ts"

export interface FileToImport {
  /** With its folders, "/" between them. */
  readonly path: string
  bytes(): Promise<Uint8Array>
}

export interface ImportReport {
  created: number
  updated: number
  unchanged: number
  readonly problems: { readonly path: string; readonly why: string }[]
  /** Of files that were imported, but otherwise than their author may expect. */
  readonly remarks: { readonly path: string; readonly what: string }[]
}

/** Saved together, so that a thousand files do not cost a thousand flushes. */
const TOGETHER = 50

/**
 * Makes or updates a note for every file. A file with the id of a note becomes that note's content (what differs is
 * written, so concurrent edits merge). One without an id is known by its path and its bytes: while they are the same, what
 * was edited here stays as it is. A path alone says too little, two folders may have a README.md each: other bytes are a
 * note of their own. What cannot be imported is named in the report and stops nothing.
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
    const { id, fields, remarks } = parseNote(file.path, bytes)
    const note = { ...fields, file: file.path, ...(id === undefined && { fileHash: hashOf(bytes) }) }
    if (id !== undefined && claimed.has(id)) throw new FileProblem(`it has the same id as ${claimed.get(id)}`)
    if (id !== undefined) claimed.set(id, file.path)
    const sameFile = id === undefined ? (here.get(file.path) ?? []) : []
    const done = await write(notes, id, note, sameFile)
    report[done]++
    if (done === "unchanged") return
    const second = sameFile.length === 0 ? [] : ["another note came from this path, so this is a second one"]
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
    if (whole !== undefined && whole.$deletedAt === undefined && holds(whole, note)) return "unchanged"
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

/** A body that differs by more than one change holds is written in several. */
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
    if (file !== undefined) byFile.set(file, [...(byFile.get(file) ?? []), id])
  }
  return byFile
}

/** Whether the file has nothing that the note has not, or had once. */
function holds(whole: object, { fileHash, ...wanted }: NoteFields): boolean {
  const { fileHash: heldHash, ...held } = fieldsOf(whole)
  return (fileHash !== undefined && fileHash === heldHash) || equal(held, wanted)
}

/** JSON has no order of keys, and a field that is undefined is not there. */
function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, sorted) === JSON.stringify(b, sorted)
}

function sorted(_: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function reason(error: unknown): string {
  if (error instanceof FileProblem) return error.message
  if (error instanceof HeadwaterError) return `${error.message} (${error.code})`
  return `it could not be read: ${(error as Error).message}`
}
