/**
 * Automerge's change chunks, read in plain JavaScript: what they are called, what they rest on, who made them, and that
 * they are whole and bounded. Nothing here looks inside an operation or needs Automerge.
 *
 * The format is that of https://automerge.org/automerge-binary-format-spec (chunk type 1):
 * `85 6f 4a 83 | checksum 4 | type | uleb length | body`, and the hash is sha256 of everything from the type on.
 * `body = deps 32 each | actor | seq | startOp | time | message | other actors | column table | columns | extra bytes`.
 */
import { HeadwaterError } from "../base/errors.ts"
import { bytesOfHex, hex, sha256 } from "../base/hash.ts"
import { type Actor, type Hash, type Limits, limits } from "./messages.ts"

export interface Change {
  readonly chunk: Uint8Array
  readonly hash: Hash
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** startOp + ops - 1 */
  readonly maxOp: number
  readonly ops: number
  /** s since 1970 */
  readonly time: number
  readonly message: string | null
  readonly deps: readonly Hash[]
}

const MAGIC = [0x85, 0x6f, 0x4a, 0x83] as const
/** The checksum stands before this byte, what it covers behind it. */
const SEALED = 8
const HASH = 32
const ACTOR = 16
/** Automerge holds op counters in 32 bits, and a saved document with one from 2^31 on cannot be loaded again. */
const MAX_OP = 2 ** 31 - 1
/**
 * Columns whose runs multiply what a reader must allocate (spec = column id << 4 | column type). Unbounded, one change of
 * 71 bytes with 10^7 predecessors cost Automerge 3.5.0 19 s and 1.5 GB; one key of 100 kB in 10^4 operations 6 s and 1 GB.
 */
const ACTION = 66
const KEY = 21
const PREDECESSORS = 112
const MARK_NAME = 165
const DEFLATED = 8

/**
 * Reads, hashes and checks one change chunk. Whoever gets a `Change` may trust its fields: the hash is that of the
 * bytes, the encoding is canonical, and expanding it costs a reader at most `limits.ops` operations, as many
 * predecessors and 16 times `limits.chunk` bytes of keys. Whether the operations make sense is not looked at.
 *
 * `CHUNK_BAD` for anything that is not exactly one plain change chunk (documents, deflated changes and bundles
 * included), `TOO_LARGE` for a whole one beyond the limits. Costs a few microseconds and no memory to speak of,
 * whatever the bytes claim.
 */
export function readChange(chunk: Uint8Array, bounds: Limits = limits): Change {
  if (chunk.length > bounds.chunk) throw tooLarge(`${chunk.length} bytes in a chunk, ${bounds.chunk} are allowed`)
  const reader = openChunk(chunk)
  const hash = hashOf(chunk)
  if (hex(chunk.subarray(4, SEALED)) !== hash.slice(0, 8)) throw bad("the checksum does not match")

  const deps = readDeps(reader)
  const actor = hex(reader.take(reader.exactly(ACTOR)))
  const seq = reader.uleb()
  const startOp = reader.uleb()
  const time = reader.sleb()
  const message = readMessage(reader)
  skipActors(reader)
  const ops = countOps(reader, bounds)
  const maxOp = startOp + ops - 1

  if (seq < 1) throw bad("seq begins at 1")
  if (startOp < 1) throw bad("operations are counted from 1")
  if (maxOp > MAX_OP) throw bad("an operation's counter does not fit into 31 bits")
  return { chunk, hash, actor, seq, startOp, maxOp, ops, time, message, deps }
}

/** What a change of these bytes is called, whether or not they are one: so its author knows it, too. */
export const hashOf = (chunk: Uint8Array): Hash => sha256(chunk.subarray(SEALED))

/**
 * Gives a change the actor that is a function of its content: the first 16 bytes of
 * sha256(UTF-8 of the entity id ‖ the template from byte 8 on). `template` is a change chunk whose actor is 16 zero
 * bytes; the result is byte for byte what Automerge makes when that actor authors the same change. `CHUNK_BAD`.
 */
export function deriveChange(entity: string, template: Uint8Array): Uint8Array {
  const at = findActor(template)
  const chunk = new Uint8Array(template)
  chunk.set(bytesOfHex(derivedActor(entity, chunk, at)), at)
  return seal(chunk)
}

/** The same template resting on other changes, as many as before. So one template made by Automerge serves every entity. */
export function withDeps(template: Uint8Array, deps: readonly Hash[]): Uint8Array {
  const first = findActor(template) - 1 - HASH * deps.length
  const old = readDeps(openChunk(template))
  if (old.length !== deps.length) throw bad(`the template has ${old.length} deps, not ${deps.length}`)
  const chunk = new Uint8Array(template)
  for (const [i, dep] of [...deps].sort().entries()) chunk.set(bytesOfHex(dep), first + HASH * i)
  return seal(chunk)
}

/** Whether the change's actor is the one that its content and this entity give (`deriveChange`). */
export function isDerived(entity: string, change: Change): boolean {
  return change.seq === 1 && change.actor === derivedActor(entity, change.chunk, findActor(change.chunk))
}

function openChunk(chunk: Uint8Array): Reader {
  for (let i = 0; i < 4; i++) if (chunk[i] !== MAGIC[i]) throw bad("not an Automerge chunk")
  const type = chunk[SEALED]
  if (type !== 1) throw bad(`a chunk of type ${type}; only plain changes (type 1) travel`)
  const reader = new Reader(chunk, SEALED + 1)
  if (reader.uleb() !== chunk.length - reader.at) throw bad("the chunk is longer or shorter than it says")
  return reader
}

/** Where the 16 bytes of the actor begin. */
function findActor(chunk: Uint8Array): number {
  const reader = openChunk(chunk)
  reader.take(HASH * reader.uleb())
  return reader.take(reader.exactly(ACTOR)).byteOffset - chunk.byteOffset
}

function derivedActor(entity: string, chunk: Uint8Array, at: number): Actor {
  const name = utf8.encode(entity)
  const template = new Uint8Array(name.length + chunk.length - SEALED)
  template.set(name)
  template.set(chunk.subarray(SEALED), name.length)
  template.fill(0, name.length + at - SEALED, name.length + at - SEALED + ACTOR)
  return sha256(template).slice(0, 2 * ACTOR)
}

function seal(chunk: Uint8Array): Uint8Array {
  chunk.set(bytesOfHex(sha256(chunk.subarray(SEALED)).slice(0, 8)), 4)
  return chunk
}

function readDeps(reader: Reader): Hash[] {
  const count = reader.uleb()
  if (count > limits.heads) throw tooLarge(`${count} deps in a change, ${limits.heads} are allowed`)
  const deps: Hash[] = []
  for (let i = 0; i < count; i++) {
    const dep = hex(reader.take(HASH))
    if (i > 0 && dep <= deps[i - 1]!) throw bad("deps are not sorted and unique")
    deps.push(dep)
  }
  return deps
}

function readMessage(reader: Reader): string | null {
  const bytes = reader.take(reader.uleb())
  if (bytes.length === 0) return null
  try {
    return strictText.decode(bytes)
  } catch (cause) {
    throw bad("the message is not UTF-8", cause)
  }
}

function skipActors(reader: Reader) {
  let left = reader.uleb()
  let last = ""
  for (; left > 0; left--) {
    const actor = hex(reader.take(reader.exactly(ACTOR)))
    if (actor <= last) throw bad("other actors are not sorted and unique")
    last = actor
  }
}

/** Reads the column table and adds up the run-length encoded columns that an attacker would inflate, without expanding. */
function countOps(reader: Reader, bounds: Limits): number {
  const columns = reader.uleb()
  const table = reader.at
  let last = -1
  let length = 0
  for (let i = 0; i < columns; i++) {
    const spec = reader.uleb()
    if (spec <= last) throw bad("columns are not sorted and unique")
    if (spec & DEFLATED) throw bad("a column is deflated")
    last = spec
    length += reader.uleb()
  }
  const specs = new Reader(reader.bytes, table)
  if (length > reader.bytes.length - reader.at) throw bad("columns are longer than the chunk")

  let ops = 0
  for (let i = 0; i < columns; i++) {
    const spec = specs.uleb()
    const end = reader.at + specs.uleb()
    if (spec === ACTION) {
      const { values, nulls } = tally(reader, end, false)
      if (nulls > 0) throw bad("an operation without an action")
      if (values > bounds.ops) throw tooLarge(`${values} operations in a change, ${bounds.ops} are allowed`)
      ops = values
    } else if (spec === PREDECESSORS && tally(reader, end, false).sum > bounds.ops) {
      throw tooLarge(`a change names more than ${bounds.ops} predecessors`)
    } else if ((spec === KEY || spec === MARK_NAME) && tally(reader, end, true).sum > 16 * bounds.chunk) {
      throw tooLarge(`the keys of a change come to more than ${16 * bounds.chunk} bytes`)
    }
    reader.at = end
  }
  return ops
}

/** Adds up a run-length encoded column up to `end`: its values (or the lengths of its strings), and how many there are. */
function tally(reader: Reader, end: number, strings: boolean): { values: number; nulls: number; sum: number } {
  const column = new Reader(reader.bytes, reader.at, end)
  let values = 0
  let nulls = 0
  let sum = 0
  while (column.at < end) {
    const run = column.sleb()
    if (run === 0) nulls += column.uleb()
    values += Math.abs(run)
    if (run > 0) sum += run * (strings ? column.take(column.uleb()).length : column.uleb())
    // A literal of 2^40 values costs nothing either: every value takes a byte, and the bytes run out.
    for (let left = -run; left > 0; left--) sum += strings ? column.take(column.uleb()).length : column.uleb()
  }
  return { values, nulls, sum }
}

class Reader {
  readonly bytes: Uint8Array
  readonly end: number
  at: number

  constructor(bytes: Uint8Array, at: number, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  byte(): number {
    if (this.at >= this.end) throw bad("the bytes end early")
    return this.bytes[this.at++]!
  }

  take(length: number): Uint8Array {
    if (length > this.end - this.at) throw bad("the bytes end early")
    const from = this.at
    this.at += length
    return this.bytes.subarray(from, this.at)
  }

  exactly(length: number): number {
    if (this.uleb() !== length) throw bad(`an actor is not ${length} bytes long`)
    return length
  }

  /** An unsigned LEB128 number, shortest form only, below 2^53. */
  uleb(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 56; scale *= 128) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte & 0x80) continue
      if ((byte === 0 && scale > 1) || value > Number.MAX_SAFE_INTEGER) break
      return value
    }
    throw bad("a number is not canonical or beyond 2^53")
  }

  /** A signed LEB128 number, shortest form only, within 2^48 (beyond any date, and exact in a double on the way). */
  sleb(): number {
    let value = 0
    let sign = 0
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte & 0x80) {
        sign = byte & 0x40
        continue
      }
      if (scale > 1 && byte === (sign ? 0x7f : 0)) break
      return byte & 0x40 ? value - scale * 128 : value
    }
    throw bad("a number is not canonical or beyond 2^48")
  }
}

const utf8 = new TextEncoder()
const strictText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const bad = (what: string, cause?: unknown) => new HeadwaterError("CHUNK_BAD", what, { cause })
const tooLarge = (what: string) => new HeadwaterError("TOO_LARGE", what)
