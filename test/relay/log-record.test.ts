/** The facts about an entry in a record of a segment file: packing them and reading them again. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { GrowingBytes } from "../../relay/log/bytes.ts"
import type { AppendedChange } from "../../relay/log/contract.ts"
import { sample } from "../../relay/log/samples.ts"
import { entityKey } from "../../relay/log/segment/keys.ts"
import { preamble, writePreamble } from "../../relay/log/segment/preamble.ts"
import { FIXED_BYTES, packRecord, record, unpackRecord } from "../../relay/log/segment/record.ts"

const secret = { marker: 0x1234abcd, salt: 77 }
const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((it) => Buffer.from(it).toString("hex"))
const u32 = fc.oneof(fc.nat(300), fc.nat(2 ** 31 - 1))

/** Changes. Some continue the change before them (its actor, seq, operations or hash), and others do not. */
const changesOf: fc.Arbitrary<AppendedChange[]> = fc
  .array(
    fc.record({
      hash: hex(32),
      actor: hex(16),
      seq: u32,
      startOp: u32,
      ops: fc.nat(3),
      deps: fc.array(hex(32), { maxLength: 3 }),
      binds: fc.boolean(),
      like: fc.nat(15),
    }),
    { maxLength: 6 },
  )
  .map((drawn) => {
    const changes: AppendedChange[] = []
    for (const { hash, actor, seq, startOp, ops, deps, binds, like } of drawn) {
      const before = changes.at(-1)
      const first = before && like & 1 ? before.maxOp + 1 : startOp + 1
      changes.push({
        hash,
        actor: before && like & 2 ? before.actor : actor,
        seq: before && like & 4 ? before.seq + 1 : seq,
        startOp: first,
        maxOp: first + ops - 1,
        deps: before && like & 8 ? [before.hash] : deps,
        ...(binds && { binds: true as const }),
      })
    }
    return changes
  })

/** A body that has the deps and the actor of some changes, as a chunk has. `shown`: one bit for each such change. */
const bodyWith = (changes: readonly AppendedChange[], padding: number, shown: number): Buffer =>
  Buffer.concat([
    Buffer.alloc(padding, 0x5a),
    ...changes.flatMap(({ actor, deps }, i) => (shown & (1 << i) ? [Buffer.from(deps.join("") + actor, "hex")] : [])),
    Buffer.alloc(40, 0xa5),
  ])

interface Packed {
  readonly file: Buffer
  readonly facts: Buffer
}

function packed(changes: readonly AppendedChange[], body: Uint8Array): Packed {
  const facts = new GrowingBytes(16)
  const out = new GrowingBytes(16)
  const standing = { position: 2 ** 33 + 5, previous: 2 ** 33 + 1, previousRunning: Buffer.alloc(8, 9) }
  writePreamble(facts, standing, entityKey("note"), sample("any", { collection: "notes", by: "zoë" }).entry, changes)
  packRecord(out, secret, facts.bytes, 0, body)
  return { file: out.filled, facts: facts.filled }
}

function unpacked(file: Buffer): Buffer {
  const facts = new GrowingBytes(16)
  unpackRecord(file, 0, facts)
  return facts.filled
}

describe("a record", () => {
  it("gives back what it was made of, wherever it has it", () => {
    fc.assert(
      fc.property(changesOf, fc.nat(300), fc.nat(63), (changes, padding, shown) => {
        const body = bodyWith(changes, padding, shown)
        const { file, facts } = packed(changes, body)
        expect(record.check(file, 0, secret)).toBe(true)
        expect(record.isBodyWhole(file, 0, secret)).toBe(true)
        expect(unpacked(file.subarray(0, record.headLength(file, 0)))).toEqual(facts)
        expect(record.body(file, 0)).toEqual(body)
        expect(record.position(file, 0)).toBe(2 ** 33 + 5)
        expect(record.previous(file, 0)).toBe(2 ** 33 + 1)
        expect(record.running(file, 0)).toEqual(preamble.running(facts, 0))
      }),
      { numRuns: 300 },
    )
  })

  it.each([1022, 1023, 1024])("with a change of %i deps that another change follows is given back", (deps) => {
    const names = (from: number, n: number) =>
      Array.from({ length: n }, (_, i) => (from + i).toString(16).padStart(64, "0"))
    const [actor, first, second] = ["cd".repeat(16), "11".repeat(32), "22".repeat(32)]
    const changes: AppendedChange[] = [
      { hash: first, actor, seq: 2, startOp: 5, maxOp: 6, deps: names(1, deps) },
      { hash: second, actor, seq: 3, startOp: 7, maxOp: 7, deps: [first] },
    ]
    const { file, facts } = packed(changes, Buffer.alloc(20, 1))
    expect(unpacked(file.subarray(0, record.headLength(file, 0)))).toEqual(facts)
  })

  const dep = "ab".repeat(32)
  const { changes } = sample("edit", { deps: [dep], binds: true, seq: 3 })
  const edit = [{ ...changes[0]!, binds: true as const }]

  it("does not repeat the actor and the dep that stand at the beginning of its body", () => {
    const [alone, shared] = [bodyWith([], 48, 0), bodyWith(edit, 0, 1)]
    const saved = record.factsLength(packed(edit, alone).file, 0) - record.factsLength(packed(edit, shared).file, 0)
    // A place of one byte replaces the 16 bytes of the actor, and another one the 32 bytes of the dep and their number.
    expect(saved).toBe(15 + 32)
  })

  it("is found damaged by every flipped bit of what it says about its entry, in its body too", () => {
    const { file } = packed(edit, bodyWith(edit, 10, 1))
    const head = record.headLength(file, 0)
    expect(head).toBe(record.factsLength(file, 0) + 10 + 32 + 16)
    for (let at = 0; at < head; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const harmed = Buffer.from(file)
        harmed[at]! ^= 1 << bit
        expect([false, "short"], `bit ${bit} of byte ${at}`).toContain(record.check(harmed, 0, secret))
      }
    }
  })

  it("may have an empty body", () => {
    const { file, facts } = packed(edit, new Uint8Array())
    expect(record.check(file, 0, secret)).toBe(true)
    expect(record.isBodyWhole(file, 0, secret)).toBe(true)
    expect(record.body(file, 0)).toEqual(Buffer.alloc(0))
    expect(unpacked(file)).toEqual(facts)
  })

  it("needs no more than its head to be read, and tells when there is less", () => {
    const { file } = packed(edit, bodyWith(edit, 10, 1))
    const head = record.headLength(file, 0)
    expect(record.check(file.subarray(0, FIXED_BYTES - 1), 0, secret)).toBe("short")
    expect(record.check(file.subarray(0, head - 1), 0, secret)).toBe("short")
    expect(record.check(file.subarray(0, head), 0, secret)).toBe(true)
  })
})
