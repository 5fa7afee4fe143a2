import { readFileSync } from "node:fs"
import { deflateRawSync } from "node:zlib"
import fc from "fast-check"
import { beforeAll, describe, expect, test, vi } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { genesisOf, textContainer } from "../../src/document/derived-changes.ts"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { edited } from "../../src/schema/draft.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { layoutOf, openChunk } from "../../src/wire/layout.ts"
import { Bytes } from "../../src/wire/leb128.ts"
import {
  decodeClient,
  decodeEntry,
  type Entry,
  encode,
  encodeEntry,
  limits,
  type Push,
} from "../../src/wire/protocol.ts"
import { changeAt, ReceivedChunks } from "../../src/wire/received-chunks.ts"
import { type Owner, readSequence } from "../../src/wire/sequence.ts"
import { blockSize, encodeChunks, makeChunks, openBlock } from "../../src/wire/short-chunks.ts"
import { forge, sleb, uleb } from "../support/forged-chunk.ts"
import {
  actorOf,
  commands,
  type Edit,
  ID,
  type Note,
  createdNote as newNote,
  notes,
  play,
  runs,
} from "../support/histories.ts"
import { honestChanges, largeEdits, type Random, random, smallEdits } from "./chunk.material.ts"

/** The work of decoding so far: bytes that were inflated or allocated for inflating, and bytes that were hashed. */
const work = vi.hoisted(() => ({ inflated: 0, hashed: 0 }))
vi.mock("../../src/wire/inflate.ts", async (original) => {
  const real = await original<typeof import("../../src/wire/inflate.ts")>()
  return {
    inflate(...args: Parameters<typeof real.inflate>) {
      work.inflated += args[3]
      return real.inflate(...args)
    },
  }
})
vi.mock("../../src/base/hash.ts", async (original) => {
  const real = await original<typeof import("../../src/base/hash.ts")>()
  return {
    ...real,
    sha256(bytes: Uint8Array) {
      work.hashed += bytes.length
      return real.sha256(bytes)
    },
  }
})

beforeAll(() => loadAutomerge())

const owner = { entity: ID, collection: "notes" }
/** Decodes a block into its chunks. Checks that the change beside a chunk is the one that `readChange` reads. */
function decodeChunks(of: Owner, block: Uint8Array): readonly Uint8Array[] {
  const made = makeChunks(of, openBlock(block))
  for (const { chunk, change } of made) {
    if (change === undefined) continue
    expect(change.chunk).toBe(chunk)
    // The chunk is left out, because its bytes would be compared one by one.
    expect({ ...change, chunk: undefined }).toEqual({ ...readChange(chunk), chunk: undefined })
  }
  return made.map(({ chunk }) => chunk)
}
const hexes = (chunks: readonly Uint8Array[]) => chunks.map((chunk) => Buffer.from(chunk).toString("hex"))
const bytesOf = (chunks: readonly Uint8Array[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

/** Encodes chunks in all ways, and checks that they decode into the same bytes. Returns the lengths of two blocks. */
function roundTrip(chunks: readonly Uint8Array[], of = owner): { short: number; deflated: number } {
  const [short, deflated] = (["short", "deflated", "whole"] as const).map((effort) => {
    const block = encodeChunks(of, chunks, effort)
    expect(hexes(decodeChunks(of, block))).toEqual(hexes(chunks))
    expect(blockSize(block)).toMatchObject({ bytes: bytesOf(chunks), chunks: chunks.length })
    return block.length
  })
  return { short: short!, deflated: deflated! }
}

describe("every chunk comes back byte for byte", () => {
  test("of histories that our own replicas make", () => {
    fc.assert(
      fc.property(commands(3, 40, 1), (script) => {
        const replicas = play(3, script)
        for (const replica of replicas) {
          const chunks = [...replica.changes.values()].map(({ chunk }) => chunk)
          roundTrip(chunks)
          roundTrip(chunks.slice(chunks.length >> 1))
          roundTrip([...chunks].reverse())
          replica.free()
        }
      }),
      { numRuns: runs(12, 1_000) },
    )
  })

  test("of histories that use all of Automerge", () => {
    for (let seed = 1; seed <= runs(4, 100); seed++) {
      const rng = random(seed)
      const changes = honestChanges(rng, seed % 4 === 0 ? [...smallEdits, ...largeEdits] : smallEdits)
      for (let n = 0; n < 8; n++) {
        const chunks = Array.from({ length: 1 + rng.below(12) }, () => changes.next().value as Uint8Array)
        roundTrip(chunks)
      }
    }
  })

  test("and of bytes that are no change, between changes", () => {
    const rng = random(5)
    const changes = honestChanges(rng, smallEdits)
    for (let n = 0; n < 200; n++) {
      roundTrip(
        Array.from({ length: 1 + rng.below(5) }, () =>
          rng.below(2) === 0 ? rng.bytes(34 + rng.below(200)) : (changes.next().value as Uint8Array),
        ),
      )
    }
  })

  test("when times are as far apart as numbers allow", () => {
    const far = 2 ** 48 - 1
    const chunks = [far, -far, 0, far].map((time) => forge({ time: sleb(time) }))
    roundTrip(chunks)
  })
})

test("a create is named but for its content", () => {
  const { genesis, changes } = createdNote("a title")
  const chunks = [genesis, ...changes].map(({ chunk }) => chunk)
  expect(chunks).toHaveLength(4)
  const content = chunks.at(-1)!.length
  const block = encodeChunks(owner, chunks, "short")
  expect(hexes(decodeChunks(owner, block))).toEqual(hexes(chunks))
  // The block has a byte for the genesis, two texts as form, length and key, and the content without its two deps.
  expect(block.length).toBeLessThan(1 + (2 + "body".length) + (2 + "summary".length) + content - 64)
  expect(
    decodeChunks({ ...owner, collection: "tasks" }, encodeChunks({ ...owner, collection: "tasks" }, chunks)),
  ).toEqual(chunks)
})

function createdNote(title: string) {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const changes = entity.write(notes, newNote({ title, body: "b", summary: "s" }), 1)
  entity.free()
  return { genesis: entity.genesis, changes }
}

test("the example in docs/protocol.md has the bytes of these changes", () => {
  const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")
  const example = /<!-- example -->\n```\n(.*?)```/s.exec(page)![1]!.replaceAll(/;.*|\s/g, "")
  const id = "0190c0de-0000-7000-8000-000000000001"
  const entity = Entity.create(id, "notes", "00112233445566778899aabbccddeeff")
  const changes = [entity.genesis, ...entity.write(notes, newNote({ title: "T", body: "hi" }), 1_800_000_000)]
  const retitled = edited(notes, entity.whole(notes), (draft: Note) => void (draft.title = "U"))
  changes.push(...entity.write(notes, retitled.changes, 1_800_000_060))
  entity.free()
  const chunks = changes.map(({ chunk }) => chunk)
  const entry: Entry = { entity: id, collection: "notes", kind: "change", chunks }
  expect(decodeEntry(Buffer.from(example, "hex"))).toEqual(entry)
  expect(example).toContain(Buffer.from(encodeChunks(entry, chunks, "short")).toString("hex"))
})

test("a change is hashed once: whoever reads the chunks of a decoded entry takes what decoding has read", () => {
  const entity = Entity.create(ID, "notes", actorOf(0))
  const made = entity.write(notes, newNote({ title: "0" }), 1)
  const begin = [entity.genesis, ...made].map(({ chunk }) => chunk)
  const edits = Array.from({ length: 20 }, (_, i) => {
    const { changes } = edited(notes, entity.whole(notes), (draft: Note) => void (draft.title = `${i + 1}`))
    return entity.write(notes, changes, i + 2)[0]!.chunk
  })
  entity.free()
  const hashedFor = (chunks: readonly Uint8Array[]) => {
    const block = encodeEntry({ ...owner, kind: "change", chunks })
    Object.assign(work, { inflated: 0, hashed: 0 })
    const entry = decodeEntry(block)
    for (const i of entry.chunks.keys()) expect(changeAt(entry.chunks, i).chunk).toEqual(chunks[i])
    return work.hashed
  }
  expect(hashedFor(edits)).toBe(bytesOf(edits) - 8 * edits.length)
  // The genesis and the containers are still in memory, so only the last change is hashed.
  expect(hashedFor(begin)).toBe(begin.at(-1)!.length - 8)
})

test("a named change has the same bytes, whether it is remembered or made again", () => {
  const of = (i: number) => genesisOf(`n${i}`, "notes")
  const chunks = Array.from({ length: 5000 }, (_, i) => of(i).chunk)
  for (const i of [0, 1, 2500, 4998, 4999]) expect(of(i).chunk).toEqual(chunks[i])
  // An entity may have a hash as its id, and a collection may have the name of a field.
  const genesis = of(0)
  const text = textContainer("n0", genesis, "body")
  expect(genesisOf(genesis.hash, "body").hash).not.toBe(text.hash)
})

test("named changes have the bytes that Automerge writes", () => {
  for (const collection of ["notes", "n", "a".repeat(63), "x_-9"]) {
    for (const entity of [ID, "0190c0de-0000-7000-8000-000000000001"]) {
      const genesis = genesisOf(entity, collection)
      const texts = ["body", "", "ключ".repeat(40), "k".repeat(127)].map((key) => textContainer(entity, genesis, key))
      const chunks = [genesis, ...texts].map(({ chunk }) => chunk)
      const block = encodeChunks({ entity, collection }, chunks, "short")
      expect(hexes(decodeChunks({ entity, collection }, block))).toEqual(hexes(chunks))
      expect(block.length).toBeLessThan(4 + 3 + 1 + 4 + 0 + 322 + 127 + 4 * 3)
    }
  }
})

test("fifty edits of a note weigh what they say", () => {
  const rng = random(50)
  const entity = Entity.create(ID, "notes", actorOf(0))
  const words = () => Array.from({ length: 120 }, () => rng.pick(["some", "words", "of", "a", "note"])).join(" ")
  entity.write(notes, newNote({ title: "a note", body: words(), summary: "s" }), 1_800_000_000)
  const chunks: Uint8Array[] = []
  for (let i = 0; i < 50; i++) {
    const made = edited(notes, entity.whole(notes), (draft: Note, edit: Edit) => {
      if (i % 10 === 9) draft.title = `title ${i}`
      else edit.splice("body", rng.below(draft.body.length), 0, rng.pick(["a", "few", "letters", "and ", "so"]))
    })
    chunks.push(...entity.write(notes, made.changes, 1_800_000_000 + 7 * i).map(({ chunk }) => chunk))
  }
  entity.free()
  expect(chunks).toHaveLength(50)
  const { short, deflated } = roundTrip(chunks)
  console.log(`50 edits: ${bytesOf(chunks) / 50} bytes as they are, ${short / 50} short, ${deflated / 50} deflated`)
  expect(bytesOf(chunks) / 50).toBeGreaterThan(120)
  expect(short / 50).toBeLessThan(82)
  expect(deflated / 50).toBeLessThan(24)
})

test("changes that were just made are not hashed again, and their block is that of any copy of them", () => {
  const made = { entity: "just-made", collection: "notes" }
  const genesis = genesisOf(made.entity, made.collection)
  const chunks = [genesis.chunk, textContainer(made.entity, genesis, "body").chunk]
  const hashedFor = (of: readonly Uint8Array[]) => {
    work.hashed = 0
    return { block: encodeChunks(made, of), hashed: work.hashed }
  }
  const { block, hashed } = hashedFor(chunks)
  expect(hashed).toBe(0)
  const copies = hashedFor(chunks.map((chunk) => chunk.slice()))
  expect(copies.hashed).toBeGreaterThan(0)
  expect(copies.block).toEqual(block)

  for (let i = 0; i < 3000; i++) genesisOf(`later-${i}`, "notes") // so many that the first ones are forgotten
  const forgotten = hashedFor(chunks)
  expect(forgotten.hashed).toBeGreaterThan(0)
  expect(forgotten.block).toEqual(block)
})

describe("bytes that are no block", () => {
  /** Decodes a block. Returns the chunks, or the code with which the block was refused. Throws any other error. */
  function outcome(block: Uint8Array): readonly Uint8Array[] | string {
    try {
      return decodeChunks(owner, block)
    } catch (error) {
      if (error instanceof HeadwaterError) return error.code
      throw error
    }
  }
  /** Makes a block of this sequence. Its check is right if the sequence decodes into these chunks. */
  const blockOf = (sequence: readonly number[], chunks: readonly Uint8Array[], size = bytesOf(chunks)) => {
    const check = [0, 1, 2, 3].map((i) => chunks.reduce((sum, chunk) => sum ^ chunk[4 + i]!, 0))
    return Uint8Array.from([...uleb(2 * size), ...uleb(chunks.length), ...sequence, ...check])
  }
  const genesis = () => genesisOf(ID, "notes").chunk

  test("are refused when they are longer, shorter or other than they say", () => {
    const chunk = genesis()
    expect(outcome(blockOf([8], [chunk]))).toEqual([chunk])
    expect(outcome(blockOf([8], [chunk], chunk.length + 1))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([8], [chunk], chunk.length - 1))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([8, 8], [chunk, chunk], chunk.length))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([11], [chunk]))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([255], [chunk]))).toBe("CHUNK_BAD")
    const whole = blockOf([8], [chunk])
    for (let i = 0; i < whole.length; i++) expect(outcome(whole.subarray(0, i)), `${i} bytes`).toBe("CHUNK_BAD")
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const flipped = Uint8Array.from(whole)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      expect(typeof outcome(flipped), `bit ${bit}`).toBe("string")
    }
  })

  test("are refused when a number is longer than it needs to be", () => {
    const chunk = genesis()
    const tail = blockOf([8], [chunk]).subarray(1)
    expect(outcome(Uint8Array.from([...uleb(2 * chunk.length, true), ...tail.subarray(1)]))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([10, ...uleb(chunk.length), ...chunk], [chunk]))).toEqual([chunk])
    expect(outcome(blockOf([10, ...uleb(chunk.length, true), ...chunk], [chunk]))).toBe("CHUNK_BAD")
  })

  test("are refused when the first element refers to one before it", () => {
    const rest = [0, 0, 0, 1, 0]
    expect(outcome(blockOf([2, 0, 1, ...rest], [genesis()]))).toBe("CHUNK_BAD")
    expect(outcome(blockOf([7, ...rest], [genesis()]))).toBe("CHUNK_BAD")
  })

  test("are refused when a change is beyond the limits", () => {
    const million = forge({ columns: [[66, [...sleb(2 ** 18 + 1), 1]]] })
    expect(() => readChange(million)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }))
    expect(hexes(outcome(encodeChunks(owner, [million])) as Uint8Array[])).toEqual(hexes([million]))
    const rest = million.subarray(layoutOf(openChunk(million)).messageAt)
    const sequence = [5, ...Array(16).fill(0), 1, 0, 0, rest.length, ...rest]
    expect(outcome(blockOf(sequence, [million]))).toEqual([million]) // only `readChange` refuses this chunk
    const following = 2 * million.length + 32 // the second change has 32 bytes more, because it depends on the first
    expect(outcome(blockOf([...sequence, ...sequence], [million, million], following))).toBe("TOO_LARGE")
  })

  test("never come out as something else, nor cost more than they claim", () => {
    const honest = blocksOf(random(3))
    const rng = random(Number(process.env["SEED"] ?? 77))
    const seen = { chunks: 0, CHUNK_BAD: 0, TOO_LARGE: 0 }
    for (let n = 0; n < runs(1_000, 20_000); n++) {
      const block = mutant(rng, honest)
      Object.assign(work, { inflated: 0, hashed: 0 })
      const result = outcome(block)
      const claim = claimOf(block)
      // Decoding hashes a derived change twice, and its genesis twice. The test itself hashes each change once.
      expect(work.hashed).toBeLessThanOrEqual(6 * claim + 1024)
      expect(work.inflated).toBeLessThanOrEqual(1.2 * claim)
      if (typeof result === "string") {
        seen[result as "CHUNK_BAD"]++
        continue
      }
      seen.chunks++
      expect(bytesOf(result)).toBe(claim)
      expect(hexes(decodeChunks(owner, encodeChunks(owner, result)))).toEqual(hexes(result))
    }
    console.log(`mutants: ${JSON.stringify(seen)}`)
    expect(seen.chunks).toBeGreaterThan(20)
    expect(seen.CHUNK_BAD).toBeGreaterThan(200)
  })

  const claimOf = (block: Uint8Array): number => {
    try {
      const claim = blockSize(block).bytes
      return claim > limits.message ? 0 : claim
    } catch {
      return 0
    }
  }

  interface Honest {
    readonly sequence: Uint8Array
    readonly size: number
    readonly count: number
    readonly check: Uint8Array
  }

  function blocksOf(rng: Random): Honest[] {
    const changes = honestChanges(rng, smallEdits)
    return Array.from({ length: 60 }, (_, i) => {
      const { genesis, changes: made } = createdNote(`title ${i}`)
      const chunks =
        i % 3 === 0
          ? [genesis, ...made].map(({ chunk }) => chunk)
          : Array.from({ length: 1 + rng.below(6) }, () => changes.next().value as Uint8Array)
      const block = encodeChunks(owner, chunks, "short")
      const head = uleb(2 * bytesOf(chunks)).length + uleb(chunks.length).length
      return { sequence: block.slice(head, -4), size: bytesOf(chunks), count: chunks.length, check: block.slice(-4) }
    })
  }

  /** Makes a block with a fault in its sequence or its deflated bytes. Mostly corrects the check where it can. */
  function mutant(rng: Random, honest: readonly Honest[]) {
    const { sequence, size, count, check } = rng.pick(honest)
    const deflates = rng.below(2) === 0
    const harmed = (bytes: Uint8Array) => {
      const out = [...bytes]
      const at = rng.below(out.length)
      const kind = rng.below(5)
      if (kind === 0) out[at]! ^= 1 << rng.below(8)
      else if (kind === 1) out[at] = rng.below(256)
      else if (kind === 2) out.splice(at, 1 + rng.below(3))
      else if (kind === 3) out.splice(at, 0, ...rng.pick(honest).sequence)
      else out.push(...rng.bytes(1 + rng.below(4)))
      return Uint8Array.from(out)
    }
    const inside = rng.below(3) > 0 ? harmed(sequence) : sequence
    const outside = deflates ? deflateRawSync(inside) : inside
    const body = inside === sequence || rng.below(8) === 0 ? harmed(outside) : outside
    const asBefore = [size, count, check] as const
    const [right, chunks, tail] = rng.below(4) === 0 ? asBefore : (described(inside) ?? asBefore)
    return Uint8Array.from([
      ...uleb(2 * right + (deflates ? 1 : 0)),
      ...uleb(chunks),
      ...(deflates ? uleb(inside.length) : []),
      ...body,
      ...tail,
    ])
  }

  /** The bytes, the number and the check of the chunks in a sequence; undefined when it cannot be read. */
  function described(sequence: Uint8Array): [number, number, Uint8Array] | undefined {
    try {
      const chunks = readSequence(owner, new Bytes(sequence, 0), limits.message).map(({ chunk }) => chunk)
      const check = [0, 1, 2, 3].map((i) => chunks.reduce((sum, chunk) => sum ^ chunk[4 + i]!, 0))
      return [bytesOf(chunks), chunks.length, Uint8Array.from(check)]
    } catch {
      return undefined
    }
  }
})

describe("a bomb", () => {
  const code = (f: () => unknown) => {
    Object.assign(work, { inflated: 0, hashed: 0 })
    try {
      f()
    } catch (error) {
      if (error instanceof HeadwaterError) return error.code
      throw error
    }
    return "no error"
  }
  const zeros = (count: number) => deflateRawSync(new Uint8Array(count))
  const bomb = (size: number, chunks: number, inflated: number, body: Uint8Array) =>
    Uint8Array.from([...uleb(2 * size + 1), ...uleb(chunks), ...uleb(inflated), ...body, 0, 0, 0, 0])

  test("that claims more than a message may have is not inflated", () => {
    const body = zeros(2 ** 26)
    expect(code(() => decodeChunks(owner, bomb(2 ** 26, 1, 2 ** 26, body)))).toBe("TOO_LARGE")
    expect(code(() => decodeChunks(owner, bomb(2 ** 52 - 1, 1, 2 ** 26, body)))).toBe("TOO_LARGE")
    expect(work).toEqual({ inflated: 0, hashed: 0 })
  })

  test("that claims less than it holds is inflated up to the claim", () => {
    expect(code(() => decodeChunks(owner, bomb(1_000, 1, 1_000, zeros(2 ** 26))))).toBe("CHUNK_BAD")
    expect(work).toEqual({ inflated: 1_000, hashed: 0 })
    expect(code(() => decodeChunks(owner, bomb(1_000, 1, 2 ** 26, zeros(2 ** 26))))).toBe("CHUNK_BAD")
    expect(work).toEqual({ inflated: 0, hashed: 0 })
    // Zeros are a sequence of changes of 23 bytes, all without deps and under actor 0.
    expect(code(() => decodeChunks(owner, bomb(2 ** 22, 1_000, 2 ** 22, zeros(2 ** 22))))).toBe("CHUNK_BAD")
    expect(work).toEqual({ inflated: 2 ** 22, hashed: 0 })
  })

  /** A frame whose entries have these blocks. */
  const frameOf = (blocks: readonly Uint8Array[]) =>
    encode({
      t: "push",
      w: "w",
      id: "1",
      entries: blocks.map((block): Entry => {
        const chunks = [new Uint8Array(34)]
        ReceivedChunks.note(chunks, owner, block, [])
        return { ...owner, kind: "change", chunks }
      }),
    })
  /** A deflated block of containers of the text "". `claim` and `size` are what the block says about its chunks. */
  function containers(count: number, claim = count, size?: number): Uint8Array {
    const { chunk } = textContainer(ID, genesisOf(ID, "notes"), "")
    const sequence = Buffer.alloc(2 * count, "\x09\x00")
    const block = bomb(size ?? count * chunk.length, claim, sequence.length, deflateRawSync(sequence))
    if (count % 2 === 1) block.set(chunk.subarray(4, 8), block.length - 4)
    return block
  }

  test.each([
    ["that have too many changes together", "TOO_LARGE", [containers(1_000), containers(25)]],
    ["that have too many bytes together", "TOO_LARGE", Array(30).fill(containers(1, 1, 2 ** 18))],
    [
      "of which the last one makes more changes than it says",
      "MESSAGE_BAD",
      [containers(1_000), containers(10_000, 1)],
    ],
    ["of which the last one makes more bytes than it says", "MESSAGE_BAD", [containers(1_000), containers(2, 2, 100)]],
    ["of which the last one is broken", "MESSAGE_BAD", [containers(1_000), containers(2).subarray(0, 9)]],
  ])("of entries %s is refused before a chunk is made", (_, expected, blocks) => {
    const frame = frameOf(blocks)
    expect(frame.length).toBeLessThan(4_000)
    expect(code(() => decodeClient(frame))).toBe(expected)
    expect(work.hashed).toBe(0)
    expect(work.inflated).toBeLessThan(2 ** 16)
  })

  test("is told from the fullest frame that fits", () => {
    const fullest = decodeClient(frameOf([...Array(10).fill(containers(100)), containers(24)])) as Push
    const counts = fullest.entries.map(({ chunks }) => chunks.length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(limits.chunks)
    expect(work.hashed).toBeLessThan(3 * limits.chunks * 256)
    expect(new Set(fullest.entries.flatMap(({ chunks }) => hexes(chunks))).size).toBe(1)
  })

  test("of runs costs no more than its bytes", () => {
    const columns: [number, number[]][] = [[66, [...sleb(2 ** 40), 1]]]
    const chunk = forge({ columns })
    expect(hexes(decodeChunks(owner, encodeChunks(owner, [chunk])))).toEqual(hexes([chunk]))
  })
})
