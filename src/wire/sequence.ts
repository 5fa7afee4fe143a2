/**
 * The elements of the short form, one for each chunk. The first byte of an element is its form:
 *
 * - below 8: a change. Its parts: deps (uleb count, 32 bytes each); actor (16 bytes) and uleb seq; uleb startOp; sleb
 *   time, as the difference to the change before; uleb length of the message, and the message; uleb length of what
 *   follows the message in the chunk, and that. `DEPS`, `AUTHOR` and `OP` say which of the first three are left out:
 *   - the deps, because they are the heads of the sequence up to here,
 *   - the author, because the actor is that of the change before, and seq is one more,
 *   - startOp, because it is one more than the last operation of the sequence up to here.
 * - `GENESIS`: the genesis of the entity.
 * - `TEXT`: the container of a text; uleb length of the key, and the key.
 * - `AS_IS`: uleb length of the chunk, and the chunk. So travel bytes that are not a change within the limits: whoever
 *   is to refuse them can name their hash. The other elements do not count them.
 */

import { HeadwaterError } from "../base/errors.ts"
import { bytesOfHex } from "../base/hash.ts"
import { type Change, hashOf, readChange, seal } from "./chunk.ts"
import { ACTOR, ChunkWriter, HASH, layoutOf, openChunk } from "./layout.ts"
import { type Bytes, chunkBad } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import { type Hash, limits } from "./messages.ts"
import { genesisChunk, textChunk, textKey } from "./named-changes.ts"

/** Whose chunks they are. A named change is made from it. */
export interface Owner {
  readonly entity: string
  readonly collection: string
}

const DEPS = 1
const AUTHOR = 2
const OP = 4
const GENESIS = 8
const TEXT = 9
const AS_IS = 10
/** No chunk has fewer bytes. */
const SHORTEST = 34
/** Differences between times beyond this are not written: the reader takes numbers within 2^48. */
const FURTHEST = 2 ** 48

/** What the changes up to here say about the next one. */
class Before {
  readonly #owner: Owner
  #genesis: Uint8Array | undefined
  #genesisHash: Uint8Array | undefined
  readonly heads = new Set<Hash>()
  last: Change | undefined
  /** The chunk of the newest change, until an element needs to know what the change says. */
  #unread: Uint8Array | undefined
  maxOp = 0

  constructor(owner: Owner) {
    this.#owner = owner
  }

  add(change: Change): void {
    for (const dep of change.deps) this.heads.delete(dep)
    this.heads.add(change.hash)
    this.last = change
    this.maxOp = Math.max(this.maxOp, change.maxOp)
  }

  /**
   * Adds the change in a chunk that was made here. The last change of a sequence is not read: whoever gets the chunk
   * reads it anyway.
   */
  addMade(chunk: Uint8Array): void {
    this.readAll()
    this.#unread = chunk
  }

  /** Call before an element that refers to the changes before it. Throws when the newest one is not a change. */
  readAll(): void {
    if (this.#unread !== undefined) this.add(readChange(this.#unread))
    this.#unread = undefined
  }

  get time(): number {
    return this.last?.time ?? 0
  }

  genesis(): Uint8Array {
    this.#genesis ??= genesisChunk(this.#owner.entity, this.#owner.collection)
    return this.#genesis
  }

  text(key: Uint8Array): Uint8Array {
    this.#genesisHash ??= bytesOfHex(hashOf(this.genesis()))
    return textChunk(this.#owner.entity, this.#genesisHash, key)
  }
}

/** `onlyNamed`: every chunk that has no name is carried as it is, without being hashed. */
export function writeSequence(owner: Owner, chunks: readonly Uint8Array[], onlyNamed: boolean): Uint8Array {
  const out = new BytesWriter()
  const before = new Before(owner)
  for (const chunk of chunks) {
    const change = onlyNamed && !mayBeNamed(chunk) ? undefined : changeIn(chunk)
    if (change === undefined || Math.abs(change.time - before.time) >= FURTHEST) {
      out.byte(AS_IS)
      withLength(out, chunk)
      continue
    }
    if (!writeNamed(out, change, before)) writeChange(out, change, before)
    before.add(change)
  }
  return out.done()
}

/** Whether a chunk may be a derived change that has a name, as far as its header shows. */
function mayBeNamed(chunk: Uint8Array): boolean {
  try {
    const { seq, startOp, time, deps } = layoutOf(openChunk(chunk))
    return seq === 1 && startOp <= 2 && time === 0 && deps <= 1
  } catch (error) {
    if (error instanceof HeadwaterError) return false
    throw error
  }
}

/** Returns the change in a chunk; undefined when the chunk is none, or is beyond the limits. */
function changeIn(chunk: Uint8Array): Change | undefined {
  try {
    return readChange(chunk)
  } catch (error) {
    if (error instanceof HeadwaterError) return undefined
    throw error
  }
}

/** Writes a change by its name. Returns false when it has none. */
function writeNamed(out: BytesWriter, change: Change, before: Before): boolean {
  if (change.seq !== 1 || change.ops !== 1 || change.time !== 0 || change.startOp > 2) return false
  if (change.deps.length === 0) {
    if (!same(change.chunk, before.genesis())) return false
    out.byte(GENESIS)
    return true
  }
  const key = change.deps.length === 1 ? textKey(change.chunk) : undefined
  if (key === undefined || !same(change.chunk, before.text(key))) return false
  out.byte(TEXT)
  withLength(out, key)
  return true
}

function writeChange(out: BytesWriter, { chunk, deps, actor, seq, startOp, time }: Change, before: Before): void {
  const { actorAt, depsAt, messageAt, message } = layoutOf(openChunk(chunk))
  const { heads, last } = before
  const sameDeps = deps.length === heads.size && deps.every((dep) => heads.has(dep))
  const sameAuthor = last?.actor === actor && last.seq + 1 === seq
  const sameOp = startOp === before.maxOp + 1
  out.byte((sameDeps ? DEPS : 0) | (sameAuthor ? AUTHOR : 0) | (sameOp ? OP : 0))
  if (!sameDeps) {
    out.uleb(deps.length)
    out.bytes(chunk.subarray(depsAt, depsAt + HASH * deps.length))
  }
  if (!sameAuthor) {
    out.bytes(chunk.subarray(actorAt, actorAt + ACTOR))
    out.uleb(seq)
  }
  if (!sameOp) out.uleb(startOp)
  out.sleb(time - before.time)
  withLength(out, chunk.subarray(messageAt, messageAt + message))
  withLength(out, chunk.subarray(messageAt + message))
}

/**
 * Reads the chunks of a sequence, which may have `most` bytes together. Throws `CHUNK_BAD` when they have more, or when
 * an element is not as it should be; `TOO_LARGE` beyond a limit.
 */
export function readSequence(owner: Owner, input: Bytes, most: number): Uint8Array[] {
  const chunks: Uint8Array[] = []
  const before = new Before(owner)
  let left = most
  while (!input.done) {
    if (chunks.length === limits.chunks) throw new HeadwaterError("TOO_LARGE", `more than ${limits.chunks} chunks`)
    const form = input.slice(1)[0]!
    const chunk = form === AS_IS ? input.slice(input.uleb()).slice() : readChangeOf(form, input, before)
    left -= chunk.length
    if (chunk.length < SHORTEST || left < 0) throw chunkBad("a chunk is too short, or the chunks are too long")
    chunks.push(chunk)
  }
  return chunks
}

function readChangeOf(form: number, input: Bytes, before: Before): Uint8Array {
  let chunk: Uint8Array
  if (form === GENESIS) chunk = before.genesis()
  else if (form === TEXT) chunk = before.text(input.slice(input.uleb()))
  else if (form <= (DEPS | AUTHOR | OP)) {
    before.readAll()
    chunk = seal(writeBody(form, input, before).chunk())
  } else throw chunkBad(`an element of form ${form}`)
  before.addMade(chunk)
  return chunk
}

/** All chunks are made here: one is done before the next begins. */
const writer = new ChunkWriter()

/** Writes the body of a chunk, as `layout.ts` has it. */
function writeBody(form: number, input: Bytes, { heads, last, maxOp, time }: Before): ChunkWriter {
  const out = writer
  out.begin()
  if (form & DEPS) {
    out.uleb(heads.size)
    for (const head of [...heads].sort()) out.bytes(bytesOfHex(head))
  } else {
    const deps = input.uleb()
    out.uleb(deps)
    out.bytes(input.slice(HASH * deps))
  }
  out.uleb(ACTOR)
  if (form & AUTHOR) {
    if (last === undefined) throw chunkBad("the first change has no author")
    out.bytes(bytesOfHex(last.actor))
    out.uleb(last.seq + 1)
  } else {
    out.bytes(input.slice(ACTOR))
    out.uleb(input.uleb())
  }
  out.uleb(form & OP ? maxOp + 1 : input.uleb())
  out.sleb(time + input.sleb())
  withLength(out, input.slice(input.uleb()))
  out.bytes(input.slice(input.uleb()))
  return out
}

function withLength(out: BytesWriter, bytes: Uint8Array): void {
  out.uleb(bytes.length)
  out.bytes(bytes)
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
