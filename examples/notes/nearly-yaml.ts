/**
 * Reads front matter that may not be valid YAML. Valid YAML is read as such. Otherwise each key is read by itself:
 * small faults of its value are repaired, and a value that is still not YAML becomes a text as it is written. So a note
 * can be imported with any front matter, and no word of it is lost.
 */
import { type Entry, fullRoom, isEntry, readYaml, unquoted, type Yaml } from "./yaml-entries.ts"

/** The lines of one key, or of several keys that cannot be separated. */
export interface Piece {
  /** The lines as they are in the file; undefined when they are not valid YAML. */
  readonly text: string | undefined
  readonly entries: readonly Entry[]
  /** Blank lines and comments between this key and the next. */
  readonly after: string
}

export interface Reading {
  /** Blank lines and comments before the first key. */
  readonly before: string
  readonly pieces: readonly Piece[]
  /** Tells which values may differ from what the file's author expects. */
  readonly remarks: readonly string[]
}

/** The key that gets the lines that belong to no key. */
const LEFT_OVER = "original-front-matter"

/**
 * The most UTF-16 units in one key's lines for which repairs are tried, because each attempt parses the lines again.
 */
const LONG = 4096
/**
 * The most UTF-16 units in all lines of one file for which repairs are tried; the other values become texts. Each
 * attempt parses the lines again.
 */
const MOST_REPAIRED = 20_000

/** Reads front matter; returns undefined when it is not a list of `key: value`. */
export function readEntries(front: string): Reading | undefined {
  const whole = readYaml(front)
  if (whole === "no map") return onlyKeys(front) ? readKeyByKey(front) : undefined
  if (whole !== undefined) return divided(front, whole)
  return readKeyByKey(withoutIndent(front))
}

/** Divides the text of valid front matter by its keys. */
function divided(front: string, { pairs, remarks }: Yaml): Reading {
  const chunks = chunksOf(front, false)
  const first = chunks[0]?.at ?? front.length
  const take = inTurn(pairs)
  const said = [...remarks]
  const ahead = take(first) // pairs before the first chunk, such as keys in braces or after a `?`
  const pieces: Piece[] = ahead.length === 0 ? [] : [{ text: undefined, entries: ahead, after: "" }]
  chunks.forEach((chunk, i) => {
    const { key, text, after } = chunk
    const entries = take(chunks[i + 1]?.at ?? front.length)
    const last = pieces.at(-1)
    if (entries.length === 0 && last !== undefined) {
      // this line looks like a key, but is part of the value above
      pieces.pop()
      pieces.push({ ...last, text: last.text && last.text + last.after + text, after })
    } else if (isHidden(chunk, entries)) {
      said.push(remarkOn(key, "is only a comment in YAML"))
      pieces.push({ text: undefined, entries: [{ key: entries[0]!.key, value: textOf(chunk) }], after })
    } else pieces.push({ text: entries.every(({ sound }) => sound) ? text : undefined, entries, after })
  })
  return { before: ahead.length > 0 ? "" : front.slice(0, first), pieces, remarks: said }
}

/** Whether a value begins with a # and no space after it: `tags: #home` is meant as text, but is a comment in YAML. */
function isHidden({ value }: Chunk, entries: readonly Entry[]): boolean {
  return entries.length === 1 && entries[0]!.value === null && /^[ \t]+#[^\s#]/.test(value)
}

const remarkOn = (key: string, why: string) =>
  `\`${key}\` of its front matter ${why}, so the field has its text as it is written`

/** Returns a function that takes a position in the text and returns the pairs before it, each pair only once. */
function inTurn(pairs: Yaml["pairs"]): (before: number) => Yaml["pairs"] {
  let next = 0
  return (before) => {
    const from = next
    while (next < pairs.length && pairs[next]!.at < before) next++
    return pairs.slice(from, next)
  }
}

// front matter that is not valid YAML ---------------------------------------------------------------------------------

/** A line with a key, and the lines up to the next key. */
interface Chunk {
  /** The index in the front matter at which the chunk begins. */
  readonly at: number
  readonly key: string
  readonly text: string
  /** The part of `text` after the key's colon. */
  readonly value: string
  /** Blank lines and comments at the end of the chunk, not part of `text`. */
  readonly after: string
}

function chunksOf(front: string, tolerant: boolean): Chunk[] {
  const starts: { at: number; key: string; colon: number }[] = []
  let at = 0
  for (const line of front.split("\n")) {
    const found = keyIn(line, tolerant)
    if (found !== undefined) starts.push({ at, key: found.key, colon: at + found.colon })
    at += line.length + 1
  }
  return starts.map(({ at, key, colon }, i) => {
    const all = front.slice(at, starts[i + 1]?.at ?? front.length)
    const end = at + all.length - trailing(all).length
    return {
      at,
      key,
      text: front.slice(at, end),
      value: front.slice(colon + 1, end),
      after: front.slice(end, at + all.length),
    }
  })
}

/** Returns the blank lines and comments at the end of a text. */
function trailing(text: string): string {
  const lines = text.split("\n")
  let first = lines.length
  while (first > 1 && isBlank(lines[first - 1]!)) first--
  return lines.slice(first).join("\n")
}

const isBlank = (line: string) => /^(?:#.*|\s*)$/.test(line)

/** Returns the key of a line, and the index of its colon; undefined when the line belongs to the key above. */
function keyIn(line: string, tolerant: boolean): { key: string; colon: number } | undefined {
  if (/^(?:[\s#?:,\]})>|]|[-*+](?:\s|$)|$)/.test(line)) return undefined
  const [quoted] = /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')[ \t]*(?=:)/.exec(line) ?? []
  let colon = line.indexOf(":", quoted?.length ?? 0)
  while (colon !== -1 && !/^(?:\s|$)/.test(line.slice(colon + 1, colon + 2))) colon = line.indexOf(":", colon + 1)
  // `key:value` has no key in YAML, but people often write it by mistake
  if (colon === -1 && tolerant) colon = (/^[A-Za-z_][\w-]*(?=:[^/:])/.exec(line)?.[0].length ?? 0) || -1
  if (colon === -1) return undefined
  return { key: unquoted(line.slice(0, colon).trim()), colon }
}

/** Whether every line has a key, also lines such as `key:value`, which YAML reads as one text. */
const onlyKeys = (front: string) =>
  front.split("\n").every((line) => isBlank(line) || keyIn(line, true) !== undefined) && !isBlank(front)

function readKeyByKey(front: string): Reading | undefined {
  const chunks = chunksOf(front, true)
  const before = front.slice(0, chunks[0]?.at ?? 0)
  if (chunks.length === 0 || !before.split("\n").every(isBlank)) return undefined
  const anchors = new Set<string>()
  let repaired = 0
  const mended = chunks.map((chunk) => mend(chunk, anchors, () => (repaired += chunk.text.length) <= MOST_REPAIRED))
  const good = mended.filter(({ yaml }) => yaml !== undefined)
  const together = readYaml(good.map(({ yaml }) => yaml).join(""))
  const all = typeof together === "object" ? together : { pairs: [], remarks: [] }
  const take = inTurn(all.pairs)
  const remarks = new Set(all.remarks)
  const left: string[] = []
  const room = fullRoom()
  let place = 0
  const pieces = mended.map(({ chunk, yaml, isRepaired, rest }): Piece => {
    const { key, text, after } = chunk
    if (rest !== "") left.push(rest)
    place += yaml?.length ?? 0
    let read = yaml === undefined ? [] : take(place)
    if (yaml !== undefined && read.length === 0) {
      // all keys together may be invalid because of their aliases: this key by itself may be valid
      const alone = readYaml(yaml, room)
      if (typeof alone === "object") {
        read = alone.pairs
        for (const remark of alone.remarks) remarks.add(remark)
      }
    }
    if (yaml === undefined || read.length === 0 || isHidden(chunk, read)) {
      remarks.add(remarkOn(key, read.length === 0 ? "is not valid YAML" : "is only a comment in YAML"))
      return { text: undefined, entries: [{ key, value: textOf(chunk) }], after }
    }
    if (isRepaired)
      remarks.add(`\`${key}\` of its front matter is not valid YAML; it was read with its layout corrected`)
    const isSound = !isRepaired && rest === "" && read.every(({ sound }) => sound)
    return { text: isSound ? text : undefined, entries: read, after }
  })
  if (left.length > 0) {
    pieces.push({ text: undefined, entries: [{ key: LEFT_OVER, value: left.join("\n") }], after: "" })
    remarks.add(`lines of its front matter that belong to no key became the field \`${LEFT_OVER}\``)
  }
  return { before, pieces, remarks: [...remarks] }
}

interface Mended {
  readonly chunk: Chunk
  /** Valid YAML for the chunk; undefined when there is none, so that the value is text. */
  readonly yaml: string | undefined
  readonly isRepaired: boolean
  /** Lines of the chunk that do not belong to the value. */
  readonly rest: string
}

/**
 * Finds valid YAML in a chunk. `anchors`: the anchors of earlier chunks; the chunk's own anchors are added. `mayRepair`
 * is called before repairs are tried.
 */
function mend(chunk: Chunk, anchors: Set<string>, mayRepair: () => boolean): Mended {
  const { text, value } = chunk
  const none = { chunk, yaml: undefined, isRepaired: false, rest: "" }
  if (isEntry(text, anchors)) return { ...none, yaml: text }
  if (text.length > LONG || !mayRepair()) return none
  // after the colon, replace a space that YAML does not accept, such as a no-break space
  const spaced = `${text.slice(0, text.length - value.length)}${value.replace(/^(?:(?=\S)|[^\S\n]+)/, " ")}`
  const repairs = [
    spaced,
    ...[2, 4].map((width) => spaced.replace(/^[ \t]+/gm, (indent) => indent.replaceAll("\t", " ".repeat(width)))),
    // indent the later lines of a list, an object or a quotation
    ...(/^[ \t]*["'[{]/.test(value) ? [spaced.replace(/\n(?=.)/g, "\n  ")] : []),
  ]
  for (const yaml of repairs) if (isEntry(yaml, anchors)) return { ...none, yaml, isRepaired: true }
  const lines = text.split("\n")
  const unindented = lines.findIndex((line, i) => i > 0 && /^[^\s#-]/.test(line))
  const head = `${lines.slice(0, unindented).join("\n")}\n`
  const isEmpty = unindented === 1 && /^[ \t]*\n/.test(value)
  if (unindented > 0 && !isEmpty && isEntry(head, anchors)) {
    return { ...none, yaml: head, rest: lines.slice(unindented).join("\n").trimEnd() }
  }
  return none
}

/** Returns the text of a chunk's value, without the indentation that its later lines share. */
function textOf({ value }: Chunk): string {
  const [first = "", ...more] = value.split("\n")
  return [first, ...withoutIndent(more.join("\n")).split("\n")].join("\n").trim()
}

function withoutIndent(text: string): string {
  const lines = text.split("\n")
  const indents = lines.filter((line) => line.trim() !== "").map((line) => /^[ \t]*/.exec(line)![0].length)
  const common = indents.reduce((least, indent) => Math.min(least, indent), text.length)
  return common === 0 ? text : lines.map((line) => line.slice(common)).join("\n")
}
