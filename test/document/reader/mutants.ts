/** Makes changes that Automerge does not write, from changes that it has written. Their checksums are right. */
import { bytesOfHex } from "../../../src/base/hash.ts"
import { ancestors } from "../../../src/document/history/graph.ts"
import { type Change, readChange } from "../../../src/wire/chunk.ts"
import { ACTOR, Columns, layoutOf, openChunk } from "../../../src/wire/layout.ts"
import { Bytes } from "../../../src/wire/leb128.ts"
import { forge, reseal, sleb, uleb } from "../../support/forged-chunk.ts"
import { hashes, mutant as otherOperations, placeOf, random } from "../../support/hostile.ts"

type Next = (n: number) => number
type Value = number | string | null

/** The parts of a chunk, as `forge` takes them. */
export interface Parts {
  deps: string[]
  actor: number[]
  seq: number[]
  startOp: number[]
  time: number[]
  message: number[]
  others: number[][]
  columns: [number, number[]][]
  extra: number[]
}

export function partsOf(change: Change): Parts {
  const layout = layoutOf(openChunk(change.chunk))
  const { chunk, othersAt, others, messageAt, message } = layout
  const columns = new Columns(layout)
  const found: [number, number[]][] = []
  while (columns.next()) found.push([columns.name, [...chunk.subarray(columns.from, columns.to)]])
  return {
    deps: [...change.deps],
    actor: [...bytesOfHex(change.actor)],
    seq: uleb(change.seq),
    startOp: uleb(change.startOp),
    time: sleb(change.time),
    message: [...chunk.subarray(messageAt, messageAt + message)],
    others: Array.from({ length: others }, (_, i) => [
      ...chunk.subarray(othersAt + i * (ACTOR + 1) + 1, othersAt + (i + 1) * (ACTOR + 1)),
    ]),
    columns: found,
    extra: [...chunk.subarray(columns.to)],
  }
}

const DELTA = 3
const FLAGS = 4
const TEXT = 5
const RAW = 7

/** Returns the values of a column. In a column of differences, adds up the differences. */
export function valuesIn(name: number, bytes: readonly number[]): Value[] {
  const at = new Bytes(Uint8Array.from(bytes), 0)
  const values: Value[] = []
  if ((name & 7) === FLAGS) {
    for (let flag = 0; !at.done; flag = 1 - flag) for (let left = at.uleb(); left > 0; left--) values.push(flag)
    return values
  }
  let sum = 0
  const one = (): number | string =>
    (name & 7) === TEXT ? Buffer.from(at.slice(at.uleb())).toString() : (name & 7) === DELTA ? at.sleb() : at.uleb()
  const add = (value: number | string) => {
    if ((name & 7) === DELTA) sum += value as number
    values.push((name & 7) === DELTA ? sum : value)
  }
  while (!at.done) {
    const run = at.sleb()
    if (run === 0) for (let left = at.uleb(); left > 0; left--) values.push(null)
    else if (run > 0) for (let left = run, value = one(); left > 0; left--) add(value)
    else for (let left = -run; left > 0; left--) add(one())
  }
  return values
}

/** Encodes a column as Automerge does. `longest`: the longest run; with a limit, the encoding is not Automerge's. */
export function columnOf(name: number, values: readonly Value[], longest = Number.POSITIVE_INFINITY): number[] {
  if ((name & 7) === FLAGS) {
    const runs = [0]
    for (const flag of values) {
      if ((flag === 1) === (runs.length % 2 === 1)) runs.push(1)
      else runs[runs.length - 1]!++
    }
    return runs.flatMap((run) => uleb(run))
  }
  let last = 0
  const items = values.map((value) => {
    if ((name & 7) !== DELTA || value === null) return value
    const step = (value as number) - last
    last = value as number
    return step
  })
  const encoded = (value: Value): number[] => {
    if ((name & 7) === TEXT) return [...uleb(Buffer.byteLength(value as string)), ...Buffer.from(value as string)]
    return (name & 7) === DELTA ? sleb(value as number) : uleb(value as number)
  }
  const bytes: number[] = []
  let literal: Value[] = []
  const flush = () => {
    if (literal.length > 0) bytes.push(...sleb(-literal.length), ...literal.flatMap(encoded))
    literal = []
  }
  for (let at = 0; at < items.length; ) {
    const value = items[at] as Value
    let run = 1
    while (run < longest && at + run < items.length && items[at + run] === value) run++
    if (value === null) {
      flush()
      bytes.push(0, ...uleb(run))
    } else if (run > 1) {
      flush()
      bytes.push(...sleb(run), ...encoded(value))
    } else literal.push(value)
    at += run
  }
  flush()
  return bytes
}

/** `rest`: the changes beside the mutant, without the change that it replaces and without the descendants of that. */
export interface Mutation {
  readonly how: string
  readonly mutant: Change
  readonly rest: readonly Change[]
}

/** Makes a mutant of one of these changes. Undefined if that fails, changes nothing, or leaves deps missing. */
export function mutated(all: readonly Change[], seed: number): Mutation | undefined {
  const next = random(seed)
  if (next(8) === 0) {
    const mutant = otherOperations(all, seed)
    if (mutant === undefined || all.some((one) => placeOf(one) === placeOf(mutant))) return undefined
    const known = hashes(all)
    return mutant.deps.every((dep) => known.has(dep)) ? { how: "other operations", mutant, rest: all } : undefined
  }
  const source = all[1 + next(all.length - 1)] as Change
  const names = Object.keys(mutations)
  const how = names[next(names.length)] as string
  try {
    const mutant = readChange((mutations[how] as Mutate)(source, all, next))
    const rest = all.filter((one) => one !== source && !ancestors(all, [one.hash]).has(source.hash))
    const known = hashes(rest)
    if (mutant.hash === source.hash || !mutant.deps.every((dep) => known.has(dep))) return undefined
    return { how, mutant, rest }
  } catch {
    return undefined
  }
}

type Mutate = (source: Change, all: readonly Change[], next: Next) => Uint8Array

/** Changes the parts of a chunk. */
const inParts =
  (change: (parts: Parts, next: Next, all: readonly Change[]) => void): Mutate =>
  (source, all, next) => {
    const parts = partsOf(source)
    change(parts, next, all)
    return forge(parts)
  }

/** Changes the values of one column, and encodes them as Automerge does. */
const inValues = (change: (values: Value[], at: number, next: Next, name: number) => void): Mutate =>
  inParts((parts, next) => {
    const coded = parts.columns.filter(([name]) => (name & 7) !== RAW)
    const column = coded[next(coded.length)] as [number, number[]]
    const values = valuesIn(column[0], column[1])
    change(values, next(values.length), next, column[0])
    column[1] = columnOf(column[0], values)
  })

const another = (value: Value, next: Next, name: number): Value => {
  if ((name & 7) === FLAGS) return value === 1 ? 0 : 1
  if ((name & 7) === TEXT) return ["body", "title", "k0", "", "@type", "@deleted", null, "é"][next(8)] as Value
  if (value === null) return next(4)
  if (name === 86)
    return [0, 1, 2, 0x13, 0x14, 0x85, 0x16, 0x26, 0x17, 0x18, 0x19, 0x1a, 0x11, 0x20][next(14)] as number
  return [value as number, (value as number) + 1, (value as number) - 1, next(9), null][next(5)] as Value
}

const mutations: Record<string, Mutate> = {
  "a byte": ({ chunk }, _, next) => {
    const bytes = Uint8Array.from(chunk)
    for (let left = 1 + next(2); left > 0; left--) {
      const at = 10 + next(bytes.length - 10)
      bytes[at] = next(3) === 0 ? next(256) : ((bytes[at] ?? 0) + [1, 255, 16, 128][next(4)]!) & 255
    }
    return reseal(bytes)
  },
  "a value of a column": inValues(
    (values, at, next, name) => void (values[at] = another(values[at] ?? null, next, name)),
  ),
  "two values of a column": inValues((values, at, next, name) => {
    values[at] = another(values[at] ?? null, next, name)
    const other = next(values.length)
    values[other] = another(values[other] ?? null, next, name)
  }),
  "values in another order": inValues((values, at, next) => {
    const other = next(values.length)
    const swapped = values[at] as Value
    values[at] = values[other] as Value
    values[other] = swapped
  }),
  "a value more": inValues(
    (values, at, next) => void values.splice(at, 0, next(2) === 0 ? null : (values[at] as Value)),
  ),
  "a value less": inValues((values, at) => void values.splice(at, 1)),
  "shorter runs": inParts((parts, next) => {
    const column = parts.columns[next(parts.columns.length)] as [number, number[]]
    if ((column[0] & 7) !== RAW) column[1] = columnOf(column[0], valuesIn(column[0], column[1]), 1 + next(3))
  }),
  "nulls at the end": inParts((parts, next) => {
    const column = parts.columns[next(parts.columns.length)] as [number, number[]]
    column[1].push(0, 1 + next(2))
  }),
  "a column less": inParts((parts, next) => void parts.columns.splice(next(parts.columns.length), 1)),
  "a column more": inParts((parts, next) => {
    const name = [1, 2, 17, 19, 21, 52, 66, 86, 87, 112, 113, 115, 148, 165, 167, 180][next(16)] as number
    const bytes = [[], [0, 1], [1], [0x7f, 0], [2, 0], [0x7f, 1], [0, 2], [0x7f, 1, 0x61]][next(8)] as number[]
    parts.columns = parts.columns.filter(([one]) => one !== name)
    parts.columns.push([name, bytes])
    parts.columns.sort(([a], [b]) => a - b)
  }),
  "another actor": inParts((parts, next, all) => {
    const { actor } = all[next(all.length)] as Change
    const bytes = next(2) === 0 ? [...bytesOfHex(actor)] : Array.from({ length: ACTOR }, () => next(256))
    const what = next(3)
    if (what === 0) parts.others.splice(next(parts.others.length + 1), 0, bytes)
    else if (what === 1) parts.others.splice(next(parts.others.length), 1, bytes)
    else parts.others.splice(next(parts.others.length), 1)
    parts.others.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }),
  "another author": inParts((parts, next, all) => {
    parts.actor = next(2) === 0 ? [...bytesOfHex((all[next(all.length)] as Change).actor)] : parts.actor.map(() => 0xdd)
    if (next(2) === 0) parts.seq = [1]
  }),
  "another header": inParts((parts, next) => {
    const what = next(5)
    if (what === 0) parts.time = sleb(next(99))
    else if (what === 1) parts.message = next(2) === 0 ? [0xff] : [...Buffer.from("é")]
    else if (what === 2) parts.startOp = uleb(1 + next(60))
    else if (what === 3) parts.seq = uleb(1 + next(5))
    else parts.extra = [next(256)]
  }),
  "other deps": inParts((parts, next, all) => {
    const { hash } = all[next(all.length)] as Change
    if (next(2) === 0) parts.deps = [hash]
    else parts.deps = [...new Set([...parts.deps, hash])].sort()
  }),
  "another value": inParts((parts, next) => {
    const raw = parts.columns.find(([name]) => name === 87)?.[1]
    if (raw === undefined) return
    const at = next(raw.length)
    if (next(3) === 0) raw.splice(at, 1)
    else raw[at] = [0x80, 0, 0x7f, 0xff, 0xc3, 0xf0, next(256)][next(7)] as number
  }),
}
