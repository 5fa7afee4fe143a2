import { randomBytes } from "node:crypto"
import * as cborg from "cborg"
import fc from "fast-check"
import { expect, test } from "vitest"
import {
  type ClientMessage,
  decodeClient,
  decodeEntry,
  decodeRelay,
  type Entry,
  encode,
  limits,
} from "../../src/wire/protocol.ts"
import { ascii, asPlain, decodeEither, long, outcome, paths, quickest, replaced, runs } from "./protocol.frames.ts"
import { golden } from "./protocol.golden.ts"
import { clientShapes, messageOf, relayShapes } from "./protocol.shapes.ts"

test("random bytes are refused with a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const decode of [decodeClient, decodeRelay, decodeEntry])
        expect(["MESSAGE_BAD", "null"]).toContain(outcome(() => decode(bytes)))
    }),
    { numRuns: 20 * runs },
  )
})

test("a mutated frame is refused with a typed error, or read as the message that it has become", () => {
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

test("a message without a required key is refused, and without an optional key it is read", () => {
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

test("a length that the frame does not have costs neither time nor memory", () => {
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

test("large frames of empty values are refused before they cost much", () => {
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

test("a push with as many chunks as fit is read in bounded time and memory", () => {
  const chunks = Array.from({ length: limits.chunks / 2 }, () => new Uint8Array(randomBytes(4_000)))
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

test("a push with too many parts is refused before it costs much", () => {
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
