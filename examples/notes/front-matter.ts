/**
 * Reads front matter as a note's fields, and writes fields as front matter. A note keeps the text of the front matter
 * that it was imported with, so that an export writes the same text again, with its order, comments and spelling. Only
 * the keys whose fields have changed since then are written anew.
 */
import { stringify } from "yaml"
import { readEntries } from "./nearly-yaml.ts"
import { namer } from "./yaml-entries.ts"

export interface FrontMatter {
  /** The note's id, if the file names one that an entity can have. */
  readonly id: string | undefined
  /** Fields in the file's order. `title` is a text, or missing when the file has none. */
  readonly fields: ReadonlyMap<string, unknown>
  /** Differences between file and fields that the file's author may not expect. */
  readonly remarks: readonly string[]
  /**
   * The text of the front matter in pieces, each with the names of the fields (`id` among them) that the piece became.
   */
  readonly pieces: readonly { readonly text: string | undefined; readonly names: readonly string[] }[]
}

/** The fields to write, `id` and `title` among them. */
export type Fields = ReadonlyMap<string, unknown>

/**
 * Whether a key of front matter cannot be a field's name, because the note itself uses the name or no field may have
 * it.
 */
const isReserved = (name: string) =>
  /^(?:body|file|fileHash|fileFront|fileDate|filePart|__proto__|[$@].*)$/s.test(name) || /\p{Surrogate}/u.test(name)

/** Reads any front matter; returns undefined when it is not a list of `key: value`. */
export function readFront(text: string): FrontMatter | undefined {
  if (text.trim() === "") return { id: undefined, fields: new Map(), remarks: [], pieces: [] }
  const reading = readEntries(text)
  if (reading === undefined) return undefined
  const remarks = [...reading.remarks]
  const nameOf = namer(new Set(reading.pieces.flatMap(({ entries }) => entries.map(({ key }) => key))))
  const fields = new Map<string, unknown>()
  let id: string | undefined
  const pieces: FrontMatter["pieces"][number][] = []
  if (reading.before !== "") pieces.push({ text: reading.before, names: [] })
  for (const { text, entries, after } of reading.pieces) {
    const names = entries.map(({ key, value }) => {
      const isFirst = key === "id" ? id === undefined : !fields.has(key)
      if (isFirst && isNothing(key, value)) return key
      if (key === "id" && isFirst && isId(value)) {
        id = String(value)
        return nameOf(key, () => false)
      }
      const isTitle = key === "title" && isFirst && (typeof value !== "object" || value === null)
      const isNeither = isFirst && (key === "id" || (key === "title" && !isTitle))
      const name = nameOf(key, (name) => isReserved(name) || (isNeither && name === key))
      if (name !== key) remarks.push(`\`${key}\` of its front matter became the field \`${name}\``)
      fields.set(name, isTitle ? String(value) : value)
      return name
    })
    const isKept = entries.every(({ key }, i) => names[i] === key)
    pieces.push({ text: isKept ? text : undefined, names })
    if (after !== "") pieces.push({ text: after, names: [] })
  }
  return { id, fields, remarks, pieces }
}

/** Whether the key has no value, as in templates that leave `id:` or `title:` empty. */
const isNothing = (key: string, value: unknown) =>
  (key === "id" && (value === null || value === "")) || (key === "title" && value === null)

export const isId = (value: unknown) =>
  (typeof value === "string" || typeof value === "number") && /^[A-Za-z0-9_-]{1,64}$/.test(String(value))

/**
 * Writes fields as YAML. Without `text`, the fields keep their order. `text`: the front matter from which they were
 * read; parts of it that are still right are written unchanged.
 */
export function writeFront(fields: Fields, text?: string): string {
  const front = text === undefined ? undefined : readFront(text)
  if (text === undefined || front === undefined) return yaml(fields)
  const written = new Set(front.pieces.flatMap(({ names }) => names))
  const missing = [...fields].filter(([name]) => !written.has(name))
  const first = missing.filter(([name]) => name === "id" || name === "title")
  const last = missing.filter((one) => !first.includes(one))
  const before = new Map([...front.fields, ["id", front.id]])
  const kept = front.pieces.map((piece) => {
    const isKept = piece.names.every((name) => fields.has(name) && equal(fields.get(name), before.get(name)))
    if (piece.text !== undefined && isKept) return piece.text
    const names = piece.names.filter((name) => fields.has(name))
    return yaml(names.map((name) => [name, inOrderOf(before.get(name), fields.get(name))]))
  })
  const whole = yaml(first) + kept.join("") + yaml(last)
  if (says(whole, fields)) return whole
  // some kept text is not read as its fields any more: for example, an alias whose anchor's key was written anew
  const order = [...first.map(([name]) => name), ...written, ...last.map(([name]) => name)]
  return yaml(
    order.flatMap((name) => (fields.has(name) ? [[name, inOrderOf(before.get(name), fields.get(name))]] : [])),
  )
}

/** Whether reading this front matter gives exactly these fields. */
function says(text: string, fields: Fields): boolean {
  const front = readFront(text)
  if (front === undefined || front.id !== fields.get("id")) return false
  const own = [...fields].filter(([name]) => name !== "id")
  return front.fields.size === own.length && own.every(([name, value]) => equal(front.fields.get(name), value))
}

function yaml(fields: Iterable<readonly [string, unknown]>): string {
  const map = new Map(fields)
  return map.size === 0 ? "" : stringify(map, { lineWidth: 0, aliasDuplicateObjects: false })
}

/**
 * Returns `value` with the keys of its objects in the order that they have in `model`. Keys that `model` lacks come
 * last.
 */
function inOrderOf(model: unknown, value: unknown): unknown {
  if (typeof value !== "object" || value === null || typeof model !== "object" || model === null) return value
  if (Array.isArray(value)) return value.map((item, i) => inOrderOf((model as unknown[])[i], item))
  const known = Object.keys(model).filter((key) => Object.hasOwn(value, key))
  const keys = new Set([...known, ...Object.keys(value)])
  const own = (of: object, key: string) => (of as Record<string, unknown>)[key]
  return new Map([...keys].map((key) => [key, inOrderOf(own(model, key), own(value, key))]))
}

/** Whether two values are equal as JSON: the order of keys does not matter, and an undefined field counts as absent. */
export function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, sorted) === JSON.stringify(b, sorted)
}

/** A replacer for JSON.stringify that sorts the keys of objects. */
export function sorted(_: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
