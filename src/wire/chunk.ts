/**
 * Reads Automerge's change chunks in plain JavaScript: finds a change's hash, its deps and its actor, and checks that
 * its bytes are complete and within the limits. Nothing here reads an operation or needs Automerge. `layout.ts` has the
 * format.
 */

import { HeadwaterError } from "../base/errors.ts"
import { bytesOfHex, hex, sha256 } from "../base/hash.ts"
import { ACTOR, Columns, HASH, HASHED_FROM, type Layout, layoutOf, openChunk } from "./layout.ts"
import { Bytes, chunkBad } from "./leb128.ts"
import { type Actor, type Hash, type Limits, limits } from "./message-types.ts"

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

/** Automerge keeps op counters in 32 bits, and cannot load a saved document that has a counter from 2^31 on. */
const MAX_OP = 2 ** 31 - 1
/**
 * Names (column id << 4 | column type) of the columns in which a short run can make a reader allocate much memory.
 * `readChange` bounds these columns. Without bounds, one change of 71 bytes with 10^7 predecessors cost Automerge 3.5.0
 * 19 s and 1.5 GB, and one key of 100 kB in 10^4 operations cost 6 s and 1 GB.
 */
const KEY = 21
const ACTION = 66
const PREDECESSORS = 112
const MARK_NAME = 165

/**
 * Reads, hashes and checks one change chunk. The fields of a `Change` can be trusted: the hash is that of the bytes,
 * the encoding is canonical, and expanding it costs a reader at most `limits.ops` operations, as many predecessors, 16
 * times `limits.chunk` bytes of keys and as many bytes of mark names. Whether the operations make sense is not checked.
 *
 * Throws `CHUNK_BAD` for bytes that are not exactly one plain change chunk, so also for a document, a deflated change
 * or a bundle. Throws `TOO_LARGE` for a change chunk beyond the limits. A small chunk takes a few microseconds and a
 * few hundred bytes of memory, whatever lengths its bytes claim.
 */
export function readChange(chunk: Uint8Array, bounds: Limits = limits): Change {
  if (chunk.length > bounds.chunk) throw tooLarge(`a chunk has ${chunk.length} bytes, ${bounds.chunk} are allowed`)
  const body = openChunk(chunk)
  const hash = hashOf(chunk)
  if (hex(chunk.subarray(4, HASHED_FROM)) !== hash.slice(0, 8)) throw chunkBad("the checksum does not match")
  return readBody(body, hash, bounds)
}

/**
 * Writes the checksum into a chunk that was made without it, and reads the change as `readChange` does. Hashes the
 * chunk once for both.
 */
export function sealChange(chunk: Uint8Array): Change {
  const hash = seal(chunk)
  if (chunk.length > limits.chunk) throw tooLarge(`a chunk has ${chunk.length} bytes, ${limits.chunk} are allowed`)
  return readBody(openChunk(chunk), hash, limits)
}

/** Reads the body of an opened chunk. `hash`: the hash of the chunk's change. */
function readBody(body: Bytes, hash: Hash, bounds: Limits): Change {
  const chunk = body.bytes
  const layout = layoutOf(body)
  const { seq, startOp, time } = layout
  const actor = hex(chunk.subarray(layout.actorAt, layout.actorAt + ACTOR))
  const deps = depsOf(layout)
  const message = messageOf(layout)
  const ops = countOps(layout, bounds)
  const maxOp = startOp + ops - 1

  if (seq < 1) throw chunkBad("seq is 0")
  if (startOp < 1) throw chunkBad("startOp is 0")
  if (maxOp > MAX_OP) throw chunkBad("an operation's counter does not fit into 31 bits")
  return { chunk, hash, actor, seq, startOp, maxOp, ops, time, message, deps }
}

/** Returns the hash of the change with these bytes. Does not check whether the bytes are a change. */
export const hashOf = (chunk: Uint8Array): Hash => sha256(chunk.subarray(HASHED_FROM))

/**
 * Gives a change the actor that is a function of its content: the first 16 bytes of sha256(UTF-8 of the entity id ‖ the
 * template from byte 8 on). `template`: a change chunk whose actor is 16 zero bytes. The result is byte for byte what
 * Automerge makes when the derived actor authors the same change. Throws `CHUNK_BAD` when `template` is no change
 * chunk.
 */
export function deriveChange(entity: string, template: Uint8Array): Uint8Array {
  const chunk = new Uint8Array(template)
  const { actorAt } = layoutOf(openChunk(chunk))
  chunk.set(bytesOfHex(derivedActor(entity, chunk, actorAt)), actorAt)
  seal(chunk)
  return chunk
}

/** A change chunk whose actor is 16 zero bytes, and from which the derived changes of many entities are made. */
export interface Template {
  readonly change: Change
  readonly layout: Layout
}

export function templateOf(chunk: Uint8Array): Template {
  return { change: sealChange(chunk), layout: layoutOf(openChunk(chunk)) }
}

/**
 * Makes the derived change of an entity as `deriveChange` does. `dep`: the hash that replaces the template's only dep.
 * `key`: the bytes that replace the template's only key, which must have as many bytes and must be the end of the
 * template's first column.
 */
export function deriveFrom(
  { change, layout }: Template,
  entity: string,
  other?: { dep: Hash; key: Uint8Array },
): Change {
  const chunk = new Uint8Array(change.chunk)
  if (other !== undefined) {
    const columns = new Columns(layout)
    columns.next()
    chunk.set(bytesOfHex(other.dep), layout.depsAt)
    chunk.set(other.key, columns.to - other.key.length)
  }
  const actor = derivedActor(entity, chunk, layout.actorAt)
  chunk.set(bytesOfHex(actor), layout.actorAt)
  return { ...change, chunk, hash: seal(chunk), actor, deps: other === undefined ? change.deps : [other.dep] }
}

/** Whether the change's actor is the one that `deriveChange` gives to this content in this entity. */
export function isDerived(entity: string, { seq, actor, chunk }: Change): boolean {
  return seq === 1 && actor === derivedActor(entity, chunk, layoutOf(openChunk(chunk)).actorAt)
}

/**
 * Returns the actor that `deriveChange` gives to a chunk. `at`: the offset of the actor in the chunk. 16 zero bytes are
 * hashed in place of the chunk's actor.
 */
function derivedActor(entity: string, chunk: Uint8Array, at: number): Actor {
  const most = 3 * entity.length + chunk.length
  const hashed = most <= scratch.length ? scratch : new Uint8Array(most)
  const name = utf8.encodeInto(entity, hashed).written
  const length = name + chunk.length - HASHED_FROM
  hashed.set(chunk.subarray(HASHED_FROM), name)
  hashed.fill(0, name + at - HASHED_FROM, name + at - HASHED_FROM + ACTOR)
  return sha256(hashed.subarray(0, length)).slice(0, 2 * ACTOR)
}

/**
 * The buffer for the bytes that `derivedActor` hashes, if they fit. Small derived changes are made and checked so often
 * that a new buffer for each would cost time.
 */
const scratch = new Uint8Array(1024)

/** Computes the checksum of a chunk and writes it into the chunk. Returns the hash of the change. */
function seal(chunk: Uint8Array): Hash {
  const hash = hashOf(chunk)
  chunk.set(bytesOfHex(hash.slice(0, 8)), 4)
  return hash
}

function depsOf({ chunk, depsAt, deps }: Layout): Hash[] {
  const hashes: Hash[] = []
  for (let i = 0, at = depsAt; i < deps; i++, at += HASH) hashes.push(hex(chunk.subarray(at, at + HASH)))
  return hashes
}

function messageOf({ chunk, messageAt, message }: Layout): string | null {
  if (message === 0) return null
  try {
    return strictText.decode(chunk.subarray(messageAt, messageAt + message))
  } catch (cause) {
    throw chunkBad("the message is not UTF-8", cause)
  }
}

/**
 * Counts the operations of a change. Throws `TOO_LARGE` when a column exceeds its bound. Adds up the lengths of a
 * column's runs without expanding the runs.
 */
function countOps(layout: Layout, bounds: Limits): number {
  const columns = new Columns(layout)
  let ops = 0
  while (columns.next()) {
    const { name } = columns
    if (name === ACTION) {
      const { values, nulls } = tally(layout.chunk, columns, false)
      if (nulls > 0) throw chunkBad("an operation has no action")
      if (values > bounds.ops) throw tooLarge(`a change has ${values} operations, ${bounds.ops} are allowed`)
      ops = values
    } else if (name === PREDECESSORS && tally(layout.chunk, columns, false).sum > bounds.ops) {
      throw tooLarge(`a change names more than ${bounds.ops} predecessors`)
    } else if ((name === KEY || name === MARK_NAME) && tally(layout.chunk, columns, true).sum > 16 * bounds.chunk) {
      throw tooLarge(`the keys of a change have more than ${16 * bounds.chunk} bytes together`)
    }
  }
  return ops
}

/**
 * Counts the values and the nulls of a run-length encoded column. `sum`: the sum of the values or, if they are strings,
 * of their lengths in bytes.
 */
function tally(
  chunk: Uint8Array,
  { from, to }: Columns,
  strings: boolean,
): { values: number; nulls: number; sum: number } {
  const column = new Bytes(chunk, from, to)
  const one = () => {
    const value = column.uleb()
    if (strings) column.skip(value)
    return value
  }
  let values = 0
  let nulls = 0
  let sum = 0
  while (!column.done) {
    const run = column.sleb()
    if (run === 0) nulls += column.uleb()
    values += Math.abs(run)
    if (run > 0) sum += run * one()
    // A run may claim 2^40 different values. The loop still ends soon: each value takes at least one byte, and `one`
    // throws when the bytes of the column end.
    for (let left = -run; left > 0; left--) sum += one()
  }
  return { values, nulls, sum }
}

const utf8 = new TextEncoder()
const strictText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const tooLarge = (what: string) => new HeadwaterError("TOO_LARGE", what)
