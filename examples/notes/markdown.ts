import { isMap, parseDocument, stringify } from "yaml"

/**
 * A note as a Markdown file with YAML front matter (YAML 1.2, core schema): `title` and every other field stand in front,
 * `id` too, so that a file that comes back is the same note. The body is kept as it is, but for CR LF, which becomes LF.
 */
export interface NoteFields {
  readonly title: string
  readonly body: string
  readonly [field: string]: unknown
}

/** A file that is no note; the message says why, to a person. */
export class FileProblem extends Error {}

/** Longer files are no notes. Bytes. */
export const MAX_FILE = 1_000_000

const FENCE = "---\n"
/** Of the note itself, never of its front matter. */
const reserved = new Set(["body", "file"])

export function parseNote(file: string, bytes: Uint8Array): { id: string | undefined; fields: NoteFields } {
  const text = decode(bytes)
  const { front, body } = split(text)
  const { id, ...fields } = parseFront(front)
  if (id !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(String(id))) {
    throw new FileProblem("the id in its front matter is not 1 to 64 letters, digits, - and _")
  }
  const title =
    fields["title"] === undefined || fields["title"] === null ? titleOf(file, body) : String(fields["title"])
  return { id: id === undefined ? undefined : String(id), fields: { ...fields, title, body } }
}

export function formatNote(id: string, { title, body, ...rest }: NoteFields): string {
  const { file: _, ...fields } = rest
  return FENCE + stringify({ id, title, ...fields }, { lineWidth: 0 }) + FENCE + body
}

/** The path a note is exported to: where it came from, else its title; `taken` (lower-case) keeps paths apart. */
export function pathOf(fields: { readonly title?: unknown; readonly file?: unknown }, taken: Set<string>): string {
  const wished =
    typeof fields.file === "string" ? fields.file.replace(/\.(md|markdown)$/i, "") : String(fields.title ?? "")
  // titles and paths come from other people: no way out of the folder, no names that a disk refuses
  const segments = (typeof fields.file === "string" ? wished.split("/") : [wished])
    .map((s) =>
      s
        .replace(/[\\/:*?"<>|\p{Cc}]/gu, "-")
        .replace(/^[.\s]+|[.\s]+$/g, "")
        .slice(0, 80)
        .trim(),
    )
    .filter((s) => s !== "")
  const base = segments.join("/") || "untitled"
  let path = `${base}.md`
  for (let n = 2; taken.has(path.toLowerCase()); n++) path = `${base} ${n}.md`
  taken.add(path.toLowerCase())
  return path
}

function decode(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new FileProblem("it is empty")
  if (bytes.length > MAX_FILE)
    throw new FileProblem(`it is ${(bytes.length / 1e6).toFixed(1)} MB long; the limit is 1 MB`)
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replaceAll("\r\n", "\n")
  } catch {
    throw new FileProblem("it is not UTF-8")
  }
}

function split(text: string): { front: string; body: string } {
  if (!text.startsWith(FENCE)) return { front: "", body: text }
  const end = /^---[ \t]*(?:\n|$)/m.exec(text.slice(FENCE.length))
  if (end === null) throw new FileProblem("its front matter has no closing ---")
  const from = FENCE.length + end.index
  return { front: text.slice(FENCE.length, from), body: text.slice(from + end[0].length) }
}

function parseFront(front: string): Record<string, unknown> {
  const document = parseDocument(front, { schema: "core", version: "1.2" })
  const [error] = document.errors
  if (error !== undefined) throw new FileProblem(`its front matter is broken: ${error.message.split("\n")[0]}`)
  if (document.contents === null) return {}
  if (!isMap(document.contents)) throw new FileProblem("its front matter is not a list of `key: value`")
  const fields = toJson(document.toJS.bind(document))
  for (const key of Object.keys(fields)) {
    if (reserved.has(key) || /^[$@]/.test(key)) throw new FileProblem(`\`${key}\` cannot be a key of its front matter`)
  }
  return fields
}

function toJson(read: () => Record<string, unknown>): Record<string, unknown> {
  try {
    return read()
  } catch (error) {
    throw new FileProblem(`its front matter is broken: ${(error as Error).message}`)
  }
}

function titleOf(file: string, body: string): string {
  const heading = /^#[ \t]+(.+?)[ \t]*#*$/m.exec(body)?.[1]
  return heading ?? (file.split("/").at(-1) ?? file).replace(/\.[^.]+$/, "")
}
