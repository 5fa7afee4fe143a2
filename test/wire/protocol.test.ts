import { readFileSync } from "node:fs"
import * as cborg from "cborg"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type Code, codes, HeadwaterError } from "../../src/base/errors.ts"
import {
  type ClientMessage,
  cursorOf,
  decodeClient,
  decodeEntry,
  decodeRelay,
  type Entries,
  type Entry,
  encode,
  encodeEntries,
  encodeEntry,
  encodeItem,
  type Item,
  limits,
  position,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { golden } from "./protocol.golden.ts"
import {
  clientShapes,
  entryKeys,
  entryShape,
  itemShape,
  messageOf,
  relayShapes,
  type Shape,
} from "./protocol.shapes.ts"

const long = process.env["HEADWATER_LONG"] === "1"
const runs = long ? 2_000 : 100

describe("every message", () => {
  for (const [t, shape] of Object.entries(clientShapes)) {
    test(`${t} from a client comes back as it was`, () => {
      fc.assert(
        fc.property(messageOf<ClientMessage>(t, shape), (message) => {
          const frame = encode(message)
          expect(decodeClient(frame)).toEqual(message)
          expect(frame).toEqual(canonical(frame))
        }),
        { numRuns: runs },
      )
    })
  }
  for (const [t, shape] of Object.entries(relayShapes)) {
    test(`${t} from a relay comes back as it was`, () => {
      fc.assert(
        fc.property(messageOf<RelayMessage>(t, shape), (message) => {
          const frame = encode(message)
          expect(decodeRelay(frame)).toEqual(message)
          expect(frame).toEqual(canonical(frame))
        }),
        { numRuns: runs },
      )
    })
  }
})

test("an entry has the same bytes in a frame and alone", () => {
  fc.assert(
    fc.property(entryShape, (entry) => {
      expect(decodeEntry(encodeEntry(entry))).toEqual(entry)
      expect(encodeItem({ entry })).toEqual(encodeEntry(entry))
    }),
    { numRuns: runs },
  )
})

test("items that are encoded already make the same frame", () => {
  const shape = fc.tuple(
    messageOf<RelayMessage>("entries", relayShapes.entries),
    fc.array(itemShape, { maxLength: 40 }),
  )
  fc.assert(
    fc.property(shape, ([message, items]) => {
      const { items: _, ...rest } = message as Entries
      expect(encodeEntries(rest, items.map(encodeItem))).toEqual(encode({ ...rest, items }))
    }),
    { numRuns: runs },
  )
})

test("reads a frame in the middle of a Node Buffer, and keeps nothing of it alive", () => {
  const frame = encode(golden.push.message)
  const inside = Buffer.concat([Buffer.alloc(100), frame, Buffer.alloc(100)]).subarray(100, 100 + frame.length)
  const message = decodeClient(inside)
  expect(message).toEqual(golden.push.message)
  inside.fill(0)
  expect(message).toEqual(golden.push.message)
  if (message?.t !== "push") throw new Error("no push")
  for (const { chunks } of message.entries)
    for (const chunk of chunks) expect(chunk.buffer.byteLength).toBe(chunk.length)
})

test("an idle reconnect costs less than 300 bytes, frame headers included", () => {
  const w = "0190c0de-0000-7000-8000-000000000001"
  const cursor = cursorOf(123_456, new Uint8Array(8).fill(0xc8))
  const pull = encode({ t: "pull", w, cursor, reach: cursor, credit: limits.credit })
  const { message, chunk, ops } = limits
  const first = encode({
    t: "entries",
    w,
    items: [],
    cursor,
    level: true,
    left: 0,
    principal: "local",
    access: "write",
    limits: { message, chunk, ops },
    time: 1_800_000_000_000,
  })
  // RFC 6455 section 5.2: 2 bytes, 2 more from 126 bytes on, and a client's mask of 4.
  const header = (frame: Uint8Array) => (frame.length < 126 ? 2 : 4)
  expect(pull.length + header(pull) + 4 + first.length + header(first)).toBeLessThan(300)
})

test("a cursor holds its position and compares like it", () => {
  const hash = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8])
  for (const place of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]) {
    expect(position(cursorOf(place, hash))).toBe(place)
    expect(cursorOf(place, hash).subarray(8)).toEqual(hash)
  }
  const inside = Buffer.concat([Buffer.alloc(3), cursorOf(77, hash)]).subarray(3)
  expect(position(inside)).toBe(77)
})

describe("compatibility", () => {
  test("messages of unknown types are ignored, whole frames of them included", () => {
    for (const decode of [decodeClient, decodeRelay]) {
      expect(decode(cborg.encode({ t: "later", w: { deep: [1, [2.5, null, true, new Uint8Array(3)]] } }))).toBeNull()
      expect(decode(cborg.encode({ t: "__proto__" }))).toBeNull()
      expect(decode(cborg.encode({ t: "constructor" }))).toBeNull()
    }
    expect(decodeClient(encode(golden.entries.message))).toBeNull()
    expect(decodeRelay(encode(golden.push.message))).toBeNull()
  })

  test("unknown keys are ignored at every level", () => {
    const strange = { zz: [{ a: 1 }, "x"], __proto: 1, "a-longer-key-of-later": { b: null } }
    for (const { message } of Object.values(golden)) {
      const plain = cborg.decode(encode(message))
      expect(decodeEither(cborg.encode(everyMap(plain, (map) => ({ ...map, ...strange }))), message)).toEqual(message)
    }
  })

  test("a __proto__ key is just another unknown key", () => {
    for (const { message } of Object.values(golden)) {
      const plain = cborg.decode(encode(message))
      const frame = cborg.encode(
        everyMap(plain, (map) =>
          Object.defineProperty({ ...map }, "__proto__", { value: { w: "x" }, enumerable: true }),
        ),
      )
      const decoded = decodeEither(frame, message)
      expect(decoded).toEqual(message)
      expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
    }
  })

  test("an unknown error code means that something was refused", () => {
    const { w, id, entity, hash } = golden.reject.message as Extract<RelayMessage, { t: "reject" }>
    const plain = cborg.decode(encode({ t: "reject", w, id, entity, hash, code: "QUOTA" }))
    const reject = decodeRelay(cborg.encode({ ...plain, code: "MOON_PHASE" }))
    expect(reject).toMatchObject({ code: "REJECTED" })
    expect(outcome(() => decodeRelay(cborg.encode({ ...plain, code: "moon phase" })))).toBe("MESSAGE_BAD")
  })

  test("the bytes of the first version stay as they are", () => {
    for (const [name, { message, frame }] of Object.entries(golden)) {
      expect(Buffer.from(encode(message)).toString("hex"), name).toBe(frame)
      expect(decodeEither(Buffer.from(frame, "hex"), message), name).toEqual(message)
    }
    expect(Object.values(golden).map(({ message }) => message.t)).toEqual(
      expect.arrayContaining([...Object.keys(clientShapes), ...Object.keys(relayShapes)]),
    )
  })
})

describe("hostile frames", () => {
  test("random bytes are refused with a typed error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const decode of [decodeClient, decodeRelay, decodeEntry])
          expect(["MESSAGE_BAD", "null"]).toContain(outcome(() => decode(bytes)))
      }),
      { numRuns: 20 * runs },
    )
  })

  test("a mutated frame is refused with a typed error or read as what it then says", () => {
    const frames = Object.values(golden).map(({ message }) => encode(message))
    const mutation = fc.record({
      frame: fc.nat(frames.length - 1),
      at: fc.array(fc.tuple(fc.nat(2_000), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      cut: fc.tuple(fc.nat(2_000), fc.nat(3)),
      insert: fc.uint8Array({ maxLength: 3 }),
    })
    const seen: Record<string, number> = {}
    fc.assert(
      fc.property(mutation, ({ frame, at, cut, insert }) => {
        const bytes = [...frames[frame]!]
        for (const [where, value] of at) bytes[where % bytes.length] = value
        if (insert.length !== 1) bytes.splice(cut[0] % bytes.length, cut[1], ...insert)
        for (const decode of [decodeClient, decodeRelay]) {
          const result = outcome(() => {
            const message = decode(Uint8Array.from(bytes))
            if (message) expect(decode(encode(message))).toEqual(message)
            return message
          })
          expect(["MESSAGE_BAD", "TOO_LARGE", "null", "accepted"]).toContain(result)
          seen[result] = (seen[result] ?? 0) + 1
        }
      }),
      { numRuns: long ? 200_000 : 5_000 },
    )
    expect(seen["accepted"]).toBeGreaterThan(100)
    expect(seen["MESSAGE_BAD"]).toBeGreaterThan(1_000)
  })

  test("a frame cut anywhere, or followed by anything, is refused", () => {
    for (const { message } of Object.values(golden)) {
      const frame = encode(message)
      for (let end = 0; end < frame.length; end++)
        expect(outcome(() => decodeEither(frame.subarray(0, end), message))).toBe("MESSAGE_BAD")
      expect(outcome(() => decodeEither(Uint8Array.from([...frame, 0xf6]), message))).toBe("MESSAGE_BAD")
    }
  })

  test("a value of a wrong kind is refused in every place", () => {
    const opaque = new Set<string | number>(["data", "row", "key", "blobs"])
    const wrong = [-1, 1.5, undefined, Number.NaN, 2n ** 60n, { "": 1 }, [[[]]], "\0", new Uint8Array(3)]
    for (const { message } of Object.values(golden)) {
      const plain = cborg.decode(encode(message))
      for (const path of paths(plain))
        for (const value of wrong) {
          if (value instanceof Uint8Array && path.some((key) => opaque.has(key))) continue
          const result = outcome(() => decodeEither(cborg.encode(replaced(plain, path, value)), message))
          expect(result, `${message.t} ${path.join(".")} ${String(value)}`).toBe(
            path[0] === "t" && value === "\0" ? "null" : "MESSAGE_BAD",
          )
        }
    }
  })

  test("a key that is missing is refused, and one that is optional is not missed", () => {
    for (const [shapes, decode] of [
      [clientShapes, decodeClient],
      [relayShapes, decodeRelay],
    ] as const)
      for (const [t, { needs, may }] of Object.entries(shapes)) {
        const whole = fc.sample(messageOf<ClientMessage>(t, { needs: { ...needs, ...may }, may: {} }), {
          numRuns: 1,
          seed: 7,
        })[0]!
        const plain = cborg.decode(encode(whole))
        const without = (key: string) => {
          const { [key]: _, ...rest } = plain
          return outcome(() => decode(cborg.encode(rest)))
        }
        for (const key of Object.keys(needs)) expect(without(key), `${t}.${key}`).toBe("MESSAGE_BAD")
        for (const key of Object.keys(may)) expect(without(key), `${t}.${key}`).toBe("accepted")
      }
  })

  test("forms that deterministic CBOR does not allow are refused", () => {
    const bad: Record<string, string> = {
      "no bytes": "",
      "no map": "01",
      "an empty map": "a0",
      "a map that begins with another key": "a26161016174646970696e67",
      "ping with a long head": `b801617464${ascii("ping")}`,
      "ping of indefinite length": `bf617464${ascii("ping")}ff`,
      "a type of indefinite length": `a161747f64${ascii("ping")}ff`,
      "a long length": `a161747804${ascii("ping")}`,
      "a key twice": `a3617464${ascii("ping")}616101616101`,
      "a known key twice": `a2617464${ascii("ping")}617464${ascii("ping")}`,
      "keys out of order": `a3617464${ascii("ping")}616201616101`,
      "a longer key before a shorter one": `a3617464${ascii("ping")}62616101616101`,
      "known keys out of order": `a4617464${ascii("pull")}66${ascii("credit")}016177617765${ascii("reach")}f6`,
      "a key that is a number": `a2617464${ascii("ping")}0101`,
      "a key that is not ASCII": `a2617464${ascii("ping")}62c3a901`,
      "a tag": `a2617464${ascii("ping")}6161c101`,
      "a bignum": `a2617464${ascii("ping")}6161c2420101`,
      "a tagged message": `c1a1617464${ascii("ping")}`,
      "a simple value": `a2617464${ascii("ping")}6161f820`,
      undefined: `a2617464${ascii("ping")}6161f7`,
      "an integer beyond 2^53": `a2617464${ascii("ping")}61611b0020000000000000`,
      "a break on its own": "ff",
    }
    for (const [name, frame] of Object.entries(bad)) {
      expect(
        outcome(() => decodeClient(Buffer.from(frame, "hex"))),
        name,
      ).toBe("MESSAGE_BAD")
    }
    expect(decodeClient(Buffer.from(`a1617464${ascii("ping")}`, "hex"))).toEqual({ t: "ping" })
  })

  test("lengths that are claimed and not there cost nothing", () => {
    const claims = [
      "9affffffff",
      "9b001fffffffffffff",
      "baffffffff",
      "bb001fffffffffffff",
      "5affffffff",
      "5b0000010000000000",
      "7b0000010000000000",
    ]
    for (const claim of claims)
      for (const start of ["a261746470757368", `a2617465${ascii("later")}6161`, ""]) {
        const frame = Buffer.from(start + claim, "hex")
        for (const decode of [decodeClient, decodeRelay, decodeEntry]) {
          expect(["MESSAGE_BAD", "TOO_LARGE"]).toContain(outcome(() => decode(frame)))
          expect(quickest(() => outcome(() => decode(frame)))).toBeLessThan(50)
        }
      }
  })

  test("frames full of nothing are refused before they cost much", () => {
    const fill = (start: string, filling: number) => {
      const frame = new Uint8Array(limits.message).fill(filling)
      frame.set(Buffer.from(start, "hex"))
      return frame
    }
    const later = `a2617465${ascii("later")}6161`
    const frames = [
      fill("", 0x81), // arrays in arrays
      fill(later, 0x81),
      fill(later, 0xa1), // maps in maps
      fill(`${later}9a003fff00`, 0x80), // four million empty arrays
      fill(`${later}9a003fff00`, 0x60),
      fill("a46174647075736861776177626964613167656e74726965739a003fff00", 0x80),
    ]
    for (const frame of frames)
      for (const decode of [decodeClient, decodeRelay, decodeEntry]) {
        expect(["MESSAGE_BAD", "TOO_LARGE"]).toContain(outcome(() => decode(frame)))
        expect(quickest(() => outcome(() => decode(frame)))).toBeLessThan(50)
      }
  })

  test("the fullest push that fits is read in bounded time and memory", () => {
    const chunks = Array.from({ length: limits.parts / 2 }, () => new Uint8Array(500))
    const entry: Entry = { entity: "e", collection: "c", kind: "change", chunks }
    const frame = encode({ t: "push", w: "w", id: "1", entries: [entry, entry] })
    expect(frame.length).toBeGreaterThan(0.9 * limits.message)
    const before = process.memoryUsage()
    const message = decodeClient(frame)
    const after = process.memoryUsage()
    expect(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers).toBeLessThan(5 * limits.message)
    expect(message?.t).toBe("push")
    expect(quickest(() => decodeClient(frame))).toBeLessThan(100)
  })

  test("a push of too many parts is refused before they cost much", () => {
    const entry: Entry = { entity: "e", collection: "c", kind: "change", chunks: [new Uint8Array(34)] }
    const crowded: [number, Entry][] = [
      [27, { ...entry, chunks: Array(limits.chunks).fill(entry.chunks[0]) }],
      [1000, { ...entry, blobs: Array(1024).fill(new Uint8Array(1)) }],
      [100, { ...entry, if: Array(limits.heads).fill("ab".repeat(32)) }],
    ]
    for (const [count, entry] of crowded) {
      const frame = cborg.encode(asPlain({ t: "push", w: "w", id: "1", entries: Array(count).fill(entry) }))
      expect(frame.length).toBeLessThan(limits.message)
      expect(outcome(() => decodeClient(frame))).toBe("TOO_LARGE")
      expect(quickest(() => outcome(() => decodeClient(frame)))).toBeLessThan(20)
    }
  })
})

describe("bounds", () => {
  const hash = "ab".repeat(32)
  const chunk = new Uint8Array(34)
  const entry: Entry = { entity: "e", collection: "c", kind: "change", chunks: [chunk] }
  const many = <T>(n: number, one: T): T[] => Array(n).fill(one)

  /** Sent past our own encoder, which refuses it too. */
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
    const parts = (more: Partial<Entry>) =>
      push([...many(7, { ...entry, chunks: many(1024, chunk) }), { ...entry, ...more }])
    expectBound(parts({ chunks: many(1024, chunk) }), parts({ chunks: many(1025, chunk) }))
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

  test("a frame has its limit, and a chunk only that one", () => {
    const push = (n: number): ClientMessage => ({
      t: "push",
      w: "w",
      id: "1",
      entries: [{ ...entry, chunks: [new Uint8Array(n)] }],
    })
    const room = limits.message - encode(push(100_000)).length + 100_000
    expect(encode(push(room)).length).toBe(limits.message)
    expectBound(push(room), push(room + 1))
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

  test("ids and names have their form", () => {
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

  test("numbers have their range", () => {
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

  test("what is encoded here is checked like what comes in", () => {
    const wrong: unknown[] = [
      { t: "nothing" },
      { t: "pull", credit: 1 },
      { t: "pull", w: 5, credit: 1 },
      { t: "ack", w: "w", id: "1", at: new Uint8Array(15) },
      { t: "have", w: "w", page: [["e", ["AB".repeat(32)]]], more: false },
      { t: "have", w: "w", page: [], more: 1 },
      { t: "push", w: "w", id: "1", entries: [entry], adopt: false },
    ]
    for (const message of wrong)
      expect(outcome(() => encode(message as ClientMessage))).toMatch(/MESSAGE_BAD|TOO_LARGE/)
  })
})

describe("docs/protocol.md", () => {
  const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")
  const cddl = /```cddl\n(.*?)```/s.exec(page)![1]!.replaceAll(/;.*/g, "")

  /** The keys of one rule of the CDDL: "?x" where it is optional. */
  const keysOf = (rule: string) => {
    const body = new RegExp(`^${rule} += \\{([^}]*)\\}`, "m").exec(cddl)?.[1] ?? `no rule ${rule}`
    return [...body.matchAll(/(\? )?\b([a-z][A-Za-z0-9]*): /g)]
      .map(([, optional, key]) => (optional ? `?${key}` : key))
      .sort()
  }
  const keysIn = ({ needs, may }: Shape, more: readonly string[]) =>
    [...more, ...Object.keys(needs), ...Object.keys(may).map((key) => `?${key}`)].sort()

  test("gives every message and entry its keys", () => {
    for (const [t, shape] of Object.entries(clientShapes))
      expect(keysOf(t === "grants" ? "ask-grants" : t), t).toEqual(keysIn(shape, ["t"]))
    for (const [t, shape] of Object.entries(relayShapes)) expect(keysOf(t), t).toEqual(keysIn(shape, ["t"]))
    expect(keysOf("entry")).toEqual(keysIn(entryKeys, []))
  })

  test("names every message in the choice of its direction", () => {
    const choice = (rule: string) =>
      new RegExp(`^${rule} += (.*)$`, "m")
        .exec(cddl)![1]!
        .split(" / ")
        .map((name) => name.trim())
    expect(choice("client-message").map((name) => (name === "ask-grants" ? "grants" : name))).toEqual(
      Object.keys(clientShapes),
    )
    expect(choice("relay-message")).toEqual(Object.keys(relayShapes))
  })

  test("says of every error code that may travel what it asks of the receiver", () => {
    const section = page.slice(page.indexOf("## 6."), page.indexOf("## 7."))
    const local = codes.slice(0, codes.indexOf("RELAY_UNREACHABLE") + 1).filter((code) => !onTheWire.has(code))
    for (const code of codes) {
      if (local.includes(code)) expect(section, code).not.toMatch(new RegExp(`\`${code}\``))
      else expect(section, code).toMatch(new RegExp(`\`${code}\``))
    }
  })

  test("gives every limit", () => {
    const section = page.slice(page.indexOf("## 7."), page.indexOf("## 8."))
    for (const [name, value] of Object.entries(limits)) {
      const row = section.split("\n").find((line) => line.startsWith(`| \`${name}\` `)) ?? `no row for ${name}`
      const shown =
        value >= 2 ** 20
          ? `${value / 2 ** 20} MiB`
          : name === "presence"
            ? `${value / 1024} KiB`
            : value.toLocaleString("en-US")
      expect(row).toContain(` ${shown} `.trimEnd())
    }
  })
})

/** Of the codes that apps meet without a relay, those that a relay sends too. */
const onTheWire: ReadonlySet<Code> = new Set<Code>(["ENTITY_PURGED", "COLLECTION_MISMATCH", "TOO_LARGE"])

// What the tests say of frames ---------------------------------------------------------------------------------------

function outcome(f: () => unknown): string {
  try {
    return f() === null ? "null" : "accepted"
  } catch (error) {
    if (error instanceof HeadwaterError) return error.code
    throw error
  }
}

/** ms of processor time, the least of three runs: what else the machine does is not measured. */
function quickest(f: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const start = process.cpuUsage()
    f()
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1000
  })
  return Math.min(...times)
}

const decodeEither = (frame: Uint8Array, like: { t: string }) =>
  like.t in clientShapes && !("grants" in like) ? decodeClient(frame) : decodeRelay(frame)

/** The same data as cborg alone would encode it: sorted keys, shortest forms. */
const canonical = (frame: Uint8Array) => new Uint8Array(cborg.encode(cborg.decode(frame), cborg.rfc8949EncodeOptions))

const ascii = (text: string) => Buffer.from(text, "latin1").toString("hex")

/** A message as it is on the wire, unchecked: for what `encode` refuses to make. */
function asPlain(value: unknown): unknown {
  if (typeof value === "string" && /^([0-9a-f]{32}){1,2}$/.test(value))
    return Uint8Array.from(Buffer.from(value, "hex"))
  if (Array.isArray(value)) return value.map(asPlain)
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value
  if ("own" in value) return Object.values(value)
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asPlain(one)]))
}

function everyMap(value: unknown, f: (map: Record<string, unknown>) => unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => everyMap(one, f))
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value
  return f(Object.fromEntries(Object.entries(value).map(([key, one]) => [key, everyMap(one, f)])))
}

type Path = readonly (string | number)[]

function paths(value: unknown, path: Path = []): Path[] {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return [path]
  const inside = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return [path, ...inside.flatMap(([key, one]) => paths(one, [...path, key]))]
}

function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by
  const copy: Record<string | number, unknown> = Array.isArray(value) ? ([...value] as never) : { ...(value as object) }
  copy[key] = replaced(copy[key], rest, by)
  return copy
}
