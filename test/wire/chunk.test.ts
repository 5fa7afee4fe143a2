import { createHash } from "node:crypto"
import { deflateRawSync } from "node:zlib"
import * as A from "@automerge/automerge"
import { sha256 } from "@noble/hashes/sha2.js"
import fc from "fast-check"
import { expect, test } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { bytesOfHex, hex } from "../../src/base/hash.ts"
import { type Change, deriveChange, isDerived, readChange, sealChange } from "../../src/wire/chunk.ts"
import { limits } from "../../src/wire/message-types.ts"
import { bodyOf, forge, reseal, seal, sleb, uleb } from "../support/forged-chunk.ts"
import { honestChanges, largeEdits, mutate, random, smallEdits } from "./chunk.material.ts"

const long = process.env["HEADWATER_LONG"] === "1"

test("agrees with Automerge on every field of honest changes", () => {
  const wanted = long ? 100_000 : 3_000
  const seen = { deps: 0, merges: 0, messages: 0, others: 0, empty: 0, bytes: 0 }
  let count = 0
  for (const chunk of honestChanges(random(1), smallEdits)) {
    const change = expectAgreement(chunk)
    seen.deps += change.deps.length > 0 ? 1 : 0
    seen.merges += change.deps.length > 1 ? 1 : 0
    seen.messages += change.message === null ? 0 : 1
    seen.empty += change.ops === 0 ? 1 : 0
    seen.bytes += chunk.length
    if (++count === wanted) break
  }
  expect(seen.bytes / count).toBeGreaterThan(100)
  expect(seen.bytes / count).toBeLessThan(400)
  for (const share of [seen.deps, seen.merges, seen.messages, seen.empty]) expect(share).toBeGreaterThan(count / 50)
})

test("agrees with Automerge on large changes", () => {
  const wanted = long ? 1_000 : 30
  let count = 0
  let bytes = 0
  for (const chunk of honestChanges(random(2), largeEdits)) {
    if (chunk.length < 2_000) continue
    expectAgreement(chunk)
    bytes += chunk.length
    if (++count === wanted) break
  }
  expect(bytes / count).toBeGreaterThan(10_000)
})

test("answers a mutated chunk with a change or a typed error, and nothing else", () => {
  const wanted = long ? 200_000 : 10_000
  const rng = random(3)
  const honest = take(honestChanges(random(4), smallEdits), 400)
  const outcomes: Record<string, number> = { accepted: 0, CHUNK_BAD: 0, TOO_LARGE: 0 }
  const hashing = hashingTime()
  let slowest = 0
  for (let i = 0; i < wanted; i++) {
    const chunk = mutate(rng, honest)
    const start = performance.now()
    const outcome = outcomeOf(chunk)
    const ms = performance.now() - start
    // A chunk that seemed slow is read again, because a pause of the machine must not count as the reader's time.
    if (ms > hashing)
      slowest = Math.max(
        slowest,
        quickest(() => outcomeOf(chunk)),
      )
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  // The mutants are useful only if many have a valid checksum, and if the reader accepts some.
  expect(outcomes["accepted"]).toBeGreaterThan(wanted / 50)
  expect(outcomes["CHUNK_BAD"]).toBeGreaterThan(wanted / 5)
  expect(Object.keys(outcomes).sort()).toEqual(["CHUNK_BAD", "TOO_LARGE", "accepted"])
  expect(slowest).toBeLessThan(20 * hashing)
})

test("gives a derived change the bytes that authoring with its actor gives", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/), fc.string({ maxLength: 40 }), (entity, value) => {
      const author = (actor: string) =>
        A.getLastLocalChange(
          A.change(A.init<Record<string, unknown>>({ actor }), { time: 0 }, (doc) => {
            doc["@type"] = new A.ImmutableString(value)
          }),
        )!
      const derived = deriveChange(entity, author("00".repeat(16)))
      const change = readChange(derived)
      expect(author(change.actor)).toEqual(derived)
      expect(isDerived(entity, change)).toBe(true)
      expect(isDerived(`${entity}x`, change)).toBe(false)
    }),
    { numRuns: long ? 1_000 : 100 },
  )
})

test("derives the actor from the entity id and all of the change", () => {
  const template = forge({ actor: actor(0), message: "m", deps: hashes(2) })
  const expected = createHash("sha256").update("note-1").update(template.subarray(8)).digest().subarray(0, 16)
  expect(readChange(deriveChange("note-1", template)).actor).toBe(hex(expected))
})

test("makes the same genesis as every other version of this library", () => {
  const genesis = A.change(A.init<Record<string, unknown>>({ actor: "00".repeat(16) }), { time: 0 }, (doc) => {
    doc["@type"] = new A.ImmutableString("notes")
  })
  const derived = deriveChange("0190c0de-0000-7000-8000-000000000001", A.getLastLocalChange(genesis)!)
  expect(hex(derived)).toBe(
    "856f4a83df88ce08013700108a8be0fbb6373a385d42d4e651db09420101000000061507340142025602570570027f054074797065017f017f566e6f7465737f00",
  )
})

test("seals and reads a chunk as if it had been sealed before", () => {
  const chunk = forge({ deps: hashes(2), message: "m" })
  const unsealed = chunk.slice()
  unsealed.fill(0, 4, 8)
  expect(sealChange(unsealed)).toEqual(readChange(chunk))
  expect(codeOf(() => sealChange(new Uint8Array(limits.chunk + 1)))).toBe("TOO_LARGE")
})

test("does not take a session actor's change for a derived one", () => {
  const chunk = forge({})
  expect(isDerived("e", readChange(chunk))).toBe(false)
  const derived = deriveChange("e", chunk)
  expect(isDerived("e", readChange(derived))).toBe(true)
  expect(isDerived("e", { ...readChange(derived), seq: 2 })).toBe(false)
})

test("refuses run-length bombs at once, however many operations they claim", () => {
  const bombs: Record<string, Uint8Array> = {
    "a run of 2^40 operations": forge({ columns: [[66, [...sleb(2 ** 40), 1]]] }),
    "a literal of 2^40 operations": forge({ columns: [[66, [...sleb(-(2 ** 40)), 1, 1]]] }),
    "2^40 operations without an action": forge({ columns: [[66, [0, ...uleb(2 ** 40)]]] }),
    "a hundred thousand runs": forge({
      columns: [
        [
          66,
          Array(100_000)
            .fill([...sleb(2 ** 13), 1])
            .flat(),
        ],
      ],
    }),
    "an operation with 2^40 predecessors": forge({
      columns: [
        [66, [1, 1]],
        [112, [1, ...uleb(2 ** 40)]],
      ],
    }),
    "2^17 keys of 100 kB each": forge({
      columns: [
        [21, [...sleb(2 ** 17), ...uleb(100_000), ...Array(100_000).fill(97)]],
        [66, [...sleb(2 ** 17), 1]],
      ],
    }),
    "2^17 mark names of 100 kB each": forge({
      columns: [
        [66, [...sleb(2 ** 17), 7]],
        [165, [...sleb(2 ** 17), ...uleb(100_000), ...Array(100_000).fill(97)]],
      ],
    }),
  }
  const hashing = hashingTime()
  for (const [name, bomb] of Object.entries(bombs)) {
    expect(outcomeOf(bomb), name).not.toBe("accepted")
    expect(
      quickest(() => outcomeOf(bomb)),
      name,
    ).toBeLessThan(20 * hashing)
  }
  expect(outcomeOf(bombs["a run of 2^40 operations"]!)).toBe("TOO_LARGE")
  expect(outcomeOf(bombs["an operation with 2^40 predecessors"]!)).toBe("TOO_LARGE")
})

test("accepts as many operations and bytes as the limits allow, and not one more", () => {
  const ops = (n: number) => forge({ columns: [[66, [...sleb(n), 1]]] })
  expect(readChange(ops(limits.ops)).ops).toBe(limits.ops)
  expect(outcomeOf(ops(limits.ops + 1))).toBe("TOO_LARGE")
  expect(codeOf(() => readChange(ops(11), { message: 100, chunk: 100, ops: 10 }))).toBe("TOO_LARGE")

  const one: [number, number[]] = [66, [1, 1]]
  const predecessors = (n: number) => forge({ columns: [one, [112, [0x7f, ...uleb(n)]]] })
  expect(outcomeOf(predecessors(limits.ops))).toBe("accepted")
  expect(outcomeOf(predecessors(limits.ops + 1))).toBe("TOO_LARGE")
  const runs = (n: number) => forge({ columns: [one, [112, [...sleb(n), 1]]] })
  expect(outcomeOf(runs(limits.ops))).toBe("accepted")
  expect(outcomeOf(runs(limits.ops + 1))).toBe("TOO_LARGE")
  const keys = (column: number, n: number) => {
    const name: [number, number[]] = [column, [...sleb(n), ...uleb(1024), ...Array(1024).fill(97)]]
    return forge({ columns: [name, one].sort(([a], [b]) => a - b) })
  }
  for (const column of [21, 165]) {
    expect(outcomeOf(keys(column, (16 * limits.chunk) / 1024))).toBe("accepted")
    expect(outcomeOf(keys(column, (16 * limits.chunk) / 1024 + 1))).toBe("TOO_LARGE")
  }

  const filled = (length: number) => forge({ extra: Array(length).fill(0) })
  const around = limits.chunk - filled(100_000).length + 100_000
  expect(readChange(filled(around)).chunk.length).toBe(limits.chunk)
  expect(outcomeOf(filled(around + 1))).toBe("TOO_LARGE")
  expect(outcomeOf(forge({ deps: hashes(limits.heads) }))).toBe("accepted")
  expect(outcomeOf(forge({ deps: hashes(limits.heads + 1) }))).toBe("TOO_LARGE")
})

test("refuses documents, deflated changes and bundles", () => {
  let doc = A.from<Record<string, unknown>>({ body: "x".repeat(1_000) })
  doc = A.change(doc, (draft) => A.splice(draft, ["body"], 0, 0, "y".repeat(1_000)))
  const change = A.getLastLocalChange(doc)!
  expect(outcomeOf(change)).toBe("accepted")

  const body = deflateRawSync(bodyOf(change))
  const deflated = Uint8Array.from([...change.subarray(0, 8), 2, ...uleb(body.length), ...body])
  expect(A.decodeChange(deflated).hash).toBe(readChange(change).hash)

  expect(outcomeOf(deflated)).toBe("CHUNK_BAD")
  expect(outcomeOf(A.save(doc))).toBe("CHUNK_BAD")
  expect(outcomeOf(A.saveBundle(doc, [readChange(change).hash]))).toBe("CHUNK_BAD")
})

test("refuses every departure from the canonical form", () => {
  const two = hashes(2)
  const good = forge({ deps: two, others: [actor(1), actor(2)], columns: [[66, [1, 1]]], message: "é" })
  const at = (offset: number, value: number) => reseal(Uint8Array.from(good).fill(value, offset, offset + 1))
  const bodyAt = good.length - bodyOf(good).length
  const wrong: Record<string, Uint8Array> = {
    "no bytes": new Uint8Array(),
    "nothing but a header": good.subarray(0, 9),
    "another magic": Uint8Array.from(good).fill(0, 0, 1),
    "a wrong checksum": Uint8Array.from(good).fill(good[4]! ^ 1, 4, 5),
    "a byte too many": Uint8Array.from([...good, 0]),
    "a byte too few": good.subarray(0, good.length - 1),
    "an overlong length": seal([1, ...uleb(bodyOf(good).length, true), ...bodyOf(good)]),
    "an overlong number": forge({ seq: uleb(1, true) }),
    "a number beyond 2^53": forge({ seq: uleb(2 ** 53) }),
    "a number of 10 bytes": forge({ seq: [255, 255, 255, 255, 255, 255, 255, 255, 255, 1] }),
    "an overlong time": forge({ time: [0x81, 0] }),
    "an overlong negative time": forge({ time: [0xff, 0x7f] }),
    "a time beyond any date": forge({ time: sleb(2 ** 50) }),
    "seq 0": forge({ seq: [0] }),
    "startOp 0": forge({ startOp: [0] }),
    "a counter beyond 31 bits": forge({ startOp: uleb(2 ** 31 - 1), columns: [[66, [2, 1]]] }),
    "unsorted deps": forge({ deps: [...two].reverse() }),
    "a dep twice": forge({ deps: [two[0]!, two[0]!] }),
    "more deps than there are bytes": at(bodyAt, 0x7f),
    "a short actor": forge({ actor: actor(0).slice(1) }),
    "a long actor": forge({ actor: [...actor(0), 0] }),
    "a short other actor": forge({ others: [actor(1).slice(1)] }),
    "unsorted other actors": forge({ others: [actor(2), actor(1)] }),
    "an other actor twice": forge({ others: [actor(1), actor(1)] }),
    "a message that is not UTF-8": forge({ message: [0xff, 0xfe] }),
    "unsorted columns": forge({
      columns: [
        [66, [1, 1]],
        [52, [1]],
      ],
    }),
    "a column twice": forge({
      columns: [
        [66, [1, 1]],
        [66, [1, 1]],
      ],
    }),
    "a deflated column": forge({ columns: [[66 | 8, [1, 1]]] }),
    "a deflated column that nobody knows": forge({ columns: [[0x3f8, [1, 1]]] }),
    "other actors that differ in the last byte only, unsorted": forge({
      others: [
        [...actor(1).slice(1), 2],
        [...actor(1).slice(1), 1],
      ],
    }),
    "columns beyond the end": forge({ table: [1, 66, 100] }),
    "2^40 columns": forge({ table: uleb(2 ** 40) }),
    "an operation without an action": forge({ columns: [[66, [0, 1]]] }),
    "a column that ends early": forge({ columns: [[66, [2]]] }),
    "a key that ends early": forge({
      columns: [
        [21, [0x7f, 5, 97]],
        [66, [1, 1]],
      ],
    }),
  }
  expect(readChange(good)).toMatchObject({ deps: two, ops: 1, seq: 1, startOp: 1, maxOp: 1, message: "é", time: 0 })
  expect(readChange(forge({ startOp: uleb(2 ** 31 - 1), columns: [[66, [1, 1]]] })).maxOp).toBe(2 ** 31 - 1)
  const alike = [1, 2].map((last) => [...actor(1).slice(1), last])
  expect(outcomeOf(forge({ others: alike }))).toBe("accepted")
  for (const [name, chunk] of Object.entries(wrong)) expect(outcomeOf(chunk), name).toBe("CHUNK_BAD")
})

test("reads times before 1970 and far after it", () => {
  for (const time of [0, -1, 63, 64, -64, -65, 8191, -8192, 1_700_000_000, 2 ** 45, -(2 ** 45)])
    expect(readChange(forge({ time: sleb(time) })).time).toBe(time)
})

test("reads a chunk in the middle of a larger buffer, and in a Node Buffer", () => {
  const chunk = deriveChange("e", forge({ deps: hashes(1) }))
  const inside = Buffer.concat([Buffer.from("before"), chunk, Buffer.from("after")]).subarray(6, 6 + chunk.length)
  const { chunk: _, ...change } = readChange(inside)
  expect(readChange(chunk)).toMatchObject(change)
  expect(isDerived("e", readChange(inside))).toBe(true)
  expect(deriveChange("f", inside)).toEqual(deriveChange("f", chunk))
  expect(new Uint8Array(inside)).toEqual(chunk)
})

test("writes and reads hexadecimal", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(hex(bytes)).toBe(Buffer.from(bytes).toString("hex"))
      expect(bytesOfHex(hex(bytes))).toEqual(bytes)
    }),
  )
  for (const wrong of ["0", "0g", "AA", "0x", " 0", "é0", "00\u0661\u0661"])
    expect(codeOf(() => bytesOfHex(wrong))).toBe("CHUNK_BAD")
})

// What Automerge reads from the same bytes ---------------------------------------------------------------------------

function expectAgreement(chunk: Uint8Array): Change {
  const change = readChange(chunk)
  const { ops, ...header } = A.decodeChange(chunk)
  const { hash, deps, actor, seq, startOp, time, message } = change
  expect({ hash, deps, actor, seq, startOp, time, message }).toEqual(header)
  expect(change.ops).toBe(ops.length)
  expect(change.maxOp).toBe(startOp + ops.length - 1)
  return change
}

function outcomeOf(chunk: Uint8Array): string {
  return codeOf(() => readChange(chunk)) ?? "accepted"
}

function codeOf(f: () => unknown): string | undefined {
  try {
    f()
    return undefined
  } catch (error) {
    if (error instanceof HeadwaterError) return error.code
    throw error
  }
}

const actor = (n: number): number[] => Array(16).fill(n)
const hashes = (n: number): string[] => Array.from({ length: n }, (_, i) => i.toString(16).padStart(64, "0"))

/** Time to hash the largest chunk, ms. Reading that chunk takes at least this long. */
const hashingTime = () => quickest(() => sha256(new Uint8Array(limits.chunk)))

/** Time of the fastest of three runs, ms, so that other work of the machine is not measured. */
function quickest(f: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const start = performance.now()
    f()
    return performance.now() - start
  })
  return Math.min(...times)
}

function take<T>(items: Iterable<T>, count: number): T[] {
  const taken: T[] = []
  for (const item of items) if (taken.push(item) === count) break
  return taken
}
