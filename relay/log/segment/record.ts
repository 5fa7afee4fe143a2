/**
 * A record of a segment file: facts about an entry, then the body, which is the entry as on the wire. Numbers with a
 * width (u8, u24, u32) are big-endian, all other numbers are LEB128 in its shortest form.
 *
 * Marker u32 | crc u32 of everything after it up to the end of the facts, and of the first `shared` bytes of the body
 *   | crc u32 of the body | length of the facts u24, from the marker on | length of the body u24 | shared u8
 *   | kind u8 | running hash, 8 | entity, 16 of its sha256 | position | step from the previous position
 *   | number of changes | changes | collection, principal: each its length and UTF-8.
 * Change: flags u8 | hash 32 | actor and seq | startOp | number of operations | deps. Each flag, when set, means:
 *   1: the change binds its actor to the principal.
 *   2: actor and seq are absent: the actor is that of the previous change, and seq is one more than its seq.
 *   4: the actor is a u8, its place in the body. Without the flag, the actor is 16 bytes.
 *   8: startOp is absent: it is one more than the last operation of the previous change.
 *   16: deps are absent: the previous change is the only dep.
 *   32: deps are a u8, the place of the only dep in the body. Without the flag: their number and 32 bytes each.
 *
 * The facts have all that look-ups need, with a checksum of their own, so look-ups read neither chunks nor CBOR. To be
 * short, the facts refer to the body instead of repeating an actor or dep whose bytes are near its beginning, as in the
 * chunk of a single edit. (A deflated chunk does not contain these bytes, so the writer searches for them.) The facts
 * refer only to the first `shared` bytes of the body. The running hash is 8 bytes of sha256 over everything from the
 * kind on, with the running hash of the previous record in its place. The checksums have the salt as their start value.
 * Marker and salt are the log's secret (`header.ts`).
 */
import { hash as digest } from "node:crypto"
import { crc32 } from "node:zlib"
import { Bytes } from "../../../src/wire/leb128.ts"
import { asBuffer, type GrowingBytes, writeUleb } from "../bytes.ts"
import type { Secret } from "./header.ts"
import type { Key } from "./keys.ts"
import { change, PreambleWriter, preamble } from "./preamble.ts"

/** Bytes of a record before its first LEB128 number. Enough to know how long its facts are. */
export const FIXED_BYTES = 44
const KIND_AT = 19
const RUNNING_AT = 20
const ENTITY_AT = 28
const [BINDS, SAME_ACTOR, ACTOR_IN_BODY, NEXT_OP, FOLLOWS, DEP_IN_BODY] = [1, 2, 4, 8, 16, 32]
/**
 * Number of the body's first bytes that are searched for actors and deps. Places in the body and `shared` are each a
 * u8.
 */
const SEARCHED_BYTES = 255
/** The most bytes of a LEB128 number below 2^53, and of one below 2^32. */
const LONGEST_NUMBER = 8
const LONGEST_U32 = 5
/**
 * A greater length shows that a record is damaged, because any entry that fits into a message needs less, including its
 * facts.
 */
const LONGEST_RECORD_BYTES = 16 * 2 ** 20
export const LONGEST_ENTRY_BYTES = LONGEST_RECORD_BYTES / 2

export const record = {
  factsLength: (bytes: Buffer, at: number) => bytes.readUIntBE(at + 12, 3),
  bodyLength: (bytes: Buffer, at: number) => bytes.readUIntBE(at + 15, 3),
  length: (bytes: Buffer, at: number) => record.factsLength(bytes, at) + record.bodyLength(bytes, at),
  /** Bytes of the facts and of the part of the body to which they refer. */
  headLength: (bytes: Buffer, at: number) => record.factsLength(bytes, at) + bytes[at + 18]!,
  running: (bytes: Buffer, at: number) => bytes.subarray(at + RUNNING_AT, at + ENTITY_AT),
  entity: (bytes: Buffer, at: number): Key => bytes.subarray(at + ENTITY_AT, at + FIXED_BYTES),
  position: (bytes: Buffer, at: number) => new Bytes(bytes, at + FIXED_BYTES).uleb(),
  /** The position of the record before this one. */
  previous(bytes: Buffer, at: number): number {
    const numbers = new Bytes(bytes, at + FIXED_BYTES)
    return numbers.uleb() - numbers.uleb()
  },
  body: (bytes: Buffer, at: number) =>
    bytes.subarray(at + record.factsLength(bytes, at), at + record.length(bytes, at)),

  /**
   * Whether undamaged facts begin at `at`. `"short"`: there are too few `bytes` to tell; once at least `FIXED_BYTES`
   * are there, `headLength` says how many are needed. Read the other fields only if this returns true.
   */
  check(bytes: Buffer, at: number, secret: Secret): boolean | "short" {
    if (bytes.length - at < FIXED_BYTES) return "short"
    if (bytes.readUInt32BE(at) !== secret.marker) return false
    if (record.factsLength(bytes, at) < FIXED_BYTES || record.length(bytes, at) > LONGEST_RECORD_BYTES) return false
    const length = record.headLength(bytes, at)
    if (length > record.length(bytes, at)) return false
    if (bytes.length - at < length) return "short"
    return bytes.readUInt32BE(at + 4) === crc32(bytes.subarray(at + 8, at + length), secret.salt)
  },

  /** Whether the body is undamaged. Call it only after `check`, and with the whole record in `bytes`. */
  isBodyWhole: (bytes: Buffer, at: number, { salt }: Secret) =>
    bytes.readUInt32BE(at + 8) === checksum(record.body(bytes, at), salt),
}

/**
 * Returns the checksum of bytes. The checksum of no bytes is the salt, although Node's `crc32` returns 0 for an empty
 * ArrayBuffer.
 */
const checksum = (bytes: Uint8Array, salt: number): number => (bytes.length === 0 ? salt : crc32(bytes, salt))

/**
 * Appends to `out` the record whose preamble is in `facts` at `from`. Until now the preamble has the running hash of
 * the previous record; this function replaces it by the running hash of this record. Throws a RangeError when the facts
 * are too long for a record; `out` may then have a part of the record.
 */
export function packRecord(out: GrowingBytes, secret: Secret, facts: Buffer, from: number, body: Uint8Array): void {
  const count = preamble.changes(facts, from)
  // The facts take at most a few bytes more than the preamble, because some of their numbers may be longer.
  const most = FIXED_BYTES + 2 * LONGEST_NUMBER + preamble.length(facts, from) + LONGEST_U32 * (count + 1)
  const start = out.reserve(most + body.length)
  const { bytes } = out
  bytes[start + KIND_AT] = preamble.kindNumber(facts, from)
  bytes.set(preamble.running(facts, from), start + RUNNING_AT)
  bytes.set(preamble.entity(facts, from), start + ENTITY_AT)
  let at = writeUleb(bytes, preamble.position(facts, from), start + FIXED_BYTES)
  at = writeUleb(bytes, preamble.step(facts, from), at)
  at = writeUleb(bytes, count, at)
  const places = new Places(body)
  let before: number | undefined
  for (let left = count, c = change.first(from); left > 0; left--, c = change.next(facts, c)) {
    at = packChange(bytes, at, facts, c, before, places)
    before = c
  }
  for (const text of preamble.texts(facts, from)) {
    at = writeUleb(bytes, text.length, at)
    at += text.copy(bytes, at)
  }
  const factsLength = at - start
  bytes.set(body, at)
  at += body.length
  bytes.writeUInt32BE(secret.marker, start)
  bytes.writeUInt32BE(checksum(body, secret.salt), start + 8)
  bytes.writeUIntBE(factsLength, start + 12, 3)
  bytes.writeUIntBE(body.length, start + 15, 3)
  bytes[start + 18] = places.shared
  bytes.write(digest("sha256", bytes.subarray(start + KIND_AT, at), "hex"), start + RUNNING_AT, 8, "hex")
  record.running(bytes, start).copy(preamble.running(facts, from))
  const head = bytes.subarray(start + 8, start + factsLength + places.shared)
  bytes.writeUInt32BE(crc32(head, secret.salt), start + 4)
  out.length = at
}

/** Finds bytes at the beginning of a body. */
class Places {
  /** Number of the body's first bytes that contain everything found so far. */
  shared = 0
  readonly #body: Buffer

  constructor(body: Uint8Array) {
    this.#body = asBuffer(body.subarray(0, SEARCHED_BYTES))
  }

  find(bytes: Buffer, from: number, length: number): number | undefined {
    const place = this.#body.indexOf(bytes.subarray(from, from + length))
    if (place < 0) return undefined
    this.shared = Math.max(this.shared, place + length)
    return place
  }
}

/**
 * Writes the facts of the change at `c`. `before`: the offset of the previous change in `facts`. Returns the offset
 * after the written bytes.
 */
function packChange(
  bytes: Buffer,
  start: number,
  facts: Buffer,
  c: number,
  before: number | undefined,
  places: Places,
): number {
  const actorAt = change.actorAt(c)
  const [startOp, maxOp] = [change.startOp(facts, c), change.maxOp(facts, c)]
  let flags = change.binds(facts, c) ? BINDS : 0
  let at = start + 1 + facts.copy(bytes, start + 1, c, c + 32)
  if (before !== undefined && isNext(facts, before, c)) flags |= SAME_ACTOR
  else {
    const place = places.find(facts, actorAt, 16)
    if (place !== undefined) flags |= ACTOR_IN_BODY
    at = place !== undefined ? bytes.writeUInt8(place, at) : at + facts.copy(bytes, at, actorAt, actorAt + 16)
    at = writeUleb(bytes, change.seq(facts, c), at)
  }
  if (before !== undefined && startOp === change.maxOp(facts, before) + 1) flags |= NEXT_OP
  else at = writeUleb(bytes, startOp, at)
  at = writeUleb(bytes, maxOp - startOp + 1, at)
  const deps = change.depCount(facts, c)
  const firstDep = change.firstDep(facts, c)
  const place = deps === 1 && !change.follows(facts, c) ? places.find(facts, firstDep, 32) : undefined
  if (change.follows(facts, c)) flags |= FOLLOWS
  else if (place !== undefined) {
    flags |= DEP_IN_BODY
    at = bytes.writeUInt8(place, at)
  } else {
    at = writeUleb(bytes, deps, at)
    at += facts.copy(bytes, at, firstDep, firstDep + 32 * deps)
  }
  bytes[start] = flags
  return at
}

/** Whether the change at `c` has the same actor as the change at `before`, and the next seq. */
function isNext(facts: Buffer, before: number, c: number): boolean {
  const [a, b] = [change.actorAt(before), change.actorAt(c)]
  return change.seq(facts, c) === change.seq(facts, before) + 1 && facts.compare(facts, a, a + 16, b, b + 16) === 0
}

/** Appends the preamble of an undamaged record to `out`. Only the first `headLength` bytes of the record are needed. */
export function unpackRecord(bytes: Buffer, at: number, out: GrowingBytes): void {
  const bodyAt = at + record.factsLength(bytes, at)
  const input = new Bytes(bytes, at + FIXED_BYTES, bodyAt)
  const [position, step, changes] = [input.uleb(), input.uleb(), input.uleb()]
  const [running, entity] = [record.running(bytes, at), record.entity(bytes, at)]
  const writer = new PreambleWriter(out, { kind: bytes[at + KIND_AT]!, position, step, running, entity, changes })
  let before: number | undefined
  for (let left = changes; left > 0; left--) before = unpackChange(input, bodyAt, out, writer, before)
  const collection = input.slice(input.uleb())
  writer.finish(collection, input.slice(input.uleb()))
}

/** Appends one change to the preamble, and returns its offset there. `before`: the offset of the previous change. */
function unpackChange(
  input: Bytes,
  bodyAt: number,
  out: GrowingBytes,
  writer: PreambleWriter,
  before: number | undefined,
): number {
  const inBody = (length: number) => {
    const from = bodyAt + input.byte()
    return input.bytes.subarray(from, from + length)
  }
  const flags = input.byte()
  const hash = input.slice(32)
  let actor: Uint8Array | undefined
  if (!(flags & SAME_ACTOR)) actor = flags & ACTOR_IN_BODY ? inBody(16) : input.slice(16)
  const seq = actor ? input.uleb() : change.seq(out.bytes, before!) + 1
  const startOp = flags & NEXT_OP ? change.maxOp(out.bytes, before!) + 1 : input.uleb()
  const c = writer.change({ seq, startOp, maxOp: startOp + input.uleb() - 1, binds: (flags & BINDS) !== 0 })
  const actorBefore = before === undefined ? 0 : change.actorAt(before)
  out.bytes.set(hash, c)
  out.bytes.set(actor ?? out.bytes.subarray(actorBefore, actorBefore + 16), change.actorAt(c))
  if (flags & FOLLOWS) writer.follow()
  else {
    const deps = flags & DEP_IN_BODY ? inBody(32) : input.slice(32 * input.uleb())
    const depsAt = writer.deps(deps.length / 32)
    out.bytes.set(deps, depsAt)
  }
  return c
}
