/**
 * The wire: every message and entry as bytes. `docs/protocol.md` is the specification (CDDL, MUST and SHOULD), and the
 * tables below say the same, one line a field.
 *
 * One message a WebSocket frame (RFC 6455), in CBOR's core deterministic encoding (RFC 8949 section 4.2.1), so that a
 * message has one form only: map keys ascend by length, then by bytes; `t`, the type, is therefore always the first.
 * Unknown message types and unknown keys are ignored. What else is not as the tables say is `MESSAGE_BAD`, what is
 * longer than they allow `TOO_LARGE`. Reading fails with nothing but these two, takes time linear in the frame, makes
 * no object for what it does not know, and believes no length before the bytes are there.
 */

import { type Code, HeadwaterError, isCode } from "../base/errors.ts"
import { bytesOfHex, hex } from "../base/hash.ts"
import { Major, Reader, Writer } from "./cbor.ts"
import type * as m from "./messages.ts"
import { isId, limits, partsOf } from "./messages.ts"

export * from "./messages.ts"

/** One frame. `MESSAGE_BAD` when a field is not as the specification says, `TOO_LARGE` beyond `limits.message`. */
export function encode(message: m.ClientMessage | m.RelayMessage): Uint8Array {
  const question = message.t === "grants" && !("grants" in message)
  const type = question ? client.grants : (relayTypes.get(message.t) ?? clientTypes.get(message.t))
  if (!type) throw new HeadwaterError("MESSAGE_BAD", "t is no message that is known here")
  return write(type, message)
}

/** What a client sent; null for a message type that is not known here, which is to be ignored. */
export const decodeClient = (frame: Uint8Array): m.ClientMessage | null => readMessage(clientTypes, frame)

/** What a relay sent; null for a message type that is not known here, which is to be ignored. */
export const decodeRelay = (frame: Uint8Array): m.RelayMessage | null => readMessage(relayTypes, frame)

/** The bytes of one entry, the same wherever they are: in a frame, in a log, in a ring, in a store. */
export const encodeEntry = (value: m.Entry): Uint8Array => write(entry, value)

export const decodeEntry = (bytes: Uint8Array): m.Entry => read(entry, bytes)

/** The bytes of one item for `encodeEntries`; those of a plain entry are `encodeEntry`'s. */
export const encodeItem = (value: m.Item): Uint8Array => write(item, value)

/** The frame that `encode` makes, with items that are encoded already: a live entry is encoded once for everybody. */
export function encodeEntries(message: Omit<m.Entries, "items">, items: readonly Uint8Array[]): Uint8Array {
  return write(spliced, { ...message, items })
}

// Fields ------------------------------------------------------------------------------------------------------------

/** How one kind of value is checked, written and read. */
interface Type<T> {
  write(out: Writer, value: T): void
  read(input: Reader): T
}

const text = (allowed: { test(value: string): boolean }, what: string): Type<string> => ({
  write: (out, value) => (typeof value === "string" && allowed.test(value) ? out.text(value) : out.fail(what)),
  read(input) {
    const value = input.text()
    return allowed.test(value) ? value : input.fail(what)
  },
})

const oneOf = <T extends string>(...words: readonly T[]): Type<T> => ({
  write: (out, value) => (words.includes(value) ? out.text(value) : out.fail(`is not ${words.join(" or ")}`)),
  read(input) {
    const value = input.text()
    return words.find((word) => word === value) ?? input.fail(`is not ${words.join(" or ")}`)
  },
})

/** No control characters, and nothing that UTF-8 would not give back as it was: lone surrogates, byte order marks. */
const printable = (most: number) =>
  text(new RegExp(`^[^\\p{Cc}\\p{Cs}\\uFEFF\\uFFFD]{1,${most}}$`, "u"), "is not a name")
const id = text({ test: isId }, "is not an id")
const pushId = text(/^[\x21-\x7e]{1,32}$/, "is not the id of a push")
const token = text(/^[\x21-\x7e]{1,8192}$/, "is not a token")
const pattern = text(/^(?!$)[A-Za-z0-9_-]{0,64}\*?$/, "is not a workspace id or prefix*")
const principal = printable(256)
const access = oneOf("read", "write", "admin")
const anyCode = text(/^[A-Z][A-Z_]{0,31}$/, "is not an error code")
const code: Type<Code> = {
  write: anyCode.write,
  /** A newer relay may have codes of its own: what it refuses for an unknown reason is set aside and shown. */
  read(input) {
    const value = anyCode.read(input)
    return isCode(value) ? value : "REJECTED"
  },
}

const bytes = (least: number, most = least): Type<Uint8Array> => ({
  write(out, value) {
    out.bounded(value.length, least, most)
    out.bytes(value)
  },
  read(input) {
    const { value } = input.next(Major.bytes)
    input.bounded(value.length, least, most)
    return value
  },
})
const cursor = bytes(16)
const sha256 = bytes(32)
/** The smallest change there is has 34. Longer than `limits.chunk` is refused change by change, not with the frame. */
const chunk = bytes(34, limits.message)

const digits = (size: number): Type<string> => ({
  write(out, value) {
    if (value.length !== 2 * size || !/^[0-9a-f]+$/.test(value)) out.fail(`is not ${2 * size} hexadecimal digits`)
    out.bytes(bytesOfHex(value))
  },
  read: (input) => hex(bytes(size).read(input)),
})
const hash = digits(32)
const actor = digits(16)

const uint = (most: number = Number.MAX_SAFE_INTEGER): Type<number> => ({
  write(out, value) {
    if (!Number.isInteger(value) || value < 0 || value > most) out.fail(`is not an integer up to ${most}`)
    out.head(0, value)
  },
  read(input) {
    const { value } = input.next(Major.uint)
    return value <= most ? value : input.fail(`is not an integer up to ${most}`)
  },
})

const yes: Type<true> = {
  write: (out, value) => (value === true ? out.byte(0xf5) : out.fail("is not true")),
  read: (input) => input.next(Major.true).value,
}
const bool: Type<boolean> = {
  write: (out, value) =>
    typeof value === "boolean" ? out.byte(value ? 0xf5 : 0xf4) : out.fail("is not true or false"),
  read: (input) => input.next(input.peek() === 0xf4 ? Major.false : Major.true).value,
}
const orNull = <T>(type: Type<T>): Type<T | null> => ({
  write: (out, value) => (value === null ? out.byte(0xf6) : type.write(out, value)),
  read: (input) => (input.peek() === 0xf6 ? input.next(Major.null).value : type.read(input)),
})

/** Parts are added up on the way: of a message that has too many, no more is read than the first that is one too many. */
const list = <T>(type: Type<T>, most: number, least = 0, parts: (one: T) => number = () => 0): Type<readonly T[]> => ({
  write(out, value) {
    out.bounded(value.length, least, most)
    out.head(4, value.length)
    let sum = 0
    for (const one of value) {
      type.write(out, one)
      sum = within(sum + parts(one))
    }
  },
  read(input) {
    const { value: length } = input.next(Major.array)
    input.bounded(length, least, most)
    const value: T[] = []
    let sum = 0
    while (value.length < length) {
      const one = type.read(input)
      sum = within(sum + parts(one))
      value.push(one)
    }
    return value
  },
})

function within(parts: number): number {
  if (parts <= limits.parts) return parts
  throw new HeadwaterError("TOO_LARGE", `a message has more than ${limits.parts} parts`)
}

type Each<T extends readonly unknown[]> = { readonly [K in keyof T]: Type<T[K]> }

const tuple = <T extends readonly unknown[]>(...types: Each<T>): Type<T> => ({
  write(out, value) {
    out.head(4, types.length)
    for (const [i, type] of types.entries()) type.write(out, value[i])
  },
  read(input) {
    if (input.next(Major.array).value !== types.length) input.fail(`is not ${types.length} values`)
    const value: readonly unknown[] = types.map((type) => type.read(input))
    return value as T
  },
})

interface Optional<T> {
  readonly optional: Type<T>
}
const optional = <T>(type: Type<T>): Optional<T> => ({ optional: type })

/** One line for each key of T, no more and no less, optional where T says so. */
type Fields<T> = {
  readonly [K in keyof T]-?: Partial<Pick<T, K>> extends Pick<T, K> ? Optional<Required<T>[K]> : Type<T[K]>
}

function record<T extends object>(fields: Fields<T>): Type<T> {
  const given: [string, Type<unknown> | Optional<unknown>][] = Object.entries(fields)
  const sorted = given
    .sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))
    .map(([key, field]) => {
      const required = !("optional" in field)
      return { key, name: write(id, key), type: required ? field : field.optional, required }
    })
  const byKey = new Map(sorted.map((field) => [field.key, field]))
  const needed = sorted.filter((field) => field.required).length
  return {
    write(out, value) {
      const present = value as Record<string, unknown>
      let count = 0
      for (const { key } of sorted) if (present[key] !== undefined) count++
      out.head(5, count)
      for (const { key, name, type, required } of sorted) {
        const one = present[key]
        out.where = key
        if (one === undefined && required) out.fail("is missing")
        if (one === undefined) continue
        out.raw(name)
        type.write(out, one)
      }
    },
    read(input) {
      const value: Record<string, unknown> = {}
      let missing = needed
      let last = ""
      for (let left = input.next(Major.map).value; left > 0; left--) {
        last = input.key(last)
        const field = byKey.get(last)
        if (!field) {
          input.skip()
          continue
        }
        value[last] = field.type.read(input)
        if (field.required) missing--
      }
      if (missing > 0) input.fail("ends a map that lacks a key")
      return value as T
    },
  }
}

const message = <T extends { readonly t: string }>(t: T["t"], fields: Fields<Omit<T, "t">>): Type<T> =>
  record<T>({ t: oneOf(t), ...fields } as Fields<T>)

// Entries -----------------------------------------------------------------------------------------------------------

const heads = list(hash, limits.heads)
const page: Type<readonly m.EntityHeads[]> = list(tuple(id, heads), limits.page)
const authors = list(tuple(actor, principal), 2 ** 16)
const bounds = record<m.Limits>({ message: uint(), chunk: uint(), ops: uint() })

const anyEntry = record<m.Entry>({
  entity: id,
  collection: id,
  kind: oneOf("change", "snapshot", "tombstone"),
  chunks: list(chunk, limits.chunks),
  by: optional(principal),
  adopted: optional(yes),
  once: optional(bytes(16)),
  if: optional(heads),
  key: optional(bytes(1, 64)),
  blobs: optional(list(bytes(1, 64), 1024)),
  authors: optional(authors),
  row: optional(bytes(0, limits.message)),
  projection: optional(printable(64)),
  mac: optional(bytes(32)),
})
const entry: Type<m.Entry> = {
  write(out, value) {
    if (!fits(value)) out.fail("has the wrong number of chunks")
    anyEntry.write(out, value)
  },
  read(input) {
    const value = anyEntry.read(input)
    return fits(value) ? value : input.fail("ends an entry with the wrong number of chunks")
  },
}

function fits({ kind, chunks }: m.Entry): boolean {
  if (kind === "change") return chunks.length > 0
  return chunks.length === (kind === "snapshot" ? 1 : 0)
}

const placed = tuple(entry, cursor)
const run = tuple(pushId, uint(limits.entries), uint(limits.entries))
/** A map is an entry, a pair an entry and a place, a triple a run of one's own push. */
const item: Type<m.Item> = {
  write(out, value) {
    if ("own" in value) run.write(out, [value.own, value.from, value.to])
    else if (value.at) placed.write(out, [value.entry, value.at])
    else entry.write(out, value.entry)
  },
  read(input) {
    if (input.peek() >> 5 === 5) return { entry: entry.read(input) }
    if (input.peek() === 0x82) {
      const [value, at] = placed.read(input)
      return { entry: value, at }
    }
    const [own, from, to] = run.read(input)
    return from < to ? { own, from, to } : input.fail("is an empty run")
  },
}
const encoded: Type<Uint8Array> = {
  write: (out, value) => out.raw(value),
  read: (input) => input.fail("is never read"),
}

// Messages ----------------------------------------------------------------------------------------------------------

type Types<M extends { readonly t: string }> = { readonly [T in M["t"]]: Type<Extract<M, { readonly t: T }>> }

const presence = message<m.Presence>("presence", {
  w: id,
  from: optional(printable(64)),
  data: orNull(bytes(0, limits.presence)),
})

const client: Types<m.ClientMessage> = {
  pull: message<m.Pull>("pull", {
    w: id,
    cursor: optional(orNull(cursor)),
    reach: optional(orNull(cursor)),
    credit: uint(),
  }),
  push: message<m.Push>("push", {
    w: id,
    id: pushId,
    entries: list(entry, limits.entries, 1, partsOf),
    adopt: optional(yes),
  }),
  have: message<m.Have>("have", { w: id, page, more: bool, single: optional(yes) }),
  purge: message<m.Purge>("purge", { w: id, id: pushId, entity: id }),
  auth: message<m.Auth>("auth", { token }),
  grants: message<m.AskGrants>("grants", {}),
  snapshot: message<m.Snapshot>("snapshot", {
    w: id,
    entity: id,
    heads,
    bytes: chunk,
    by: authors,
    row: bytes(0, limits.message),
    projection: printable(64),
  }),
  digest: message<m.Digest>("digest", { w: id, entity: id, heads, sha256, row: sha256, projection: printable(64) }),
  quarantine: message<m.Quarantine>("quarantine", { w: id, entity: id, hash, automerge: printable(64) }),
  presence,
  ping: message<m.Ping>("ping", {}),
}

/** Once for items to encode, and once for items that are encoded. */
const entriesOf = <T>(items: Type<readonly T[]>) =>
  message<Omit<m.Entries, "items"> & { readonly items: readonly T[] }>("entries", {
    w: id,
    items,
    cursor: optional(cursor),
    level: optional(yes),
    left: optional(uint()),
    principal: optional(principal),
    access: optional(access),
    limits: optional(bounds),
    time: optional(uint()),
  })
const spliced = entriesOf(list(encoded, limits.items))

const relay: Types<m.RelayMessage> = {
  entries: entriesOf(list(item, limits.items)),
  ack: message<m.Ack>("ack", { w: id, id: pushId, at: optional(cursor) }),
  reject: message<m.Reject>("reject", {
    w: id,
    id: pushId,
    entity: id,
    hash,
    code,
    first: optional(hash),
    at: optional(cursor),
    retryIn: optional(uint()),
  }),
  want: message<m.Want>("want", { w: id, page }),
  make: message<m.Make>("make", { w: id, entity: id, heads }),
  check: message<m.Check>("check", { w: id, entity: id, heads }),
  grants: message<m.Grants>("grants", { principal, grants: list(tuple(pattern, access), limits.page) }),
  notice: message<m.Notice>("notice", {
    w: optional(id),
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

/** The type comes first, so it is read once to find the table and once more with it. */
function readMessage<M>(types: ReadonlyMap<string, Type<M>>, frame: Uint8Array): M | null {
  const start = new Reader(frame)
  start.next(Major.map)
  if (start.key("") !== "t") start.fail("comes before t")
  const type = types.get(start.text())
  const input = new Reader(frame)
  const message = type ? type.read(input) : null
  if (!type) input.skip()
  input.end()
  return message
}

function write<T>(type: Type<T>, value: T): Uint8Array {
  const out = new Writer()
  type.write(out, value)
  return out.done()
}

function read<T>(type: Type<T>, bytes: Uint8Array): T {
  const input = new Reader(bytes)
  const value = type.read(input)
  input.end()
  return value
}
