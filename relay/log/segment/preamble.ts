/**
 * A preamble has the facts of one record that look-ups need, at offsets where they can be read without decoding. The
 * index of an open segment consists of preambles. A look-up in a sealed segment makes the preamble of the one record
 * that it reads (`unpackRecord`). Numbers are big-endian.
 *
 * Length u32 | changes u16 | kind u8 | zero u8 | position u64 | step u32 from the previous position | running hash, 8
 *   | entity, 16 of its sha256 | changes | collection, principal: each UTF-8 and then its length u16.
 * Change: hash 32 | actor 16 | seq u32 | startOp u32 | maxOp u32 | flags u8 (1: the change binds its actor; 2: it is an
 *   orphan) | number of deps u16, then 32 bytes each.
 * If the only dep of a change is the change before it, the dep is left out. The u16 is then 32,768 plus the number of
 * bytes from the start of the change before to the start of this one.
 */
import type { Actor, Entry, Hash } from "../../../src/wire/protocol.ts"
import { type GrowingBytes, readU64, writeU64 } from "../bytes.ts"
import type { AppendedChange, Known } from "../contract.ts"
import type { Key } from "./keys.ts"

/** Bytes of a preamble before its changes. */
const FIXED_BYTES = 44
const ENTITY_AT = 28
/** Bytes of a change before its deps. */
const CHANGE_BYTES = 63
/**
 * Marks a change whose only dep is the change before it. Instead of the number of deps, such a change has this number
 * plus the distance of the two changes in bytes.
 */
const FOLLOWS = 0x8000
const BINDS = 1
/** The change depends on a lost change. It is served but does not count as known. */
const ORPHAN = 2
const kinds: readonly Entry["kind"][] = ["change", "snapshot", "tombstone"]

/** The facts at the beginning of a preamble. A record has them as well. */
export interface PreambleFacts {
  readonly kind: number
  readonly position: number
  /** The position minus that of the record before this one. */
  readonly step: number
  readonly running: Uint8Array
  readonly entity: Uint8Array
  readonly changes: number
}

export const preamble = {
  length: (bytes: Buffer, at: number) => bytes.readUInt32BE(at),
  changes: (bytes: Buffer, at: number) => bytes.readUInt16BE(at + 4),
  kind: (bytes: Buffer, at: number) => kinds[preamble.kindNumber(bytes, at)],
  kindNumber: (bytes: Buffer, at: number) => bytes[at + 6]!,
  position: (bytes: Buffer, at: number) => readU64(bytes, at + 8),
  step: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 16),
  running: (bytes: Buffer, at: number) => bytes.subarray(at + 20, at + 28),
  entityAt: ENTITY_AT,
  entity: (bytes: Buffer, at: number): Key => bytes.subarray(at + ENTITY_AT, at + FIXED_BYTES),
  isOf: (bytes: Buffer, at: number, entity: Key) =>
    bytes.compare(entity, 0, 16, at + ENTITY_AT, at + FIXED_BYTES) === 0,
  /** The collection and the principal, as they are in the preamble. */
  texts(bytes: Buffer, at: number): readonly [collection: Buffer, principal: Buffer] {
    const end = at + preamble.length(bytes, at) - 2
    const principalAt = end - bytes.readUInt16BE(end)
    const collectionAt = principalAt - 2 - bytes.readUInt16BE(principalAt - 2)
    return [bytes.subarray(collectionAt, principalAt - 2), bytes.subarray(principalAt, end)]
  },
  collection: (bytes: Buffer, at: number) => preamble.texts(bytes, at)[0].toString("utf8"),
  /** The principal to which this record binds actors. */
  principal: (bytes: Buffer, at: number) => preamble.texts(bytes, at)[1].toString("utf8"),
}

/** Reads the changes in a preamble. Most functions take the offset of a change, at which its hash begins. */
export const change = {
  actorAt: (at: number) => at + 32,
  /** Whether the only dep of the change is the change before it in the record. */
  follows: (bytes: Buffer, at: number) => bytes.readUInt16BE(at + CHANGE_BYTES - 2) >= FOLLOWS,
  /** How many deps the change has. */
  depCount(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return deps >= FOLLOWS ? 1 : deps
  },
  /** The offset of the first dep. The deps follow each other without gaps. */
  firstDep(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return deps >= FOLLOWS ? at - (deps - FOLLOWS) : at + CHANGE_BYTES
  },
  first: (preambleAt: number) => preambleAt + FIXED_BYTES,
  next(bytes: Buffer, at: number): number {
    const deps = bytes.readUInt16BE(at + CHANGE_BYTES - 2)
    return at + CHANGE_BYTES + (deps >= FOLLOWS ? 0 : 32 * deps)
  },
  hash: (bytes: Buffer, at: number): Hash => bytes.toString("hex", at, at + 32),
  actor: (bytes: Buffer, at: number): Actor => bytes.toString("hex", at + 32, at + 48),
  seq: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 48),
  startOp: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 52),
  maxOp: (bytes: Buffer, at: number) => bytes.readUInt32BE(at + 56),
  binds: (bytes: Buffer, at: number) => (bytes[at + 60]! & BINDS) !== 0,
  isOrphan: (bytes: Buffer, at: number) => (bytes[at + 60]! & ORPHAN) !== 0,
  setOrphan(bytes: Buffer, at: number): void {
    bytes[at + 60]! |= ORPHAN
  },

  deps(bytes: Buffer, at: number): Hash[] {
    const first = change.firstDep(bytes, at)
    return Array.from({ length: change.depCount(bytes, at) }, (_, i) =>
      bytes.toString("hex", first + 32 * i, first + 32 * (i + 1)),
    )
  },

  known: (bytes: Buffer, preambleAt: number, at: number): Known => ({
    actor: change.actor(bytes, at),
    seq: change.seq(bytes, at),
    startOp: change.startOp(bytes, at),
    maxOp: change.maxOp(bytes, at),
    deps: change.deps(bytes, at),
    position: preamble.position(bytes, preambleAt),
  }),
}

/** The numbers of a change in a preamble. */
interface ChangeNumbers {
  readonly seq: number
  readonly startOp: number
  readonly maxOp: number
  readonly binds: boolean
}

/**
 * Appends a preamble to `out`, piece by piece: first its changes with their deps, then `finish`. Throws a RangeError
 * for a number that does not fit into its field; `out` may then have a part of the preamble.
 */
export class PreambleWriter {
  readonly #out: GrowingBytes
  readonly #start: number
  /** The offset of the previous change, and the offset of the change that is being written. */
  #before = 0
  #at = 0

  constructor(out: GrowingBytes, { kind, position, step, running, entity, changes }: PreambleFacts) {
    this.#out = out
    this.#start = out.reserve(FIXED_BYTES)
    const { bytes } = out
    bytes.writeUInt16BE(changes, this.#start + 4)
    bytes[this.#start + 6] = kind
    bytes[this.#start + 7] = 0
    writeU64(bytes, position, this.#start + 8)
    bytes.writeUInt32BE(step, this.#start + 16)
    bytes.set(running, this.#start + 20)
    bytes.set(entity, this.#start + ENTITY_AT)
  }

  /** Begins a change without deps. Returns its offset: the caller writes its hash there, and then its actor. */
  change({ seq, startOp, maxOp, binds }: ChangeNumbers): number {
    this.#before = this.#at
    this.#at = this.#out.reserve(CHANGE_BYTES)
    const { bytes } = this.#out
    bytes.writeUInt32BE(seq, this.#at + 48)
    bytes.writeUInt32BE(startOp, this.#at + 52)
    bytes.writeUInt32BE(maxOp, this.#at + 56)
    bytes[this.#at + 60] = binds ? BINDS : 0
    bytes.writeUInt16BE(0, this.#at + CHANGE_BYTES - 2)
    return this.#at
  }

  /**
   * Makes the previous change the only dep of this one. Returns false when there is no previous change, or when the
   * distance to the previous change does not fit into the u16.
   */
  follow(): boolean {
    const distance = this.#at - this.#before
    if (this.#before === 0 || distance >= FOLLOWS) return false
    this.#out.bytes.writeUInt16BE(FOLLOWS + distance, this.#at + CHANGE_BYTES - 2)
    return true
  }

  /** Makes room for the deps of the change. Returns the offset at which the caller writes them, 32 bytes each. */
  deps(count: number): number {
    if (count >= FOLLOWS) throw new RangeError(`a change has ${count} deps, more than a record can hold`)
    this.#out.bytes.writeUInt16BE(count, this.#at + CHANGE_BYTES - 2)
    return this.#out.reserve(32 * count)
  }

  finish(collection: Uint8Array, principal: Uint8Array): void {
    for (const text of [collection, principal]) {
      const at = this.#out.reserve(text.length + 2)
      this.#out.bytes.set(text, at)
      this.#out.bytes.writeUInt16BE(text.length, at + text.length)
    }
    this.#out.bytes.writeUInt32BE(this.#out.length - this.#start, this.#start)
  }
}

/** The place of a record in its log. */
export interface Standing {
  readonly position: number
  /** The position of the previous record, and the running hash there. */
  readonly previous: number
  readonly previousRunning: Uint8Array
}

/**
 * Appends the preamble of an entry, with the running hash before the entry. Throws a RangeError for a number of 2^32 or
 * more, and for a change with a negative number of operations; `out` may then have a part of the preamble.
 */
export function writePreamble(
  out: GrowingBytes,
  { position, previous, previousRunning }: Standing,
  entity: Key,
  entry: Entry,
  changes: readonly AppendedChange[],
): void {
  const writer = new PreambleWriter(out, {
    kind: kinds.indexOf(entry.kind),
    position,
    step: position - previous,
    running: previousRunning,
    entity,
    changes: changes.length,
  })
  let binding = false
  let before: Hash | undefined
  for (const { hash, actor, seq, startOp, maxOp, deps, binds = false } of changes) {
    if (maxOp < startOp - 1) throw new RangeError(`a change has startOp ${startOp} but maxOp ${maxOp}`)
    const at = writer.change({ seq, startOp, maxOp, binds })
    out.bytes.write(hash, at, 32, "hex")
    out.bytes.write(actor, change.actorAt(at), 16, "hex")
    if (deps.length !== 1 || deps[0] !== before || !writer.follow()) {
      let end = writer.deps(deps.length)
      for (const dep of deps) end += out.bytes.write(dep, end, 32, "hex")
    }
    binding ||= binds
    before = hash
  }
  writer.finish(Buffer.from(entry.collection), Buffer.from(binding ? (entry.by ?? "") : ""))
}
