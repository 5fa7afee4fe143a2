import fc, { type Arbitrary } from "fast-check"
import { codes } from "../../src/base/errors.ts"
import { type ClientMessage, cursorOf, type Entry, type Item, type RelayMessage } from "../../src/wire/protocol.ts"

/** The keys of a message, as docs/protocol.md lists them: the required ones and the optional ones. */
export interface Shape {
  readonly needs: Record<string, Arbitrary<unknown>>
  readonly may: Record<string, Arbitrary<unknown>>
}

const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
const pushId = fc.stringMatching(/^[!-~]{1,32}$/)
const name = (most: number) =>
  fc
    .string({ unit: "binary", minLength: 1, maxLength: most })
    .filter((text) => /^[^\p{Cc}\p{Cs}\uFEFF\uFFFD]+$/u.test(text) && [...text].length <= most)
const bytes = (least: number, most = least) => fc.uint8Array({ minLength: least, maxLength: most })
const digits = (size: number) => bytes(size).map((value) => Buffer.from(value).toString("hex"))
const hash = digits(32)
const uint = fc.oneof(fc.nat(300), fc.maxSafeNat())
const cursor = fc.tuple(fc.maxSafeNat(), bytes(8)).map(([position, hash8]) => cursorOf(position, hash8))
const yes = fc.constant(true as const)
const code = fc.constantFrom(...codes)
const access = fc.constantFrom("read", "write", "admin")
const limits = fc.record({ message: uint, chunk: uint, ops: uint })
const heads = fc.array(hash, { maxLength: 4 })
const page = fc.array(fc.tuple(id, heads), { maxLength: 5 })
const authors = fc.array(fc.tuple(digits(16), name(256)), { maxLength: 3 })
const chunk = bytes(34, 300)

export const entryKeys: Shape = {
  needs: {
    entity: id,
    collection: id,
    kind: fc.constantFrom("change", "snapshot", "tombstone"),
    chunks: fc.array(chunk),
  },
  may: {
    by: name(256),
    adopted: yes,
    once: bytes(16),
    if: heads,
    key: bytes(1, 64),
    blobs: fc.array(bytes(1, 64), { maxLength: 3 }),
    authors,
    row: bytes(0, 300),
    projection: name(64),
    mac: bytes(32),
  },
}

const chunksOf = {
  change: fc.array(chunk, { minLength: 1, maxLength: 5 }),
  snapshot: fc.array(chunk, { minLength: 1, maxLength: 1 }),
  tombstone: fc.constant([] as Uint8Array[]),
}
export const entryShape: Arbitrary<Entry> = fc
  .constantFrom("change" as const, "snapshot" as const, "tombstone" as const)
  .chain((kind) =>
    recordOf<Entry>(
      {},
      { ...entryKeys, needs: { ...entryKeys.needs, kind: fc.constant(kind), chunks: chunksOf[kind] } },
    ),
  )
export const itemShape: Arbitrary<Item> = fc.oneof(
  entryShape.map((entry) => ({ entry })),
  fc.tuple(entryShape, cursor).map(([entry, at]) => ({ entry, at })),
  fc
    .tuple(pushId, fc.nat(1023))
    .chain(([own, from]) => fc.integer({ min: from + 1, max: 1024 }).map((to) => ({ own, from, to }))),
)

const presence: Shape = { needs: { w: id, data: fc.option(bytes(0, 100)) }, may: { from: name(64) } }

export const clientShapes: Record<ClientMessage["t"], Shape> = {
  pull: { needs: { w: id, credit: uint }, may: { cursor: fc.option(cursor), reach: fc.option(cursor) } },
  push: {
    needs: { w: id, id: pushId, entries: fc.array(entryShape, { minLength: 1, maxLength: 4 }) },
    may: { adopt: yes },
  },
  have: { needs: { w: id, page, more: fc.boolean() }, may: { single: yes } },
  purge: { needs: { w: id, id: pushId, entity: id }, may: {} },
  auth: { needs: { token: fc.stringMatching(/^[!-~]{1,300}$/) }, may: {} },
  grants: { needs: {}, may: {} },
  snapshot: {
    needs: { w: id, entity: id, heads, bytes: chunk, by: authors, row: bytes(0, 300), projection: name(64) },
    may: {},
  },
  digest: { needs: { w: id, entity: id, heads, sha256: bytes(32), row: bytes(32), projection: name(64) }, may: {} },
  quarantine: { needs: { w: id, entity: id, hash, automerge: name(64) }, may: {} },
  presence,
  ping: { needs: {}, may: {} },
}

export const relayShapes: Record<RelayMessage["t"], Shape> = {
  entries: {
    needs: { w: id, items: fc.array(itemShape, { maxLength: 4 }) },
    may: { cursor, level: yes, left: uint, principal: name(256), access, limits, time: uint },
  },
  ack: { needs: { w: id, id: pushId }, may: { at: cursor } },
  reject: { needs: { w: id, id: pushId, entity: id, hash, code }, may: { first: hash, at: cursor, retryIn: uint } },
  want: { needs: { w: id, page }, may: { more: yes } },
  make: { needs: { w: id, entity: id, heads }, may: {} },
  check: { needs: { w: id, entity: id, heads }, may: {} },
  grants: {
    needs: {
      principal: name(256),
      grants: fc.array(fc.tuple(fc.stringMatching(/^([a-z-]{1,20}\*?|\*)$/), access), { maxLength: 3 }),
    },
    may: {},
  },
  notice: { needs: { code }, may: { w: id, limits, access, retryIn: uint } },
  presence,
  pong: { needs: {}, may: {} },
}

export const messageOf = <M>(t: string, shape: Shape): Arbitrary<M> => recordOf<M>({ t }, shape)

function recordOf<T>(start: object, { needs, may }: Shape): Arbitrary<T> {
  const parts = fc.tuple(fc.record(needs), fc.record(may, { requiredKeys: [] }))
  return parts.map(([needed, optional]) => ({ ...start, ...needed, ...optional }) as T)
}
