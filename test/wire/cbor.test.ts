import * as cborg from "cborg"
import fc from "fast-check"
import { expect, test } from "vitest"
import { Major, Reader } from "../../src/wire/cbor.ts"
import { runs } from "./protocol.frames.ts"

/** With these options, cborg refuses all encodings that are not deterministic, as the reader does. */
const strict = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  useMaps: true,
}

const accepts = (read: () => unknown): boolean => {
  try {
    read()
    return true
  } catch {
    return false
  }
}

function skipped(bytes: Uint8Array): void {
  const reader = new Reader(bytes)
  reader.skip()
  reader.end()
}

const values = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.maxSafeInteger(),
    fc.nat(300),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(true, false, null, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32),
    fc.string({ unit: "grapheme", maxLength: 90 }),
    fc.uint8Array({ maxLength: 90 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 8 }), tie("value"), { maxKeys: 4 }),
  ),
})).value

test("the reader accepts what cborg accepts, and refuses what cborg refuses", () => {
  const mutation = fc.record({
    value: values,
    at: fc.array(fc.tuple(fc.nat(1_000), fc.nat(255)), { maxLength: 2 }),
    cut: fc.boolean(),
  })
  const seen = { accepted: 0, refused: 0 }
  fc.assert(
    fc.property(mutation, ({ value, at, cut }) => {
      const bytes = Uint8Array.from(cborg.encode(value, cborg.rfc8949EncodeOptions))
      for (const [where, byte] of at) bytes[where % bytes.length] = byte
      const frame = cut ? bytes.subarray(0, -1) : bytes
      const ours = accepts(() => skipped(frame))
      expect(ours).toBe(accepts(() => cborg.decode(frame, strict)))
      seen[ours ? "accepted" : "refused"]++
    }),
    { numRuns: 100 * runs },
  )
  expect(seen.accepted).toBeGreaterThan(20 * runs)
  expect(seen.refused).toBeGreaterThan(20 * runs)
})

test("a text is read as it was written, whatever its length, and a byte order mark stays", () => {
  for (const text of ["", "a", "é", "\uFEFFa", "x".repeat(63), "x".repeat(64), `${"x".repeat(62)}é`, "€".repeat(70)])
    expect(new Reader(cborg.encode(text)).text()).toBe(text)
  for (const bytes of [
    [0x61, 0xff],
    [0x62, 0xc3, 0x28],
    [0x63, 0xed, 0xa0, 0x80],
  ])
    expect(() => new Reader(Uint8Array.from(bytes)).text()).toThrow("is not UTF-8")
})

test("bytes are a copy, so that a chunk does not keep its frame in memory", () => {
  const frame = Buffer.from([0x42, 1, 2])
  const bytes = new Reader(frame).bytes()
  expect(bytes.buffer).not.toBe(frame.buffer)
  expect(bytes).toEqual(Uint8Array.from([1, 2]))
})

test("the error for a wrong type names both types", () => {
  expect(() => new Reader(Uint8Array.of(0x01)).head(Major.map)).toThrow("is of type uint and not map")
})
