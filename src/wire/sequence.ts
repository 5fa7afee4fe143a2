/**
 * Writes and reads sequences. A sequence has the chunks of one entry in the short form (`short-chunks.ts`), one element
 * for each chunk. The first byte of an element is its form (`uleb` and `sleb` are unsigned and signed LEB128 numbers):
 *
 * - below 8: a change. Its parts: deps (uleb count, 32 bytes each); author (actor, 16 bytes, and uleb seq); uleb
 *   startOp; sleb time, as the difference to the time of the change before; uleb length of the message, and it; uleb
 *   length of the rest of the chunk after the message, and that rest. A bit of the form says that a part is left out:
 *   - `DEPS`: the deps are the heads of the sequence up to here,
 *   - `AUTHOR`: the actor is that of the change before, and seq is one more,
 *   - `OP`: startOp is one more than the last operation of the sequence up to here.
 * - `GENESIS`: the genesis of the entity.
 * - `TEXT`: the container of a text; uleb length of the key, and the key.
 * - `AS_IS`: uleb length of the chunk, and the chunk. A chunk that is not a change within the limits is sent in
 *   this form, so that the receiver can compute its hash and name the hash in a refusal. When a later element leaves
 *   out its deps, author or startOp, they are computed as if this chunk were not there.
 */

import { HeadwaterError } from "../base/errors.ts"
import { bytesOfHex } from "../base/hash.ts"
import { type Change, readChange, sealChange } from "./chunk.ts"
import { ACTOR, ChunkWriter, HASH, layoutOf, openChunk } from "./layout.ts"
import { type Bytes, chunkBad } from "./leb128.ts"
import type { BytesWriter } from "./leb128-writer.ts"
import { madeChange } from "./made-changes.ts"
import type { Hash } from "./message-types.ts"
import { genesisOf, keyOf, textContainer, textKey } from "./named-changes.ts"

/** The entity to which the chunks belong, and the entity's collection. Named changes are made from these two names. */
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
/** The fewest bytes of a chunk. */
const SHORTEST = 34
/**
 * If the time of a change differs by this or more from the time of the change before, the chunk is written `AS_IS`,
 * because readers accept only numbers within 2^48 (`Bytes.sleb`).
 */
const FURTHEST = 2 ** 48

/** The values that an element can leave out, because they follow from the changes before the element. */
class Before {
  readonly #owner: Owner
  #genesis: Change | undefined
  /**
   * Set when a chunk that was made is not a change within the limits: the error. Later elements may refer to that
   * change, so they cannot be read.
   */
  #unreadable: HeadwaterError | undefined
  /**
   * Changes that `#heads` does not count yet. They are counted only when another change follows: most sequences have a
   * single change.
   */
  #added: Change[] = []
  readonly #heads = new Set<Hash>()
  last: Change | undefined
  maxOp = 0

  constructor(owner: Owner) {
    this.#owner = owner
  }

  add(change: Change): void {
    this.#added.push(change)
    this.last = change
    this.maxOp = Math.max(this.maxOp, change.maxOp)
  }

  get heads(): ReadonlySet<Hash> {
    for (const { deps, hash } of this.#added) {
      for (const dep of deps) this.#heads.delete(dep)
      this.#heads.add(hash)
    }
    this.#added = []
    return this.#heads
  }

  /**
   * Writes the checksum into a chunk that `makeChunk` made, reads its change, and adds the change. Returns undefined
   * when the chunk is not a change within the limits. If only `AS_IS` elements follow, the caller can refuse this chunk
   * alone. Before any other element, `requireRead` throws, and the whole sequence is refused.
   */
  addMade(chunk: Uint8Array): Change | undefined {
    try {
      const change = sealChange(chunk)
      this.add(change)
      return change
    } catch (error) {
      if (!(error instanceof HeadwaterError)) throw error
      this.#unreadable = error
      return undefined
    }
  }

  /** Call before an element that may refer to earlier changes. Throws when an earlier change could not be read. */
  requireRead(): void {
    if (this.#unreadable !== undefined) throw this.#unreadable
  }

  get time(): number {
    return this.last?.time ?? 0
  }

  genesis(): Change {
    this.#genesis ??= genesisOf(this.#owner.entity, this.#owner.collection)
    return this.#genesis
  }

  text(key: string): Change {
    return textContainer(this.#owner.entity, this.genesis(), key)
  }
}

/** Writes one element for each of these chunks. */
export function writeSequence(out: BytesWriter, owner: Owner, chunks: readonly Uint8Array[]): void {
  const before = new Before(owner)
  for (const chunk of chunks) {
    const change = changeIn(chunk)
    if (change === undefined || Math.abs(change.time - before.time) >= FURTHEST) {
      writeAsItIs(out, chunk)
      continue
    }
    if (!writeNamed(out, change, before)) writeChange(out, change, before)
    before.add(change)
  }
}

/** Writes the element `AS_IS` of a chunk. Does not read the chunk. */
export function writeAsItIs(out: BytesWriter, chunk: Uint8Array): void {
  out.byte(AS_IS)
  withLength(out, chunk)
}

/** Returns the change in a chunk; undefined when the chunk is not a change within the limits. */
function changeIn(chunk: Uint8Array): Change | undefined {
  try {
    return madeChange(chunk) ?? readChange(chunk)
  } catch (error) {
    if (error instanceof HeadwaterError) return undefined
    throw error
  }
}

/** Writes `GENESIS` or `TEXT` for a named change. Returns false for any other change, and writes nothing. */
function writeNamed(out: BytesWriter, change: Change, before: Before): boolean {
  if (change.seq !== 1 || change.ops !== 1 || change.time !== 0 || change.startOp > 2) return false
  if (change.deps.length === 0) {
    if (change.hash !== before.genesis().hash) return false
    out.byte(GENESIS)
    return true
  }
  const key = change.deps.length === 1 ? textKey(change.chunk) : undefined
  if (key === undefined || change.hash !== before.text(key).hash) return false
  out.byte(TEXT)
  withLength(out, utf8.encode(key))
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
 * A chunk that was made from its element, and the change in it as `readChange` reads it; undefined if it was not read.
 */
export interface Made {
  readonly chunk: Uint8Array
  readonly change: Change | undefined
}

/** How many chunks a sequence has, and how many bytes these chunks have together at least. */
export interface Measure {
  readonly chunks: number
  readonly bytes: number
}

/** The fewest bytes of a genesis, of the container of a text with an empty key, and of a change before its deps. */
const SMALLEST_GENESIS = 58
const SMALLEST_TEXT = 85
const BEFORE_DEPS = 4 + 4 + 1 + 1

/**
 * Counts the chunks of a sequence and the bytes that they have at least, in one step for each element. It makes, hashes
 * and allocates nothing. So a few bytes from which many chunks would be made can be refused before they cost much.
 * Throws `CHUNK_BAD` when an element ends early or has an unknown form, or when there are more than `most` chunks.
 */
export function measureSequence(input: Bytes, most: number): Measure {
  let bytes = 0
  let chunks = 0
  for (let changes = 0; !input.done; chunks++) {
    if (chunks === most) throw chunkBad("there are more chunks than the block says")
    const form = input.byte()
    if (form === AS_IS) bytes += skipCounted(input)
    else if (form === GENESIS) bytes += SMALLEST_GENESIS
    else if (form === TEXT) bytes += SMALLEST_TEXT + skipCounted(input)
    else bytes += BEFORE_DEPS + skipChange(form, input, changes > 0)
    if (form !== AS_IS) changes++
  }
  return { chunks, bytes }
}

/** Skips a length, and as many bytes. Returns the length. */
function skipCounted(input: Bytes): number {
  const length = input.uleb()
  input.skip(length)
  return length
}

/**
 * Skips the parts of a change. Returns how many bytes the body of the change has at least. `follows`: whether another
 * change comes earlier in the sequence. If so, deps that are left out are at least one hash.
 */
function skipChange(form: number, input: Bytes, follows: boolean): number {
  if (form > (DEPS | AUTHOR | OP)) throw chunkBad(`an element has the unknown form ${form}`)
  // The number of deps, the length of the actor, the actor, seq, startOp, time, and the length of the message.
  let bytes = 1 + 1 + ACTOR + 1 + 1 + 1 + 1
  if (form & DEPS) bytes += follows ? HASH : 0
  else {
    const deps = HASH * input.uleb()
    input.skip(deps)
    bytes += deps
  }
  if (!(form & AUTHOR)) {
    input.skip(ACTOR)
    input.uleb()
  }
  if (!(form & OP)) input.uleb()
  input.sleb()
  return bytes + skipCounted(input) + skipCounted(input)
}

/**
 * Makes the chunks of a sequence. Throws `CHUNK_BAD` when the chunks have more than `most` bytes together, or when an
 * element cannot be read; `TOO_LARGE` when an element follows a change beyond a limit. Hashes each change once, and a
 * named change twice.
 */
export function readSequence(owner: Owner, input: Bytes, most: number): Made[] {
  const made: Made[] = []
  const before = new Before(owner)
  let left = most
  while (!input.done) {
    const one = readElement(input, before)
    left -= one.chunk.length
    if (one.chunk.length < SHORTEST || left < 0)
      throw chunkBad("a chunk has too few bytes, or all chunks have too many")
    made.push(one)
  }
  return made
}

function readElement(input: Bytes, before: Before): Made {
  const form = input.byte()
  if (form === AS_IS) return { chunk: input.slice(input.uleb()).slice(), change: undefined }
  before.requireRead()
  if (form === GENESIS || form === TEXT) {
    const change = form === GENESIS ? before.genesis() : before.text(readKey(input))
    before.add(change)
    return { chunk: change.chunk, change }
  }
  if (form > (DEPS | AUTHOR | OP)) throw chunkBad(`an element has the unknown form ${form}`)
  const chunk = makeChunk(form, input, before)
  return { chunk, change: before.addMade(chunk) }
}

function readKey(input: Bytes): string {
  const key = keyOf(input.slice(input.uleb()))
  if (key === undefined) throw chunkBad("the key of a text is not UTF-8")
  return key
}

/** Makes the chunk of a change from its element (`layout.ts` has the format). The checksum is not written yet. */
function makeChunk(form: number, input: Bytes, before: Before): Uint8Array {
  const { last, maxOp, time } = before
  const out = new ChunkWriter(scratch)
  if (form & DEPS) {
    const { heads } = before
    out.uleb(heads.size)
    for (const head of [...heads].sort()) out.bytes(bytesOfHex(head))
  } else {
    const deps = input.uleb()
    out.uleb(deps)
    out.bytes(input.slice(HASH * deps))
  }
  out.uleb(ACTOR)
  if (form & AUTHOR) {
    if (last === undefined) throw chunkBad("the first change leaves out its author")
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
  return out.chunk()
}

/** The buffer in which every chunk is made. One is enough, because each chunk is copied before the next one is made. */
const scratch = new Uint8Array(2 ** 12)
const utf8 = new TextEncoder()

function withLength(out: BytesWriter, bytes: Uint8Array): void {
  out.uleb(bytes.length)
  out.bytes(bytes)
}
