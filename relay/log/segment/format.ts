/**
 * A segment file: a header, once more in the second block (a lost block takes one of them), then records. Numbers are
 * big-endian.
 *
 * Header (128 bytes, at 0 and 4,096): "HEADWLOG" | version u16 | flags u16 (1: begins a running hash of its own) | number u32
 *   | base u64, the position before its first entry | running hash there, 8 | marker u32 | salt u32
 *   | segment before it u32 | workspace, length u8 and UTF-8 | zeros | crc u32 of all that at byte 124.
 * Record: marker u32 | head crc u32 | length u32 | head length u32 | body crc u32 | changes u16 | kind u8 | zero u8
 *   | position u64 | step u32 since the position before | running hash, 8 | entity, 16 of its sha256
 *   | changes | collection, principal: UTF-8 and then length u16 — the head ends here; the body is the entry as on the wire.
 * Change: hash 32 | actor 16 | seq u32 | startOp u32 | maxOp u32 | flags u8 (1: binds its actor) | deps u16, 32 each.
 *
 * The head has what look-ups need, with a checksum of its own, so they read neither chunks nor CBOR. The marker and the
 * checksums' first value are a secret of the log: what a client sends can look like a record to nobody who searches for
 * the next one behind a damaged one. The running hash is sha256 over the one before and everything from `changes` on.
 */
import { hash } from "node:crypto"
import { crc32 } from "node:zlib"
import type { Actor, Entry, Hash } from "../../../src/wire/protocol.ts"
import type { AppendedChange, Known } from "../contract.ts"

const COPY = 128
const COPIES = [0, 4096] as const
/** Where the first record begins. */
export const HEADER = COPIES[1] + COPY
const MAGIC = "HEADWLOG"
const VERSION = 1

export interface Marks {
  readonly marker: number
  readonly salt: number
}

/** Where a segment begins. */
export interface Origin {
  readonly number: number
  /** The number of the segment before it, 0 for none. */
  readonly after: number
  /** The position before its first entry. */
  readonly base: number
  /** The running hash there, 8 bytes. */
  readonly start: Buffer
  /** That hash continues nothing: what came before is broken (or there is nothing before). */
  readonly fresh: boolean
  readonly marks: Marks
}

export function encodeHeader(workspace: string, origin: Origin): Buffer {
  const bytes = Buffer.alloc(HEADER)
  bytes.write(MAGIC, "latin1")
  bytes.writeUInt16BE(VERSION, 8)
  bytes.writeUInt16BE(origin.fresh ? 1 : 0, 10)
  bytes.writeUInt32BE(origin.number, 12)
  writeU64(bytes, origin.base, 16)
  origin.start.copy(bytes, 24)
  bytes.writeUInt32BE(origin.marks.marker, 32)
  bytes.writeUInt32BE(origin.marks.salt, 36)
  bytes.writeUInt32BE(origin.after, 40)
  bytes[44] = bytes.write(workspace, 45, 64)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, COPY - 4)), COPY - 4)
  bytes.copy(bytes, COPIES[1], 0, COPY)
  return bytes
}

/** What differs between two encoded headers. */
export function differences(found: Buffer, right: Buffer): { readonly at: number; readonly copy: Buffer }[] {
  const copies = COPIES.map((at) => ({ at, copy: right.subarray(at, at + COPY) }))
  return copies.filter(({ at, copy }) => !copy.equals(found.subarray(at, at + COPY)))
}

/** Undefined when neither copy is whole. Throws for a version that is not known here. */
export function decodeHeader(bytes: Buffer): Origin | undefined {
  for (const at of COPIES) {
    const copy = bytes.subarray(at, at + COPY)
    if (copy.length < COPY || copy.readUInt32BE(COPY - 4) !== crc32(copy.subarray(0, COPY - 4))) continue
    if (copy.toString("latin1", 0, 8) !== MAGIC || copy.readUInt16BE(8) !== VERSION) {
      throw new Error(`a segment of a format that is not known here (version ${copy.readUInt16BE(8)})`)
    }
    return {
      number: copy.readUInt32BE(12),
      after: copy.readUInt32BE(40),
      base: readU64(copy, 16),
      start: Buffer.from(copy.subarray(24, 32)),
      fresh: (copy.readUInt16BE(10) & 1) !== 0,
      marks: { marker: copy.readUInt32BE(32), salt: copy.readUInt32BE(36) },
    }
  }
  return undefined
}

// Records -----------------------------------------------------------------------------------------------------------

export const HEAD = 60
const ENTITY = 44
const CHANGE = 63
const BINDS = 1
/** Only in memory: a change whose ancestors were lost is served, and not known. */
const ORPHAN = 2
/** What claims to be longer is damaged. Above any entry that fits into a message, and its head. */
const LONGEST = 16 * 2 ** 20
export const LONGEST_ENTRY = LONGEST / 2
const kinds = ["change", "snapshot", "tombstone"] as const

export const record = {
  length: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 8),
  headLength: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 12),
  changes: (bytes: Buffer, at: number) => bytes.readUInt16BE(at + 20),
  kind: (bytes: Buffer, at: number) => kinds[bytes[at + 22]!],
  position: (bytes: Buffer, at: number) => readU64(bytes, at + 24),
  /** The position of the record before it. */
  previous: (bytes: Buffer, at: number) => readU64(bytes, at + 24) - bytes.readUInt32BE(at + 32),
  running: (bytes: Buffer, at: number) => bytes.subarray(at + 36, at + 44),
  entityAt: ENTITY,
  entity: (bytes: Buffer, at: number): Key => bytes.subarray(at + ENTITY, at + HEAD),
  isOf: (bytes: Buffer, at: number, entity: Key) => bytes.compare(entity, 0, 16, at + ENTITY, at + HEAD) === 0,
  bodyLength: (bytes: Buffer, at: number) => record.length(bytes, at) - record.headLength(bytes, at),
  body: (bytes: Buffer, at: number) =>
    bytes.subarray(at + bytes.readUInt32BE(at + 12), at + bytes.readUInt32BE(at + 8)),

  collection(bytes: Buffer, at: number): string {
    const end = principalAt(bytes, at) - 2
    return bytes.toString("utf8", end - bytes.readUInt16BE(end), end)
  },
  /** Who the actors that this record binds belong to. */
  principal: (bytes: Buffer, at: number) =>
    bytes.toString("utf8", principalAt(bytes, at), at + record.headLength(bytes, at) - 2),

  /**
   * Whether a whole head that nobody has changed begins here: `"short"` when `bytes` end before that can be said. Only
   * after a yes may the fields be read.
   */
  check(bytes: Buffer, at: number, marks: Marks): boolean | "short" {
    if (bytes.length - at < HEAD) return "short"
    if (bytes.readUInt32BE(at) !== marks.marker) return false
    const head = record.headLength(bytes, at)
    if (head < HEAD || head > record.length(bytes, at) || record.length(bytes, at) > LONGEST) return false
    if (bytes.length - at < head) return "short"
    return bytes.readUInt32BE(at + 4) === crc32(bytes.subarray(at + 8, at + head), marks.salt)
  },

  /** Whether the body is the one that was written; only after `check`, with the whole record in `bytes`. */
  whole: (bytes: Buffer, at: number, { salt }: Marks) =>
    bytes.readUInt32BE(at + 16) === crc32(record.body(bytes, at), salt),
}

function principalAt(bytes: Buffer, at: number): number {
  const end = at + record.headLength(bytes, at) - 2
  return end - bytes.readUInt16BE(end)
}

/** The changes in a record's head, by where they begin; a change begins with its hash. */
export const change = {
  actorAt: (at: number) => at + 32,
  /** The deps are behind each other, up to the next change. */
  firstDep: (at: number) => at + CHANGE,
  first: (recordAt: number) => recordAt + HEAD,
  next: (bytes: Buffer, at: number) => at + CHANGE + 32 * bytes.readUInt16BE(at + CHANGE - 2),
  hash: (bytes: Buffer, at: number): Hash => bytes.toString("hex", at, at + 32),
  actor: (bytes: Buffer, at: number): Actor => bytes.toString("hex", at + 32, at + 48),
  seq: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 48),
  maxOp: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 56),
  binds: (bytes: Buffer, at: number) => (bytes[at + 60]! & BINDS) !== 0,
  orphan: (bytes: Buffer, at: number) => (bytes[at + 60]! & ORPHAN) !== 0,
  setOrphan(bytes: Buffer, at: number): void {
    bytes[at + 60]! |= ORPHAN
  },

  deps(bytes: Buffer, at: number): Hash[] {
    const deps: Hash[] = []
    const end = change.next(bytes, at)
    for (let dep = at + CHANGE; dep < end; dep += 32) deps.push(bytes.toString("hex", dep, dep + 32))
    return deps
  },

  known: (bytes: Buffer, recordAt: number, at: number): Known => ({
    actor: change.actor(bytes, at),
    seq: change.seq(bytes, at),
    startOp: bytes.readUInt32BE(at + 52),
    maxOp: change.maxOp(bytes, at),
    deps: change.deps(bytes, at),
    position: record.position(bytes, recordAt),
  }),
}

export interface Place {
  readonly position: number
  /** The position and the running hash of the record before it. */
  readonly previous: number
  readonly running: Uint8Array
}

/** Appends the record to `out`. Throws, having left half of it there, when a number is too large for its field. */
export function writeRecord(
  out: Output,
  marks: Marks,
  place: Place,
  entity: Key,
  entry: Entry,
  changes: readonly AppendedChange[],
  body: Uint8Array,
): void {
  let deps = 0
  let binds = false
  for (const added of changes) {
    deps += added.deps.length
    binds ||= added.binds === true
  }
  const texts = [entry.collection, binds ? (entry.by ?? "") : ""]
  const room = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 2, 0)
  const headLength = HEAD + CHANGE * changes.length + 32 * deps + room
  const length = headLength + body.length
  const start = out.reserve(length)
  const { bytes } = out
  bytes.writeUInt32BE(marks.marker, start)
  bytes.writeUInt32BE(length, start + 8)
  bytes.writeUInt32BE(headLength, start + 12)
  bytes.writeUInt32BE(crc32(body, marks.salt), start + 16)
  bytes.writeUInt16BE(changes.length, start + 20)
  bytes[start + 22] = kinds.indexOf(entry.kind)
  bytes[start + 23] = 0
  writeU64(bytes, place.position, start + 24)
  bytes.writeUInt32BE(place.position - place.previous, start + 32)
  bytes.set(place.running, start + 36)
  bytes.set(entity, start + ENTITY)

  let at = start + HEAD
  for (const added of changes) at = writeChange(bytes, at, added)
  for (const text of texts) {
    const length = bytes.write(text, at)
    at = bytes.writeUInt16BE(length, at + length)
  }
  bytes.set(body, at)
  bytes.write(hash("sha256", bytes.subarray(start + 20, start + length), "hex"), start + 36, 8, "hex")
  bytes.writeUInt32BE(crc32(bytes.subarray(start + 8, start + headLength), marks.salt), start + 4)
}

function writeChange(
  bytes: Buffer,
  at: number,
  { hash, actor, seq, startOp, maxOp, binds, deps }: AppendedChange,
): number {
  bytes.write(hash, at, 32, "hex")
  bytes.write(actor, at + 32, 16, "hex")
  bytes.writeUInt32BE(seq, at + 48)
  bytes.writeUInt32BE(startOp, at + 52)
  bytes.writeUInt32BE(maxOp, at + 56)
  bytes[at + 60] = binds ? BINDS : 0
  bytes.writeUInt16BE(deps.length, at + 61)
  let next = at + CHANGE
  for (const dep of deps) next += bytes.write(dep, next, 32, "hex")
  return next
}

/** Bytes that grow at the end. */
export class Output {
  bytes: Buffer
  length = 0

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
  }

  /** Makes room for so many more and returns where it begins. */
  reserve(length: number): number {
    const at = this.length
    this.length += length
    if (this.length > this.bytes.length) {
      const more = Buffer.allocUnsafeSlow(Math.max(this.length, Math.ceil(this.bytes.length * 1.5)))
      this.bytes.copy(more, 0, 0, at)
      this.bytes = more
    }
    return at
  }

  get taken(): Buffer {
    return this.bytes.subarray(0, this.length)
  }
}

// Keys --------------------------------------------------------------------------------------------------------------

/** What indexes look things up by: 16 bytes. Whoever finds something compares it in full. */
export type Key = Buffer

export const entityKey = (entity: string): Key => keyOfHash(hash("sha256", entity, "hex"))

/** The same as a name for maps. */
export const keyName = (key: Key): string => key.toString("latin1")

/** A change within an entity: the first 16 bytes of its hash, exclusive or with the entity's key. */
export const changeKey = (entity: Key, hash: Hash): Key => within(entity, keyOfHash(hash))

/** An actor within an entity: the actor's key (`ActorKeys`), exclusive or with the entity's. */
export const tailKey = (entity: Key, actor: Key): Key => within(entity, Buffer.from(actor))

function within(entity: Key, key: Key): Key {
  for (let i = 0; i < 16; i++) key[i]! ^= entity[i]!
  return key
}

function keyOfHash(hash: string): Key {
  const key = Buffer.allocUnsafe(16)
  key.write(hash, 0, 16, "hex")
  return key
}

/** The same keys, written to `to`: exclusive or of the entity's, and of the hash or the actor's key that `from` has. */
export function writeKeyWithin(to: Buffer, at: number, entity: Buffer, entityAt: number, from: Buffer, fromAt: number) {
  for (let i = 0; i < 16; i++) to[at + i] = from[fromAt + i]! ^ entity[entityAt + i]!
}

/** Actors of which the key is remembered: those who write at the same time. */
const RECENT = 256

/**
 * Keys of actors: 16 bytes of sha256 over marker, salt and actor. Anybody may choose an actor, so only a secret keeps
 * what he chooses from falling on one key, where each look-up would go through all of it, for as long as the log lives.
 */
export class ActorKeys {
  readonly #salted = Buffer.alloc(24)
  readonly #recent = new Map<Actor, Key>()

  constructor({ marker, salt }: Marks) {
    this.#salted.writeUInt32BE(marker, 0)
    this.#salted.writeUInt32BE(salt, 4)
  }

  of(actor: Actor): Key {
    let key = this.#recent.get(actor)
    if (key) return key
    if (this.#recent.size >= RECENT) this.#recent.clear()
    this.#salted.write(actor, 8, 16, "hex")
    key = keyOfHash(hash("sha256", this.#salted, "hex"))
    this.#recent.set(actor, key)
    return key
  }
}

/**
 * 32 bits of the key at `at`. The salt alone would not keep keys from falling together that differ as an attacker
 * likes: it is enough because half of every key is a hash or a secret, which nobody can choose in all its bits.
 */
export function fingerprint(bytes: Buffer, at: number, salt: number): number {
  let h = salt
  for (let i = at; i < at + 16; i += 4) {
    const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    h = Math.imul(h ^ word, 0x9e3779b1)
    h ^= h >>> 15
  }
  h = Math.imul(h, 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}

/** That of a key as `writeKeyWithin` writes it. */
export function fingerprintWithin(
  entity: Buffer,
  entityAt: number,
  from: Buffer,
  fromAt: number,
  salt: number,
): number {
  writeKeyWithin(scratch, 0, entity, entityAt, from, fromAt)
  return fingerprint(scratch, 0, salt)
}

const scratch = Buffer.alloc(16)

export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at)
  bytes.writeUInt32BE(value % 2 ** 32, at + 4)
}

export const readU64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
