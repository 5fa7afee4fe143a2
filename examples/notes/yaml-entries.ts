/** Reads valid YAML (1.2, core schema) as keys and values that the fields of a note can hold. */
import { type Document, isAlias, isMap, isNode, isScalar, type Pair, parseDocument, Scalar, visit } from "yaml"

export interface Entry {
  readonly key: string
  readonly value: unknown
}

/** The most levels that a value may have. A field holds at most 64. */
const LEVELS = 60

/**
 * The most that the values of front matter may hold after their aliases are resolved, so that they fit into a note
 * together with the first part of its body. Without aliases they always hold less.
 */
export interface Room {
  values: number
  /** UTF-16 units of all strings, and of the keys of nested maps. */
  units: number
}

export const fullRoom = (): Room => ({ values: 50_000, units: 100_000 })

/** The most aliases in front matter: for each alias, the parser searches the whole document for its anchor. */
const ALIASES = 200

export interface Yaml {
  /** `at`: the index at which the key begins. `sound`: its lines can be written again as they are. */
  readonly pairs: readonly (Entry & { readonly at: number; readonly sound: boolean })[]
  readonly remarks: readonly string[]
}

function parse(text: string): Document.Parsed | undefined {
  // a text with too many levels or aliases would take the parser seconds, and may overflow its stack
  if (nestsTooDeep(text) || (text.match(/(?:^|[\s[{,:-])\*(?=[^\s*])/g)?.length ?? 0) > ALIASES) return undefined
  // if the parser resolved known tags, `!!set` and the like would become objects that JSON does not have
  const options = { schema: "core", version: "1.2", resolveKnownTags: false, uniqueKeys: false } as const
  try {
    const document = parseDocument(text, { ...options, prettyErrors: false, logLevel: "error" })
    return document.errors.length === 0 ? document : undefined
  } catch {
    return undefined
  }
}

/**
 * Reads YAML, and subtracts its values from `room`. Returns undefined when the YAML is not valid, or when the values do
 * not fit into `room`.
 */
export function readYaml(text: string, room: Room = fullRoom()): Yaml | "no map" | undefined {
  const document = parse(text)
  if (document === undefined) return undefined
  const { contents } = document
  if (!isMap(contents)) return "no map"
  const remarks = new Set<string>()
  keepSpelling(document, text)
  const renamed = renameKeys(document, text, remarks)
  for (const { message } of document.warnings) {
    const [, tag] = /^Unresolved tag: (\S+)/.exec(message) ?? []
    remarks.add(tag === undefined ? message : `the tag ${tag} of its front matter is not part of the field's value`)
  }
  const left = { ...room }
  try {
    const pairs = contents.items.map((pair) => {
      const value = isNode(pair.value) ? pair.value.toJS(document) : null
      takeRoom(left, value)
      const at = startOf(pair)
      const end = isNode(pair.value) ? (pair.value.range?.[2] ?? at) : at
      return { key: keyOf(pair, text), value, at, sound: !renamed.some((place) => place >= at && place < end) }
    })
    Object.assign(room, left)
    return { pairs, remarks: [...remarks] }
  } catch {
    return undefined // the text has an alias without its anchor, or aliases that would grow without end
  }
}

/** Returns the index in the text at which a pair begins. */
function startOf(pair: Pair): number {
  for (const node of [pair.key, pair.value]) if (isNode(node) && node.range) return node.range[0]
  return 0
}

function keyOf({ key }: Pair, text: string): string {
  if (isScalar(key)) return String(key.value ?? "")
  return isNode(key) && key.range ? text.slice(key.range[0], key.range[1]).trim() : ""
}

/**
 * Keeps a value as text if a field cannot hold it or would write it differently: a number such as 1.10, 00123, 0x1F or
 * one beyond 2^53 (most of them are not meant as numbers), and half of a surrogate pair, which only an escape can
 * write.
 */
function keepSpelling(document: Document.Parsed, text: string): void {
  visit(document, {
    Scalar(_, scalar) {
      const { value, source, range } = scalar
      if (typeof value === "number" && source !== undefined) {
        const exact = JSON.stringify(value) === source && (!Number.isInteger(value) || Number.isSafeInteger(value))
        if (!exact) scalar.value = source
      }
      if (typeof value === "string" && /\p{Surrogate}/u.test(value) && range) {
        scalar.value = text.slice(range[0], range[1])
      }
    },
  })
}

/**
 * Renames keys inside values if no object can have them, or if their object already has them. Returns the indexes at
 * which these objects begin.
 */
function renameKeys(document: Document.Parsed, text: string, remarks: Set<string>): number[] {
  const places: number[] = []
  visit(document, {
    Map(_, map) {
      if (map === document.contents) return
      const nameOf = namer(new Set(map.items.map((pair) => keyOf(pair, text))))
      for (const pair of map.items) {
        const key = keyOf(pair, text)
        const name = nameOf(key)
        if (name === key) continue
        pair.key = new Scalar(name)
        places.push(map.range?.[0] ?? 0)
        remarks.add(`\`${key}\` inside of its front matter became \`${name}\``)
      }
    },
  })
  return places
}

/**
 * Returns a function that gives each key of an object its name. The name is the key itself, or a similar one if no
 * object can have the key (`isReserved`) or if the key came before. `given` are all keys of the object.
 */
export function namer(given: ReadonlySet<string>): (key: string, isReserved?: (name: string) => boolean) => string {
  const used = new Set<string>()
  const numbers = new Map<string, number>()
  return (key, isReserved = (name) => name === "__proto__") => {
    const isOther = (name: string) => name !== key && given.has(name)
    let base = key
    while (isReserved(base) || isOther(base)) base = `original-${base}`
    let name = base
    let number = numbers.get(base) ?? 2
    while (used.has(name) || isOther(name)) name = `${base}-${number++}`
    numbers.set(base, number)
    used.add(name)
    return name
  }
}

/** Whether the text is valid YAML with one key, and every alias in it has its anchor in it or in `anchors`. */
export function isEntry(text: string, anchors: Set<string>): boolean {
  const document = parse(text)
  if (document === undefined || !isMap(document.contents) || document.contents.items.length !== 1) return false
  const own = new Set<string>()
  let isComplete = true
  visit(document, {
    Node(_, node) {
      if (isAlias(node)) isComplete &&= own.has(node.source) || anchors.has(node.source)
      else if (node.anchor !== undefined) own.add(node.anchor)
    },
  })
  if (isComplete) for (const anchor of own) anchors.add(anchor)
  return isComplete
}

/** Returns the text of a quoted key; returns the key itself when it is not quoted, or not correctly. */
export function unquoted(key: string): string {
  if (!/^["']/.test(key)) return key
  const contents = parse(key)?.contents
  const value = isScalar(contents) ? contents.value : undefined
  return typeof value === "string" && !/\p{Surrogate}/u.test(value) ? value : key
}

/** Whether the text may nest deeper than a value can. Checks brackets and runs of dashes, and ignores quotes. */
function nestsTooDeep(text: string): boolean {
  if (/(?:[-?:][ \t]+){60}/.test(text)) return true
  let level = 0
  for (const char of text) {
    if (char === "[" || char === "{") level++
    if ((char === "]" || char === "}") && level > 0) level--
    if (level > LEVELS) return true
  }
  return false
}

/**
 * Subtracts a value from `room`. Throws when the value has too many levels or does not fit. The limit of levels also
 * ends the walk over a value that contains itself, which an alias can make.
 */
function takeRoom(room: Room, value: unknown, levels = 0): void {
  room.values--
  if (typeof value === "string") room.units -= value.length
  const isObject = typeof value === "object" && value !== null
  if (room.values < 0 || room.units < 0 || (isObject && levels >= LEVELS)) throw new RangeError("too large a value")
  if (!isObject) return
  for (const [key, inner] of Object.entries(value)) {
    if (!Array.isArray(value)) room.units -= key.length
    takeRoom(room, inner, levels + 1)
  }
}
