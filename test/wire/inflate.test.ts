import { constants, deflateRawSync, inflateRawSync } from "node:zlib"
import { deflateSync } from "fflate"
import { describe, expect, test, vi } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { deflate } from "../../src/wire/deflate.ts"
import { inflate } from "../../src/wire/inflate.ts"
import { runs } from "../support/histories.ts"
import { untilPasses } from "../support/until.ts"
import { random } from "./chunk.material.ts"

type Level = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9
const strategies = [
  constants.Z_DEFAULT_STRATEGY,
  constants.Z_FILTERED,
  constants.Z_HUFFMAN_ONLY,
  constants.Z_RLE,
  constants.Z_FIXED,
]

function outcome(bytes: Uint8Array, size: number): Uint8Array | string {
  try {
    return inflate(bytes, 0, bytes.length, size)
  } catch (error) {
    if (error instanceof HeadwaterError) return error.code
    throw error
  }
}

/** Returns bytes of one of four kinds: words, noise, a run of one byte, or bytes that are not equally frequent. */
function material(rng: ReturnType<typeof random>): Buffer {
  const size = rng.below(20) === 0 ? rng.below(200_000) : rng.below(2_000)
  const kind = rng.below(4)
  if (kind === 0)
    return Buffer.from(Array.from({ length: size >> 2 }, () => rng.pick(["note", "a", "té ", " 🙂"])).join(""))
  if (kind === 1) return Buffer.from(rng.bytes(size))
  if (kind === 2) return Buffer.alloc(size, rng.below(256))
  return Buffer.from(Array.from({ length: size }, () => Math.min(rng.below(256), rng.below(256), rng.below(256))))
}

test("inflates what zlib and fflate have deflated, in every way", () => {
  const rng = random(1951)
  for (let i = 0; i < runs(400, 20_000); i++) {
    const plain = material(rng)
    const level = (i % 10) as Level
    const zlib = deflateRawSync(plain, { level, strategy: strategies[i % 5]!, memLevel: 3 + (i % 7) })
    const packed = [zlib, deflateSync(plain, { level }), deflate(plain)!]
    for (const bytes of packed)
      expect(Buffer.from(inflate(bytes, 0, bytes.length, plain.length)).equals(plain)).toBe(true)
  }
})

test("a page deflates nothing until fflate is loaded", async () => {
  const plain = Buffer.from("some words, some words and some words more ".repeat(20))
  vi.resetModules()
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
  const { deflate: inPage } = await import("../../src/wire/deflate.ts")
  vi.restoreAllMocks()
  expect(inPage(plain)).toBe(undefined)
  await untilPasses(() => expect(inPage(plain)).toEqual(deflateSync(plain)))
})

describe("refuses", () => {
  const plain = Buffer.from("some words, some words and some words more ".repeat(20))
  const packed = deflateRawSync(plain)

  test("bytes that are left over, or that end early", () => {
    expect(outcome(Buffer.concat([packed, Buffer.alloc(1)]), plain.length)).toBe("CHUNK_BAD")
    for (let end = 0; end < packed.length; end++) {
      expect(outcome(packed.subarray(0, end), plain.length), `${end} bytes`).toBe("CHUNK_BAD")
    }
  })

  test("another length than the promised one", () => {
    expect(outcome(packed, plain.length - 1)).toBe("CHUNK_BAD")
    expect(outcome(packed, plain.length + 1)).toBe("CHUNK_BAD")
    expect(outcome(packed, 2 ** 40)).toBe("CHUNK_BAD")
  })

  test("a third kind of block, a stored block whose length is wrong, and a copy from before the beginning", () => {
    expect(outcome(Uint8Array.of(0x07), 0)).toBe("CHUNK_BAD")
    expect(outcome(Uint8Array.of(0x01, 1, 0, 0xfe, 0xff, 7), 1)).toEqual(Uint8Array.of(7))
    expect(outcome(Uint8Array.of(0x01, 1, 0, 0xfe, 0xfe, 7), 1)).toBe("CHUNK_BAD")
    // A block with the fixed codes, whose first symbol copies 3 bytes from 1 byte back.
    expect(outcome(Uint8Array.of(0x03, 0x02, 0x00), 3)).toBe("CHUNK_BAD")
  })

  test("many short blocks, which would cost much and give nothing", () => {
    const empty = Buffer.alloc(5 * 10_000, Buffer.from([0, 0, 0, 0xff, 0xff]))
    expect(outcome(Buffer.concat([empty, packed]), plain.length)).toBe("CHUNK_BAD")
  })

  test("whatever zlib refuses, and gives what zlib gives", () => {
    const rng = random(7)
    let whole = 0
    for (let i = 0; i < runs(3_000, 100_000); i++) {
      const before = material(rng).subarray(0, 3_000)
      const bytes = Buffer.from(deflateRawSync(before, { strategy: rng.pick(strategies) }))
      for (let n = 1 + rng.below(2); n > 0; n--) bytes[rng.below(Math.min(bytes.length, 80))]! ^= 1 << rng.below(8)
      const ours = outcome(bytes, before.length)
      if (typeof ours === "string") continue
      whole++
      expect(Buffer.from(inflateRawSync(bytes)).equals(Buffer.from(ours))).toBe(true)
    }
    expect(whole).toBeGreaterThan(20)
  })
})
