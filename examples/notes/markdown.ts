import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import { fileName } from "./file-name.ts"
import { readFront, sorted, writeFront } from "./front-matter.ts"

/**
 * The fields of a note, as a Markdown file with YAML front matter (YAML 1.2, core schema) holds them. The front matter
 * has `id`, `title` and every other field. Because of the `id`, importing the file again updates the same note. The
 * body is kept as it is, except that CR LF becomes LF.
 */
export interface NoteFields {
  readonly title: string
  readonly body: string
  readonly [field: string]: unknown
}

/** Thrown when a file cannot be imported. The message tells a person the reason, and is shown after the file's name. */
export class FileProblem extends Error {}

/** The most bytes that a file may have. */
export const MAX_FILE = 1_000_000

/** The most UTF-16 units of front matter that are read: crafted front matter that is longer would freeze the page. */
export const MAX_FRONT = 65_536

const FENCE = "---\n"
const OPEN = /^---[ \t]*\n/
const CLOSE = /^(?:---|\.\.\.)[ \t]*(?:\n|$)/m

export interface ParsedNote {
  readonly id: string | undefined
  readonly fields: NoteFields
  /** The front matter as the file has it; undefined if an export writes the same text without it. */
  readonly front: string | undefined
  /** Differences between file and note that the file's author may not expect. */
  readonly remarks: readonly string[]
}

export function parseNote(file: string, bytes: Uint8Array): ParsedNote {
  const text = decode(bytes)
  const { front, body, why } = split(text)
  const read = front === undefined ? undefined : readFront(front)
  if (front === undefined || read === undefined) {
    const remarks = OPEN.test(text) ? [`its first line is ---, but ${why}, so all of it is the note's body`] : []
    return { id: undefined, fields: { title: titleOf(file, text), body: text }, front: undefined, remarks }
  }
  const { id, remarks } = read
  const title = String(read.fields.get("title") ?? titleOf(file, body))
  const fields = { ...Object.fromEntries(read.fields), title, body }
  const isPlain = read.pieces.length === 0 || frontOf(id, inOrder(fields)) === front
  return { id, fields, front: isPlain ? undefined : front, remarks }
}

export function formatNote(id: string, note: NoteFields): string {
  return FENCE + frontOf(id, note) + FENCE + note.body
}

function frontOf(id: string | undefined, note: NoteFields): string {
  const { title, body: _, file: _1, fileHash: _2, fileFront, fileDate: _3, filePart: _4, ...others } = note
  const own = [...(id === undefined ? [] : [["id", id] as const]), ["title", title] as const]
  return writeFront(new Map([...own, ...Object.entries(others)]), typeof fileFront === "string" ? fileFront : undefined)
}

/** Returns the fields as the note's row will have them: keys sorted at every depth. */
const inOrder = (fields: NoteFields): NoteFields => JSON.parse(JSON.stringify(fields, sorted))

/**
 * Yields the paths to which a note may be exported, the best first: the path that it was imported from, else a path
 * made from its title. The extension of a file that can be imported is kept. Otherwise the export would write a second
 * file, and each import of both would make a second note.
 */
export function* pathsOf(fields: { readonly title?: unknown; readonly file?: unknown }): Generator<string> {
  const { file, title } = fields
  const isFile = typeof file === "string"
  const [extension = ".md"] = (isFile && /\.(?:md|markdown|txt)$/i.exec(file)) || []
  const wished = isFile ? file.replace(/\.(?:md|markdown|txt)$/i, "").split("/") : [String(title ?? "")]
  const base =
    wished
      .map((name) => fileName(name, isFile))
      .filter((name) => name !== "")
      .join("/") || "untitled"
  yield base + extension
  for (let n = 2; ; n++) yield `${base} ${n}${extension}`
}

/** Whether the file is this note's own: it has the note's id, or it is the imported file, unchanged. */
export async function isFileOf(file: Blob, id: string, fileHash: unknown): Promise<boolean> {
  if (idOf(await file.slice(0, 4 * MAX_FRONT).text()) === id) return true
  if (typeof fileHash !== "string" || file.size > MAX_FILE) return false
  return hashOf(new Uint8Array(await file.arrayBuffer())) === fileHash
}

/** Returns the hash of a file's bytes. A file without an id is recognized by its path and this hash. */
export const hashOf = (bytes: Uint8Array) => bytesToHex(sha256(bytes))

function idOf(text: string): string | undefined {
  const { front } = split(text.replaceAll("\r\n", "\n"))
  return front === undefined ? undefined : readFront(front)?.id
}

function decode(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new FileProblem("it is empty")
  if (bytes.length > MAX_FILE) {
    throw new FileProblem(`it is ${(bytes.length / 1e6).toFixed(1)} MB long; split it into files of at most 1 MB`)
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replaceAll("\r\n", "\n")
  } catch {
    throw new FileProblem("it is not UTF-8 text; save it as UTF-8 and import it again")
  }
}

/** Divides a file into front matter and body. `why` is the reason why it may have no front matter. */
function split(text: string): { front?: string; body: string; why: string } {
  const why = "no front matter follows" // a first line of --- may also be a rule above prose
  const from = OPEN.exec(text)?.[0].length
  const close = from === undefined ? null : CLOSE.exec(text.slice(from))
  if (from === undefined || close === null) return { body: text, why }
  if (close.index > MAX_FRONT) return { body: text, why: "its front matter is longer than 64 KiB" }
  const front = text.slice(from, from + close.index)
  return { front, body: text.slice(from + close.index + close[0].length), why }
}

/**
 * Returns the first heading, else the file's name. No regular expression in this function backtracks, because lines may
 * be long.
 */
function titleOf(file: string, body: string): string {
  for (const line of body.split(/[\n\r]/)) {
    if (!/^#[ \t]/.test(line)) continue
    const text = line.slice(1).trim()
    let end = text.length
    while (text[end - 1] === "#") end--
    // a closing # has a space before it: the heading of `# C#` is C#
    const closed = end === 0 || /\s/.test(text.charAt(end - 1))
    const heading = closed ? text.slice(0, end).trimEnd() : text
    if (heading !== "") return heading
  }
  return (file.split("/").at(-1) ?? file).replace(/\.[^.]+$/, "")
}
