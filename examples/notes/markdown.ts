import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import { type Document, isMap, parseDocument, stringify, visit } from "yaml"
import { fileName } from "./file-name.ts"

/**
 * A note as it is in a Markdown file with YAML front matter (YAML 1.2, core schema). The front matter holds `id`,
 * `title` and every other field; by the `id`, a file that is imported again becomes the same note. The body is kept as
 * it is, but for CR LF, which becomes LF.
 */
export interface NoteFields {
  readonly title: string
  readonly body: string
  readonly [field: string]: unknown
}

/** A file cannot be imported. The message tells a person why, and follows the file's name. */
export class FileProblem extends Error {}

/** Bytes that a file may have. */
export const MAX_FILE = 1_000_000

/** UTF-16 units of front matter that are read at most: longer, crafted front matter would freeze the page. */
export const MAX_FRONT = 65_536

const FENCE = "---\n"
const OPEN = /^---[ \t]*\n/
const CLOSE = /^(?:---|\.\.\.)[ \t]*(?:\n|$)/m
/** Names that a key of front matter cannot have as a field, because the note itself uses them. */
const reserved = /^(?:id|body|file|fileHash|__proto__|[$@].*)$/s

export interface ParsedNote {
  readonly id: string | undefined
  readonly fields: NoteFields
  /** What the file's author may not expect of the note. */
  readonly remarks: readonly string[]
}

export function parseNote(file: string, bytes: Uint8Array): ParsedNote {
  const text = decode(bytes)
  const remarks: string[] = []
  const { front, body } = split(text, remarks)
  if (front === undefined && OPEN.test(text)) {
    remarks.push("its first line is ---, but no front matter follows, so all of it is the note's body")
  }
  const { id, ...rest } = front ?? {}
  const usable = isId(id)
  const none = id === undefined || id === null || id === "" // templates leave an empty `id:`
  const fields = withoutReserved(usable || none ? rest : { id, ...rest }, remarks)
  const title =
    fields["title"] === undefined || fields["title"] === null ? titleOf(file, body) : String(fields["title"])
  return { id: usable ? String(id) : undefined, fields: { ...fields, title, body }, remarks }
}

export function formatNote(id: string, { title, body, ...rest }: NoteFields): string {
  const { file: _, fileHash: __, ...fields } = rest
  return FENCE + stringify({ id, title, ...fields }, { lineWidth: 0 }) + FENCE + body
}

/**
 * The paths that a note may be exported to, the best first: the path it was imported from, else one made of its title.
 */
export function* pathsOf(fields: { readonly title?: unknown; readonly file?: unknown }): Generator<string> {
  const { file, title } = fields
  const wished = typeof file === "string" ? file.replace(/\.(md|markdown)$/i, "").split("/") : [String(title ?? "")]
  const base =
    wished
      .map(fileName)
      .filter((name) => name !== "")
      .join("/") || "untitled"
  yield `${base}.md`
  for (let n = 2; ; n++) yield `${base} ${n}.md`
}

/** Whether the file is this note's own: it names the note's id, or it is the file that was imported, unchanged. */
export async function isFileOf(file: Blob, id: string, fileHash: unknown): Promise<boolean> {
  if (idOf(await file.slice(0, 4 * MAX_FRONT).text()) === id) return true
  if (typeof fileHash !== "string" || file.size > MAX_FILE) return false
  return hashOf(new Uint8Array(await file.arrayBuffer())) === fileHash
}

/** A file without an id is recognized by its path and this hash of its bytes. */
export const hashOf = (bytes: Uint8Array) => bytesToHex(sha256(bytes))

function idOf(text: string): string | undefined {
  try {
    const { id } = split(text.replaceAll("\r\n", "\n"), []).front ?? {}
    return isId(id) ? String(id) : undefined
  } catch {
    return undefined // broken or too long: not a file that was exported
  }
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

/**
 * Divides a file into front matter and body. Without front matter all of it is body: `---` may be a rule above prose.
 */
function split(text: string, remarks: string[]): { front: Record<string, unknown> | undefined; body: string } {
  const whole = { front: undefined, body: text }
  const from = OPEN.exec(text)?.[0].length
  if (from === undefined) return whole
  const close = CLOSE.exec(text.slice(from))
  if (close === null) return whole
  if (close.index > MAX_FRONT) throw new FileProblem("its front matter is too long; the limit is 64 KiB")
  const front = parseFront(text.slice(from, from + close.index), remarks)
  return front === undefined ? whole : { front, body: text.slice(from + close.index + close[0].length) }
}

/** The keys and values of front matter; undefined when it is not a list of `key: value`. */
function parseFront(front: string, remarks: string[]): Record<string, unknown> | undefined {
  if (front.trim() === "") return {}
  // with known tags, `!!set` and the like would become objects that JSON does not have
  const document = parseDocument(front, { schema: "core", version: "1.2", resolveKnownTags: false })
  if (!isMap(document.contents)) return undefined
  const [error] = document.errors
  if (error !== undefined) throw new FileProblem(`its front matter is broken: ${error.message.split("\n")[0]}`)
  try {
    keepSpelling(document)
    const lost = new Set(document.warnings.map(({ message }) => message.split(" at line ")[0]))
    for (const what of lost) remarks.push(`this of its front matter is not kept: ${what}`)
    return document.toJS() as Record<string, unknown>
  } catch (error) {
    throw new FileProblem(`its front matter is broken: ${(error as Error).message}`)
  }
}

/**
 * Keeps as text a number that would be written differently than it is here (1.10, 00123, 0x1F): most are not numbers.
 */
function keepSpelling(document: Document): void {
  visit(document, {
    Scalar(_, scalar) {
      const { value, source } = scalar
      if (typeof value === "number" && source !== undefined && JSON.stringify(value) !== source) scalar.value = source
    },
  })
}

const isId = (value: unknown) =>
  (typeof value === "string" || typeof value === "number") && /^[A-Za-z0-9_-]{1,64}$/.test(String(value))

/**
 * Gives keys that cannot be field names another name, so that no file is refused for what another program wrote there.
 */
function withoutReserved(given: Record<string, unknown>, remarks: string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given)) {
    // a template may leave what is not text, such as `title: {{title}}`
    const noTitle = key === "title" && typeof value === "object" && value !== null
    let name = noTitle ? "original-title" : key
    while (reserved.test(name) || (name !== key && Object.hasOwn(given, name))) name = `original-${name}`
    if (name !== key) remarks.push(`\`${key}\` of its front matter became the field \`${name}\``)
    fields[name] = value
  }
  return fields
}

/** The first heading, else the file's name. No regular expression in here backtracks: lines may be long. */
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
