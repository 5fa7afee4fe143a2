/**
 * Finds the parts of a change chunk. The format is that of https://automerge.org/automerge-binary-format-spec (chunk
 * type 1; `uleb` is an unsigned LEB128 number):
 *
 * `85 6f 4a 83 | checksum, 4 bytes | type, 1 byte | uleb length of the body | body`
 *
 * `body = deps | actor | seq | startOp | time | message | other actors | column table | columns | extra bytes`
 *
 * The hash is sha256 of everything from the type on.
 */

import { HeadwaterError } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import { Bytes, chunkBad } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import { type Actor, limits } from "./message-types.ts"

const MAGIC = [0x85, 0x6f, 0x4a, 0x83] as const
/**
 * Offset of the type byte. The hash covers everything from there on. The 4 bytes before it are the checksum: the first
 * 4 bytes of the hash.
 */
export const HASHED_FROM = 8
const CHANGE = 1
/** The sizes of a hash and of an actor, bytes. */
export const HASH = 32
export const ACTOR = 16
/** The bit of a column's name that is set if the column's bytes are deflated. */
const DEFLATED = 8

/**
 * The parts of a chunk before its columns, as numbers and as offsets in the chunk (`…At`). All offsets lie within it.
 */
export interface Layout {
  readonly chunk: Uint8Array
  /** Offset of the first dep. There are `deps` hashes, one behind the other. */
  readonly depsAt: number
  readonly deps: number
  readonly actorAt: number
  readonly seq: number
  readonly startOp: number
  /** s since 1970 */
  readonly time: number
  readonly messageAt: number
  /** Bytes of the message. */
  readonly message: number
  /** Offset of the list of actors besides the author. There are `others` actors, each behind its length. */
  readonly othersAt: number
  readonly others: number
  /**
   * Offset of the column table, which has a name and a length for each of the `columns` columns. The bytes of the
   * columns themselves begin at `columnsAt`.
   */
  readonly tableAt: number
  readonly columns: number
  readonly columnsAt: number
}

/**
 * Returns the body of a plain change chunk. Throws `CHUNK_BAD` when the bytes are not a plain change chunk, or are more
 * or fewer than its length says.
 */
export function openChunk(chunk: Uint8Array): Bytes {
  for (let i = 0; i < 4; i++) if (chunk[i] !== MAGIC[i]) throw chunkBad("the bytes are not an Automerge chunk")
  const type = chunk[HASHED_FROM]
  if (type !== CHANGE) throw chunkBad(`the chunk has type ${type}; only plain changes (type 1) are allowed`)
  const bytes = new Bytes(chunk, HASHED_FROM + 1)
  if (bytes.uleb() !== chunk.length - bytes.at) throw chunkBad("the chunk is longer or shorter than its length says")
  return bytes
}

/** How many bytes `ChunkWriter` keeps free before the body: for magic, checksum, type and the longest length. */
const BEFORE_BODY = HASHED_FROM + 1 + 4

/** Writes the body of a chunk. `chunk` puts magic, checksum, type and length before the body. */
export class ChunkWriter extends BytesWriter {
  /** `room`: see `BytesWriter`. */
  constructor(room?: Uint8Array) {
    super(room)
    this.length = BEFORE_BODY
  }

  /** Returns a copy of the whole chunk. Its checksum is 4 zero bytes. */
  chunk(): Uint8Array {
    const end = this.length
    let digits = 1
    for (let rest = end - BEFORE_BODY; rest >= 128; rest >>= 7) digits++
    const start = BEFORE_BODY - digits - 1 - HASHED_FROM
    this.length = start
    this.bytes(HEAD)
    this.uleb(end - BEFORE_BODY)
    this.length = end
    return this.written().slice(start)
  }
}

const HEAD = Uint8Array.of(...MAGIC, 0, 0, 0, 0, CHANGE)

/**
 * Finds the parts of an opened chunk. Throws `CHUNK_BAD` when a part ends beyond the chunk, a number is not canonical,
 * an actor is not 16 bytes, a column is deflated, or deps, other actors or columns do not ascend. Throws `TOO_LARGE`
 * for too many deps.
 */
export function layoutOf(body: Bytes): Layout {
  const chunk = body.bytes
  const deps = body.uleb()
  if (deps > limits.heads)
    throw new HeadwaterError("TOO_LARGE", `a change has ${deps} deps, ${limits.heads} are allowed`)
  const depsAt = body.at
  body.skip(HASH * deps)
  if (!ascend(chunk, depsAt, deps, HASH, HASH)) throw chunkBad("deps are not sorted and unique")

  const actorAt = skipActor(body)
  const seq = body.uleb()
  const startOp = body.uleb()
  const time = body.sleb()
  const message = body.uleb()
  const messageAt = body.at
  body.skip(message)

  const others = body.uleb()
  const othersAt = body.at
  for (let left = others; left > 0; left--) skipActor(body)
  if (!ascend(chunk, othersAt + 1, others, ACTOR, ACTOR + 1)) throw chunkBad("other actors are not sorted and unique")

  const columns = body.uleb()
  const tableAt = body.at
  let last = -1
  let length = 0
  for (let left = columns; left > 0; left--) {
    const name = body.uleb()
    if (name <= last) throw chunkBad("columns are not sorted and unique")
    if (name & DEFLATED) throw chunkBad("a column is deflated")
    last = name
    length += body.uleb()
  }
  const columnsAt = body.at
  body.skip(length)
  return {
    chunk,
    depsAt,
    deps,
    actorAt,
    seq,
    startOp,
    time,
    messageAt,
    message,
    othersAt,
    others,
    tableAt,
    columns,
    columnsAt,
  }
}

/** Skips an actor, and returns the offset of its 16 bytes. */
function skipActor(body: Bytes): number {
  if (body.uleb() !== ACTOR) throw chunkBad(`an actor is not ${ACTOR} bytes long`)
  const at = body.at
  body.skip(ACTOR)
  return at
}

/** Whether `count` values ascend. Each value has `size` bytes, and a value begins every `step` bytes. */
function ascend(bytes: Uint8Array, at: number, count: number, size: number, step: number): boolean {
  for (let next = at + step, left = count - 1; left > 0; left--, next += step) {
    let i = 0
    while (i < size && bytes[next + i] === bytes[next - step + i]) i++
    if (i === size || bytes[next + i]! < bytes[next - step + i]!) return false
  }
  return true
}

/** Returns the actors that the change names besides its author. */
export function otherActors({ chunk, othersAt, others }: Layout): Actor[] {
  return Array.from({ length: others }, (_, i) => {
    const at = othersAt + i * (ACTOR + 1) + 1
    return hex(chunk.subarray(at, at + ACTOR))
  })
}

/**
 * Goes from column to column of a chunk. `name` is id << 4 | type; the column's bytes are those from `from` up to `to`.
 */
export class Columns {
  name = -1
  from = 0
  to: number
  readonly #table: Bytes
  #left: number

  constructor({ chunk, tableAt, columns, columnsAt }: Layout) {
    this.#table = new Bytes(chunk, tableAt, columnsAt)
    this.#left = columns
    this.to = columnsAt
  }

  next(): boolean {
    if (this.#left === 0) return false
    this.#left--
    this.name = this.#table.uleb()
    this.from = this.to
    this.to += this.#table.uleb()
    return true
  }
}
