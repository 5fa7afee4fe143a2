/**
 * A page of the outbox: many records in one value, so that a workspace with a large outbox opens quickly. Principal,
 * `how` and fields are the same in many records, so each combination of these three is written once, as a kind. An
 * entity has one line for each kind of its changes. A line is parsed only when its entity is needed.
 *
 * The value is JSON with a checksum: `{ kinds: [principal, how, fields, count of changes][], lines }`. A line has,
 * separated by spaces: the entity, the index of the kind, 1 if the entity's creation is among the changes and 0 if not,
 * then `hash,startOp,bytes` of each change.
 */

import type { Key, Value } from "../../store/store.ts"
import { writeJson } from "./checked-json.ts"
import { type NoteDamaged, type OutRecord, type Owed, type Pending, readCache } from "./records.ts"

type KindRecord = [principal: string | null, how: OutRecord["how"], fields: readonly string[], owed: number]

/** What the changes of one kind have in common: principal, `how`, and the fields that they touch. */
export interface Kind {
  readonly principal: string | null
  readonly how: OutRecord["how"]
  /** How many changes of this kind the page has. */
  readonly owed: number
  /**
   * What the row of an entity with one line of this kind shows. `created`: the line has the entity's creation.
   * `edited`: it does not.
   */
  readonly created: Pending
  readonly edited: Pending
}

/** One entity's changes of one kind. */
export interface Line {
  readonly entity: string
  readonly kind: Kind
  /** Whether the entity's creation is one of these changes. */
  readonly creation: boolean
  /** Parses the line. */
  owed(): Owed[]
}

export interface Page {
  readonly kinds: readonly Kind[]
  readonly lines: readonly Line[]
}

export function writePage(owed: Iterable<Owed>, key: Key): string {
  const kinds = new Map<string, { index: number; record: KindRecord }>()
  const lines = new Map<string, string[]>()
  let kind: { index: number; record: KindRecord } | undefined
  let before: Owed | undefined
  for (const one of owed) {
    const { entity, principal, how, fields, hash, startOp, bytes } = one
    // The changes of one edit follow each other and share their fields, so their kind is looked up only once.
    if (kind === undefined || before?.fields !== fields || before.principal !== principal || before.how !== how) {
      const alike = JSON.stringify([principal, how, fields])
      kind = kinds.get(alike)
      if (kind === undefined) kinds.set(alike, (kind = { index: kinds.size, record: [principal, how, fields, 0] }))
    }
    before = one
    kind.record[3]++
    const start = `${entity} ${kind.index} `
    const line = lines.get(start) ?? ["0"]
    if (startOp === 1) line[0] = "1"
    line.push(`${hash},${startOp},${bytes}`)
    lines.set(start, line)
  }
  return writeJson(key, {
    kinds: [...kinds.values()].map(({ record }) => record),
    lines: [...lines].map(([start, line]) => start + line.join(" ")).join("\n"),
  })
}

/** Reads a page. When the page is damaged, calls `note` and returns undefined. */
export function readPage(value: Value | undefined, key: Key, note: NoteDamaged): Page | undefined {
  const page = readCache<{ kinds: KindRecord[]; lines: string }>(value, key, note)
  if (page === undefined) return undefined
  const kinds = page.kinds.map(([principal, how, fields, owed]): Kind => {
    Object.freeze(fields)
    return { principal, how, owed, created: { fields, creation: true }, edited: { fields, creation: false } }
  })
  const lines: Line[] = []
  for (const line of page.lines.split("\n")) {
    const first = line.indexOf(" ")
    const second = line.indexOf(" ", first + 1)
    const kind = kinds[Number(line.slice(first + 1, second))]
    if (kind === undefined) {
      note(key) // without this line, its changes would count as stored at the relay
      return undefined
    }
    const entity = line.slice(0, first)
    const owed = () => owedIn(line.slice(second + 3), entity, kind)
    lines.push({ entity, kind, creation: line[second + 1] === "1", owed })
  }
  return { kinds, lines }
}

function owedIn(changes: string, entity: string, { principal, how, edited: { fields } }: Kind): Owed[] {
  return changes.split(" ").map((change) => {
    const [hash = "", startOp, bytes] = change.split(",")
    return { entity, hash, startOp: Number(startOp), bytes: Number(bytes), how, principal, fields }
  })
}
