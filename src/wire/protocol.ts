/**
 * The wire: encodes every message and entry as bytes, and decodes it. `docs/protocol.md` is the specification (CDDL,
 * MUST and SHOULD). The tables in this file define the same messages, one line for each field. `fields.ts` has the
 * kinds of values.
 *
 * Each WebSocket frame (RFC 6455) is one message in CBOR's core deterministic encoding (RFC 8949 section 4.2.1), so a
 * message has one form only. Map keys ascend by length, then by bytes. So `t`, the type, is always the first key.
 *
 * Unknown message types and unknown keys are ignored. Everything else that does not fit the tables is `MESSAGE_BAD`,
 * and everything longer than they allow is `TOO_LARGE`. Reading throws no other code, takes time linear in the frame,
 * makes no object for a value under an unknown key, and allocates nothing for a length before it is known that so many
 * bytes follow.
 */

import { type Code, HeadwaterError, isCode } from "../base/errors.ts"
import { Major, Reader, type Writer } from "./cbor.ts"
import {
  bool,
  bytes,
  digits,
  type Fields,
  list,
  oneOf,
  optional,
  orNull,
  printable,
  read,
  record,
  type Type,
  text,
  tuple,
  uint,
  write,
  yes,
} from "./fields.ts"
import { isId, uuidBytes, uuidText } from "./ids.ts"
import type * as m from "./message-types.ts"
import { limits, partsOf } from "./message-types.ts"
import { ReceivedChunks } from "./received-chunks.ts"
import type { Owner } from "./sequence.ts"
import { type BlockSize, blockSize, type Effort, encodeChunks, makeChunks, openBlock } from "./short-chunks.ts"

export { isId } from "./ids.ts"
export * from "./message-types.ts"

/**
 * Encodes a message as a frame. Throws `MESSAGE_BAD` when a field does not fit the specification, `TOO_LARGE` when it
 * exceeds a limit.
 */
export function encode(message: m.ClientMessage | m.RelayMessage): Uint8Array {
  const question = message.t === "grants" && !("grants" in message)
  const type = question ? client.grants : (relayTypes.get(message.t) ?? clientTypes.get(message.t))
  if (!type) throw new HeadwaterError("MESSAGE_BAD", `there is no message of type ${message.t}`)
  return write(type, message)
}

/** Decodes a client's frame. Returns null for an unknown message type: such a message must be ignored. */
export const decodeClient = (frame: Uint8Array): m.ClientMessage | null => readMessage(clientTypes, frame)

/** Decodes a relay's frame. Returns null for an unknown message type: such a message must be ignored. */
export const decodeRelay = (frame: Uint8Array): m.RelayMessage | null => readMessage(relayTypes, frame)

/** Encodes one entry. The bytes are the same in a frame and in a log. */
export const encodeEntry = (value: m.Entry): Uint8Array => write(entry, value)

/**
 * Encodes one entry for a device's disk, with its chunks as they are. A record on the disk has one change, and the
 * short form would save only 3 bytes of it. It would save more for a named change. But to find out whether a change is
 * a named one, the named change must be made again.
 */
export const encodeSaved = (value: m.Entry): Uint8Array => write(saved, value)

export const decodeEntry = (bytes: Uint8Array): m.Entry => read(entry, bytes)

/**
 * Encodes one item for `encodeEntries`. For an item that is an entry without `at`, returns the bytes of `encodeEntry`.
 */
export const encodeItem = (value: m.Item): Uint8Array => write(item, value)

/**
 * Returns how many chunks an encoded item has, and how many bytes these chunks have after decoding. Both are 0 for a
 * run and for an entry with a place (`Item`). All items of a frame together may have at most `limits.chunks` chunks,
 * and at most `limits.message` bytes of chunks.
 */
export function decodedSize(item: Uint8Array): BlockSize {
  const input = new Reader(item)
  if (input.peek() >> 5 === Major.map)
    for (let left = input.head(Major.map), key = ""; left > 0; left--) {
      key = input.key(key)
      if (key === "s") return blockSize(input.bytes())
      input.skip()
    }
  return { bytes: 0, chunks: 0 }
}

/**
 * Encodes an `entries` message as `encode` does, from items that are encoded already. With it, the relay encodes a new
 * entry only once for all connections.
 */
export function encodeEntries(message: Omit<m.Entries, "items">, items: readonly Uint8Array[]): Uint8Array {
  return write(entriesOfEncoded, { ...message, items })
}

// ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const id = text({ test: isId }, "is not an id")
const sixteen = bytes(16)
/** The id of an entity or a workspace. A UUID in its usual form is 16 bytes on the wire, any other id is a text. */
const uuidOrId: Type<string> = {
  write(out, value) {
    const uuid = uuidBytes(value)
    if (uuid === undefined) id.write(out, value)
    else out.bytes(uuid)
  },
  read(input) {
    if (input.peek() >> 5 === Major.bytes) return uuidText(sixteen.read(input))
    const value = id.read(input)
    return uuidBytes(value) === undefined ? value : input.fail("is a UUID that is not encoded as 16 bytes")
  },
}
const pushId = text(/^[\x21-\x7e]{1,32}$/, "is not the id of a push")
const token = text(/^[\x21-\x7e]{1,8192}$/, "is not a token")
const pattern = text(/^(?!$)[A-Za-z0-9_-]{0,64}\*?$/, "is not a workspace id or prefix*")
const principal = printable(256)
const name = printable(64)
const access: Type<m.Word<m.Access>> = name
const anyCode = text(/^[A-Z][A-Z_]{0,31}$/, "is not an error code")
const code: Type<Code> = {
  write: anyCode.write,
  /** A code that only a newer relay knows is read as `REJECTED`. A change that is refused with it is set aside. */
  read(input) {
    const value = anyCode.read(input)
    return isCode(value) ? value : "REJECTED"
  },
}
const cursor = bytes(16)
const sha256 = bytes(32)
/** The smallest possible change has this many bytes. */
const SHORTEST_CHUNK = 34
/**
 * The bytes of one chunk. A chunk longer than `limits.chunk` can be read, so that the relay refuses only this chunk and
 * not the whole frame.
 */
const chunk = bytes(SHORTEST_CHUNK, limits.message)
const hash = digits(32)
const actor = digits(16)
const heads = list(hash, limits.heads)
const page: Type<readonly m.EntityHeads[]> = list(tuple(uuidOrId, heads), limits.page)
const authors = list(tuple(actor, principal), 2 ** 16)
const bounds = record<m.Limits>({ message: uint(), chunk: uint(), ops: uint() })

// ── entries ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An entry as it is on the wire: entity, collection and the chunks have keys of one letter. */
interface WireEntry extends Omit<m.Entry, "entity" | "collection" | "kind" | "chunks"> {
  readonly e: string
  readonly c: string
  /** The chunks in the short form; absent when there are none. */
  readonly s?: Uint8Array
  /** Absent for a change. */
  readonly kind?: m.Entry["kind"]
}
const wireEntry = record<WireEntry>({
  e: uuidOrId,
  c: id,
  s: optional(bytes(0, limits.message)),
  kind: optional(name),
  by: optional(principal),
  adopted: optional(yes),
  once: optional(bytes(16)),
  if: optional(heads),
  key: optional(bytes(1, 64)),
  blobs: optional(list(bytes(1, 64), 1024)),
  authors: optional(authors),
  row: optional(bytes(0, limits.message)),
  projection: optional(name),
  mac: optional(bytes(32)),
})

const entryType = (effort: Effort): Type<m.Entry> => ({
  write(out, value) {
    const { entity: e, collection: c, chunks, by, adopted, once, key, blobs, authors, row, projection, mac } = value
    if (!fits(value)) out.fail("has the wrong number of chunks")
    out.unpack(checkedBytes(out, chunks), chunks.length)
    const s = chunks.length > 0 ? blockOf(value, effort) : undefined
    const kind = value.kind === "change" ? undefined : value.kind
    // Fields that are undefined are not written. Each field is listed, because writing takes three times as long for an
    // object that was made with `...`.
    const wire = { c, e, s, kind, by, adopted, once, if: value.if, key, blobs, authors, row, projection, mac }
    wireEntry.write(out, wire as WireEntry)
  },
  read(input) {
    const { e: entity, c: collection, s: block, kind, ...rest } = wireEntry.read(input)
    const chunks = block ? readBlock(input, { entity, collection }, block) : []
    if (kind === "change" || (block && chunks.length === 0))
      input.fail("ends an entry whose kind or block must be left out")
    const value: m.Entry = { entity, collection, kind: kind ?? "change", chunks, ...rest }
    return fits(value) ? value : input.fail("ends an entry with the wrong number of chunks")
  },
})

/** Returns the block from which the chunks of an entry were decoded. If there is no such block, encodes the chunks. */
const blockOf = (entry: m.Entry, effort: Effort): Uint8Array =>
  ReceivedChunks.blockOf(entry.chunks, entry) ?? encodeChunks(entry, entry.chunks, effort)

/** Returns the bytes of all chunks together. Throws when a chunk is too short or too long for any receiver. */
function checkedBytes(out: Writer, chunks: m.Entry["chunks"]): number {
  out.where = "chunks"
  let bytes = 0
  for (const { length } of chunks) {
    out.bounded(length, SHORTEST_CHUNK, limits.message)
    bytes += length
  }
  return bytes
}

/**
 * Opens the block of an entry. Returns the list of the entry's chunks, which is filled once the whole frame was
 * read. Until then the frame may still be refused, because its blocks together would make too many chunks or too many
 * bytes.
 */
function readBlock(input: Reader, owner: Owner, block: Uint8Array): readonly Uint8Array[] {
  const opened = decoding(input, () => {
    const { bytes, chunks } = blockSize(block)
    input.unpack(bytes, chunks)
    return openBlock(block)
  })
  const chunks = new Array<Uint8Array>(opened.chunks)
  input.afterwards(() => {
    const made = decoding(input, () => makeChunks(owner, opened))
    for (const [i, { chunk }] of made.entries()) chunks[i] = chunk
    const changes = made.map(({ change }) => change)
    ReceivedChunks.note(chunks, owner, block, changes)
  })
  return chunks
}

function decoding<T>(input: Reader, decode: () => T): T {
  input.where = "chunks"
  try {
    return decode()
  } catch (error) {
    if (error instanceof HeadwaterError && error.code === "CHUNK_BAD") input.fail("cannot be decoded", error)
    throw error
  }
}

const entry = entryType("deflated")
const saved = entryType("whole")

function fits({ kind, chunks }: m.Entry): boolean {
  if (kind === "change") return chunks.length > 0
  if (kind === "snapshot") return chunks.length === 1
  return kind !== "tombstone" || chunks.length === 0
}

const placed = tuple(entry, cursor)
const run = tuple(pushId, uint(limits.entries), uint(limits.entries))
/**
 * An item of `entries`. In the frame, a map is an entry, an array of two is an entry and a place (`at`), and an array
 * of three is a run.
 */
const item: Type<m.Item> = {
  write(out, value) {
    if ("own" in value) run.write(out, [value.own, value.from, value.to])
    else if (value.at) placed.write(out, [value.entry, value.at])
    else entry.write(out, value.entry)
  },
  read(input) {
    if (input.peek() >> 5 === Major.map) return { entry: entry.read(input) }
    if (input.peek() === 0x82) {
      const [value, at] = placed.read(input)
      return { entry: value, at }
    }
    const [own, from, to] = run.read(input)
    return from < to ? { own, from, to } : input.fail("is an empty run")
  },
}
/** An item that is encoded already. */
const encoded: Type<Uint8Array> = {
  write: (out, value) => out.raw(value),
  read: (input) => input.fail("is never read"),
}

// ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const message = <T extends { readonly t: string }>(t: T["t"], fields: Fields<Omit<T, "t">>): Type<T> =>
  record<T>({ t: oneOf(t), ...fields } as Fields<T>)

type Types<M extends { readonly t: string }> = { readonly [T in M["t"]]: Type<Extract<M, { readonly t: T }>> }

const presence = message<m.Presence>("presence", {
  w: uuidOrId,
  from: optional(name),
  data: orNull(bytes(0, limits.presence)),
})

const client: Types<m.ClientMessage> = {
  pull: message<m.Pull>("pull", {
    w: uuidOrId,
    cursor: optional(orNull(cursor)),
    reach: optional(orNull(cursor)),
    credit: uint(),
  }),
  push: message<m.Push>("push", {
    w: uuidOrId,
    id: pushId,
    entries: list(entry, limits.entries, 1, partsOf),
    adopt: optional(yes),
  }),
  have: message<m.Have>("have", { w: uuidOrId, page, more: bool, single: optional(yes) }),
  purge: message<m.Purge>("purge", { w: uuidOrId, id: pushId, entity: uuidOrId }),
  auth: message<m.Auth>("auth", { token }),
  grants: message<m.AskGrants>("grants", {}),
  snapshot: message<m.Snapshot>("snapshot", {
    w: uuidOrId,
    entity: uuidOrId,
    heads,
    bytes: chunk,
    by: authors,
    row: bytes(0, limits.message),
    projection: name,
  }),
  digest: message<m.Digest>("digest", { w: uuidOrId, entity: uuidOrId, heads, sha256, row: sha256, projection: name }),
  quarantine: message<m.Quarantine>("quarantine", { w: uuidOrId, entity: uuidOrId, hash, automerge: name }),
  presence,
  ping: message<m.Ping>("ping", {}),
}

/** Makes the table of `entries`: one for items as objects, and one for items that are encoded already. */
const entriesOf = <T>(items: Type<readonly T[]>) =>
  message<Omit<m.Entries, "items"> & { readonly items: readonly T[] }>("entries", {
    w: uuidOrId,
    items,
    cursor: optional(cursor),
    level: optional(yes),
    left: optional(uint()),
    principal: optional(principal),
    access: optional(access),
    limits: optional(bounds),
    time: optional(uint()),
  })
const entriesOfEncoded = entriesOf(list(encoded, limits.items))

const relay: Types<m.RelayMessage> = {
  entries: entriesOf(list(item, limits.items)),
  ack: message<m.Ack>("ack", { w: uuidOrId, id: pushId, at: optional(cursor) }),
  reject: message<m.Reject>("reject", {
    w: uuidOrId,
    id: pushId,
    entity: uuidOrId,
    hash,
    code,
    first: optional(hash),
    at: optional(cursor),
    retryIn: optional(uint()),
  }),
  want: message<m.Want>("want", { w: uuidOrId, page, more: optional(yes) }),
  make: message<m.Make>("make", { w: uuidOrId, entity: uuidOrId, heads }),
  check: message<m.Check>("check", { w: uuidOrId, entity: uuidOrId, heads }),
  grants: message<m.Grants>("grants", { principal, grants: list(tuple(pattern, access), limits.page) }),
  notice: message<m.Notice>("notice", {
    w: optional(uuidOrId),
    code,
    limits: optional(bounds),
    access: optional(access),
    retryIn: optional(uint()),
  }),
  presence,
  pong: message<m.Pong>("pong", {}),
}

const clientTypes = new Map<string, Type<m.ClientMessage>>(Object.entries(client))
const relayTypes = new Map<string, Type<m.RelayMessage>>(Object.entries(relay))

/**
 * Reads a message; null when its type is unknown. The type comes first in the frame. It is read first to find the table
 * of the message. Then the whole frame, with the type, is read by that table.
 */
function readMessage<M>(types: ReadonlyMap<string, Type<M>>, frame: Uint8Array): M | null {
  const input = new Reader(frame)
  input.head(Major.map)
  if (input.key("") !== "t") input.fail("is in the place of the key t")
  const type = types.get(input.text())
  input.rewind()
  const message = type ? type.read(input) : null
  if (!type) input.skip()
  input.end()
  return message
}
