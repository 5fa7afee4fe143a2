import { randomBytes } from "node:crypto"
import * as cborg from "cborg"
import { expect, test } from "vitest"
import {
  type ClientMessage,
  decodeClient,
  decodedSize,
  decodeRelay,
  type Entry,
  encode,
  encodeEntries,
  encodeEntry,
  encodeItem,
  type Item,
  limits,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { ascii, asPlain, canonical, decodeEither, outcome } from "./protocol.frames.ts"

const hash = "ab".repeat(32)
const chunk = new Uint8Array(34)
const entry: Entry = { entity: "e", collection: "c", kind: "change", chunks: [chunk] }
const many = <T>(n: number, one: T): T[] => Array(n).fill(one)

/** `encode` and the decoder accept `atMost`. `encode` refuses `beyond`, and so does the decoder (encoded by cborg). */
function expectBound(atMost: ClientMessage | RelayMessage, beyond: ClientMessage | RelayMessage, code = "TOO_LARGE") {
  const frame = encode(atMost)
  expect(Buffer.compare(encode(decodeEither(frame, atMost)!), frame)).toBe(0)
  expect(outcome(() => encode(beyond))).toBe(code)
  expect(outcome(() => decodeEither(cborg.encode(asPlain(beyond)), beyond))).toBe(code)
}

test("lists have their limits", () => {
  const push = (entries: Entry[]): ClientMessage => ({ t: "push", w: "w", id: "1", entries })
  expectBound(push(many(limits.entries, entry)), push(many(limits.entries + 1, entry)))
  const chunks = (n: number) => push([{ ...entry, chunks: many(n, chunk) }])
  expectBound(chunks(limits.chunks), chunks(limits.chunks + 1))
  const together = (n: number) =>
    push([
      { ...entry, chunks: many(limits.chunks - 1, chunk) },
      { ...entry, chunks: many(n, chunk) },
    ])
  expectBound(together(1), together(2))
  const parts = (more: Partial<Entry>) =>
    push([...many(7, { ...entry, blobs: many(1023, chunk) }), { ...entry, ...more }])
  expectBound(parts({ if: many(1023, hash) }), parts({ if: many(1024, hash) }))
  expectBound(parts({ blobs: many(1023, chunk) }), parts({ blobs: many(1024, chunk) }))
  const author = ["ab".repeat(16), "ann"] as const
  expectBound(parts({ authors: many(1023, author) }), parts({ authors: many(1024, author) }))
  const have = (n: number, heads: string[]): ClientMessage => ({
    t: "have",
    w: "w",
    page: many(n, ["e", heads]),
    more: false,
  })
  expectBound(have(limits.page, []), have(limits.page + 1, []))
  expectBound(have(1, many(limits.heads, hash)), have(1, many(limits.heads + 1, hash)))
  const blobs = (n: number) => push([{ ...entry, blobs: many(n, chunk) }])
  expectBound(blobs(1024), blobs(1025))
  const snapshot = (authors: number, more = {}): ClientMessage => ({
    t: "snapshot",
    w: "w",
    entity: "e",
    heads: [],
    bytes: chunk,
    by: many(authors, author),
    row: new Uint8Array(),
    projection: "1",
    ...more,
  })
  expectBound(snapshot(2 ** 16), snapshot(2 ** 16 + 1))
  expectBound(snapshot(0, { heads: many(limits.heads, hash) }), snapshot(0, { heads: many(limits.heads + 1, hash) }))
  const grants = (n: number): RelayMessage => ({ t: "grants", principal: "p", grants: many(n, ["w", "read"]) })
  expectBound(grants(limits.page), grants(limits.page + 1))
  const items = (n: number): RelayMessage => ({
    t: "entries",
    w: "w",
    items: many<Item>(n, { own: "1", from: 0, to: 1 }),
  })
  expectBound(items(limits.items), items(limits.items + 1))
  const presence = (n: number): ClientMessage => ({ t: "presence", w: "w", data: new Uint8Array(n) })
  expectBound(presence(limits.presence), presence(limits.presence + 1))
})

test("a frame has a size limit, and a chunk in it has no smaller one", () => {
  const noise = new Uint8Array(randomBytes(limits.message))
  const push = (n: number): ClientMessage => ({
    t: "push",
    w: "w",
    id: "1",
    entries: [{ ...entry, chunks: [noise.subarray(0, n)] }],
  })
  const room = limits.message - encode(push(3_000_000)).length + 3_000_000
  expect(encode(push(room)).length).toBe(limits.message)
  expectBound(push(room), push(room + 1))
})

test("the chunks of a frame have the limit of a frame, however few bytes they take in it", () => {
  const zeros = (...sizes: number[]) => sizes.map((size) => ({ ...entry, chunks: [new Uint8Array(size)] }))
  const push = (...sizes: number[]): ClientMessage => ({ t: "push", w: "w", id: "1", entries: zeros(...sizes) })
  const half = limits.message / 2
  const frame = encode(push(half, half))
  expect(frame.length).toBeLessThan(10_000)
  expect(outcome(() => decodeClient(frame))).toBe("accepted")
  expect(outcome(() => encode(push(half, half + 1)))).toBe("TOO_LARGE")
  const [first, second] = [half, half + 1].map((size) => encodeEntry(zeros(size)[0]!))
  const start = Buffer.from(`a4617464${ascii("push")}6177617762${ascii("id")}613167${ascii("entries")}82`, "hex")
  expect(outcome(() => decodeClient(Buffer.concat([start, first!, first!])))).toBe("accepted")
  expect(outcome(() => decodeClient(Buffer.concat([start, first!, second!])))).toBe("TOO_LARGE")
  const items = Array(50).fill(first) as Uint8Array[]
  expect(items.map(decodedSize)).toEqual(Array(50).fill({ bytes: half, chunks: 1 }))
  expect(decodedSize(encodeItem({ own: "1", from: 0, to: 1 }))).toEqual({ bytes: 0, chunks: 0 })
  expect(outcome(() => decodeRelay(encodeEntries({ t: "entries", w: "w" }, items)))).toBe("TOO_LARGE")
})

test("bytes have their sizes", () => {
  const of = (more: Partial<Entry>): ClientMessage => ({
    t: "push",
    w: "w",
    id: "1",
    entries: [{ ...entry, ...more }],
  })
  const size = (n: number) => new Uint8Array(n)
  expectBound(of({ chunks: [size(34)] }), of({ chunks: [size(33)] }), "MESSAGE_BAD")
  for (const field of ["once", "mac"] as const) {
    const exact = field === "once" ? 16 : 32
    expectBound(of({ [field]: size(exact) }), of({ [field]: size(exact - 1) }), "MESSAGE_BAD")
    expectBound(of({ [field]: size(exact) }), of({ [field]: size(exact + 1) }))
  }
  for (const make of [(n: number) => of({ key: size(n) }), (n: number) => of({ blobs: [size(n)] })]) {
    expectBound(make(1), make(0), "MESSAGE_BAD")
    expectBound(make(64), make(65))
  }
  const at = (n: number): RelayMessage => ({ t: "ack", w: "w", id: "1", at: size(n) })
  expectBound(at(16), at(15), "MESSAGE_BAD")
  expectBound(at(16), at(17))
})

test("a value under an unknown key may be 16 levels deep, and a frame has 4,096 such values", () => {
  const later = (value: unknown) => outcome(() => decodeClient(cborg.encode({ t: "ping", zz: value })))
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])
  expect(later(nested(16))).toBe("accepted")
  expect(later(nested(17))).toBe("MESSAGE_BAD")
  expect(later(many(4095, 1))).toBe("accepted")
  expect(later(many(4096, 1))).toBe("MESSAGE_BAD")
  const pairs = (n: number) => Object.fromEntries(many(n, 0).map((_, i) => [String(i).padStart(4, "0"), 1]))
  expect(later(pairs(2047))).toBe("accepted")
  expect(later(pairs(2048))).toBe("MESSAGE_BAD")
})

test("ids and names are checked", () => {
  const ids = ["", "a".repeat(65), "a b", "a/b", "é", "a\n", "."]
  for (const w of ids)
    expectBound({ t: "pull", w: "a".repeat(64), credit: 0 }, { t: "pull", w, credit: 0 }, "MESSAGE_BAD")
  for (const entity of ids)
    expectBound(
      { t: "make", w: "w", entity: "A_-9", heads: [] },
      { t: "make", w: "w", entity, heads: [] },
      "MESSAGE_BAD",
    )
  const named = (collection: string): ClientMessage => ({
    t: "push",
    w: "w",
    id: "1",
    entries: [{ ...entry, collection }],
  })
  for (const name of [...ids, "Büro"]) expectBound(named("n".repeat(64)), named(name), "MESSAGE_BAD")
  const from = (from: string): ClientMessage => ({ t: "presence", w: "w", from, data: null })
  for (const name of ["", "n".repeat(65), "a\u0000", "a\u007f", "a\ud800", "\ufeffa"])
    expectBound(from("Заметки 🙂 notes"), from(name), "MESSAGE_BAD")
  for (const id of ["", " ", "x".repeat(33)])
    expectBound({ t: "ack", w: "w", id: "x".repeat(32) }, { t: "ack", w: "w", id }, "MESSAGE_BAD")
  const principal = (by: string): RelayMessage => ({ t: "entries", w: "w", items: [], principal: by })
  expectBound(principal("n".repeat(256)), principal("n".repeat(257)), "MESSAGE_BAD")
  const auth = (token: string): ClientMessage => ({ t: "auth", token })
  expectBound(auth("x".repeat(8192)), auth("x".repeat(8193)), "MESSAGE_BAD")
  for (const token of ["", "a b", "é"]) expectBound(auth("x"), auth(token), "MESSAGE_BAD")
  const granted = (name: string): RelayMessage => ({ t: "grants", principal: "p", grants: [[name, "read"]] })
  for (const name of ["", "a*b", "**"]) expectBound(granted("team-*"), granted(name), "MESSAGE_BAD")
  expect(decodeRelay(encode(granted("*")))).toEqual(granted("*"))
})

test("numbers and lengths have the shortest head, on both sides of every boundary", () => {
  const boundaries = [24, 2 ** 8, 2 ** 16, 2 ** 32].flatMap((n) => [n - 1, n, n + 1])
  for (const credit of [0, ...boundaries, Number.MAX_SAFE_INTEGER]) {
    const frame = encode({ t: "pull", w: "w", credit })
    expect(frame, String(credit)).toEqual(canonical(frame))
    expect(decodeClient(frame)).toEqual({ t: "pull", w: "w", credit })
  }
  for (const length of boundaries.filter((n) => n <= 2 ** 16 + 1)) {
    const data = new Uint8Array(length)
    const row = { t: "snapshot", w: "w", entity: "e", heads: [], bytes: chunk, by: [], row: data } as const
    const frame = encode({ ...row, projection: "1" })
    expect(frame, String(length)).toEqual(canonical(frame))
  }
})

test("a key whose value is undefined is absent", () => {
  const ack = { t: "ack", w: "w", id: "1" } as const
  expect(encode({ ...ack, at: undefined } as never)).toEqual(encode(ack))
  expect(outcome(() => encode({ ...ack, id: undefined } as never))).toBe("MESSAGE_BAD")
})

test("numbers must be in their range", () => {
  for (const credit of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])
    expectBound({ t: "pull", w: "w", credit: Number.MAX_SAFE_INTEGER }, { t: "pull", w: "w", credit }, "MESSAGE_BAD")
  const run = (from: number, to: number): RelayMessage => ({ t: "entries", w: "w", items: [{ own: "1", from, to }] })
  expect(outcome(() => decodeRelay(cborg.encode(asPlain(run(3, 3)))))).toBe("MESSAGE_BAD")
  expectBound(run(0, limits.entries), run(0, limits.entries + 1), "MESSAGE_BAD")
})

test("an entry has as many chunks as its kind asks for", () => {
  const push = (kind: Entry["kind"], n: number): ClientMessage => ({
    t: "push",
    w: "w",
    id: "1",
    entries: [{ ...entry, kind, chunks: many(n, chunk) }],
  })
  expectBound(push("change", 1), push("change", 0), "MESSAGE_BAD")
  expectBound(push("snapshot", 1), push("snapshot", 0), "MESSAGE_BAD")
  expectBound(push("snapshot", 1), push("snapshot", 2), "MESSAGE_BAD")
  expectBound(push("tombstone", 0), push("tombstone", 1), "MESSAGE_BAD")
})

test("a kind or an access of a newer version is read as it is, with any number of chunks", () => {
  const newer = (n: number): RelayMessage => ({
    t: "entries",
    w: "w",
    items: [{ entry: { ...entry, kind: "move", chunks: many(n, chunk) } }],
    access: "comment",
  })
  for (const n of [0, 1, 2]) expect(decodeRelay(encode(newer(n)))).toEqual(newer(n))
  const notice: RelayMessage = { t: "notice", w: "w", code: "FORBIDDEN", access: "comment" }
  expect(decodeRelay(encode(notice))).toEqual(notice)
})

test("encoding checks a message as decoding does", () => {
  const wrong: unknown[] = [
    { t: "nothing" },
    { t: "pull", credit: 1 },
    { t: "pull", w: 5, credit: 1 },
    { t: "ack", w: "w", id: "1", at: new Uint8Array(15) },
    { t: "have", w: "w", page: [["e", ["AB".repeat(32)]]], more: false },
    { t: "have", w: "w", page: [], more: 1 },
    { t: "push", w: "w", id: "1", entries: [entry], adopt: false },
  ]
  for (const message of wrong) expect(outcome(() => encode(message as ClientMessage))).toMatch(/MESSAGE_BAD|TOO_LARGE/)
})
