/** Pages of an entity's history: they are read as they were written, and damage is noticed and costs few changes. */
import fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { entryOf, type Held } from "../../src/replica/disk/change-record.ts"
import { foldHistory, takeOut } from "../../src/replica/disk/fold-history.ts"
import { histories, readChanges, readHistory, readPages } from "../../src/replica/disk/histories.ts"
import { heldIn, joinBlocks, readPage, writeBlock } from "../../src/replica/disk/history-page.ts"
import { keys, pageNumber } from "../../src/replica/disk/records.ts"
import { memoryStore } from "../../src/store/memory.ts"
import type { Store } from "../../src/store/store.ts"
import { encodeSaved } from "../../src/wire/protocol.ts"
import { forged, put } from "../support/hostile.ts"

const RUNS = process.env["HEADWATER_LONG"] === "1" ? 3000 : 150
const W = "w"
const ENTITY = "e"

beforeAll(() => loadAutomerge())

/** A history of `count` changes by two actors. The changes differ in the fields `by`, `adopted` and `once`. */
function history(count: number, entity = ENTITY): Held[] {
  if (count === 0) return []
  const genesis = genesisOf(entity, "notes")
  const held: Held[] = [{ change: genesis, collection: "notes" }]
  for (let i = 1; i < count; i++) {
    const last = held.at(-1)!.change
    const author = i % 5 === 3 ? 2 : 1
    const seq = held.filter(({ change }) => change.actor === actorOf(author)).length + 1
    const ops = [put({ key: "n", value: i })]
    const fields = { actor: actorOf(author), seq, deps: [last.hash], startOp: last.maxOp + 1, time: 1000 + i, ops }
    held.push({ change: forged(fields), collection: "notes", ...wordsOf(i) })
  }
  return held
}
const actorOf = (n: number): string => String(n).repeat(32)
const wordsOf = (i: number): Partial<Held> => ({
  by: i % 3 === 0 ? undefined : `p${i >> 2}`,
  ...(i % 4 === 0 && { adopted: true as const }),
  ...(i % 7 === 0 && { once: new Uint8Array(16).fill(i) }),
})
const plain = ({ change: { hash }, collection, by, adopted, once }: Held) => [
  hash,
  collection,
  by ?? null,
  adopted ?? false,
  once ? [...once] : null,
]

describe("a page", () => {
  const key = keys.history(W, ENTITY, 0)
  const all = history(11)
  const blocks = [all.slice(0, 4), all.slice(4, 8), all.slice(8)].map((held) => writeBlock(key, held))
  const page = joinBlocks(blocks)
  /** How many bytes the length in front of a block takes. */
  const lengthOf = (bytes: Uint8Array) => (bytes.length < 128 ? 1 : 2)
  /** For each byte of the page: the number of its block, and whether the byte is part of the length of the block. */
  const places = blocks.flatMap(({ bytes }, block) =>
    Array.from({ length: lengthOf(bytes) + bytes.length }, (_, i) => ({ block, isLength: i < lengthOf(bytes) })),
  )
  const read = (bytes: Uint8Array, at = key) => [...heldIn(readPage(at, bytes))].map(plain)

  test("gives back changes and words", () => {
    expect(places).toHaveLength(page.length)
    expect(read(page)).toEqual(all.map(plain))
  })

  test("with any byte damaged lacks the changes of one block, and gives the others as they were", () => {
    for (const [at, { block, isLength }] of places.entries()) {
      for (const flip of [1, 128, 255]) {
        const bytes = page.slice()
        bytes[at]! ^= flip
        const found = read(bytes)
        // If the length of a block is damaged, this block and all later ones are lost.
        const left = all.filter((_, i) => (isLength ? i >> 2 < block : i >> 2 !== block))
        expect(found.slice(0, left.length), `byte ${at}`).toEqual(left.map(plain))
        if (!isLength) expect(readPage(key, bytes).filter(({ held }) => held === undefined)).toHaveLength(1)
      }
    }
  })

  test("that was cut anywhere gives what is whole", () => {
    for (let length = 1; length < page.length; length++) {
      const found = read(page.slice(0, length))
      expect(found).toEqual(all.slice(0, 4 * places[length]!.block).map(plain))
    }
    expect(readPage(key, new Uint8Array())[0]!.held).toBeUndefined()
  })

  test("under another key, or of foreign bytes, gives nothing", () => {
    expect(read(page, keys.history(W, "other", 0))).toEqual([])
    expect(read(page, keys.history(W, ENTITY, 1))).toEqual([])
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        expect(read(bytes)).toEqual([])
      }),
    )
  })

  test("has some bytes a change when many edits follow each other", () => {
    const many = history(64).map(({ change, collection }) => ({ change, collection, by: "ann" }))
    expect(writeBlock(key, many).bytes.length / 64).toBeLessThan(25)
  })
})

// ── a model ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const LENGTH = 24
const sizes = { historyPage: 160, historyBlock: 3 }
const act = fc.oneof(
  { weight: 6, arbitrary: fc.record({ add: fc.nat(LENGTH - 1), words: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ fold: fc.constant(true), stays: fc.nat(LENGTH) }) },
  { weight: 1, arbitrary: fc.record({ harm: fc.nat(), flip: fc.integer({ min: 1, max: 255 }) }) },
  { weight: 1, arbitrary: fc.record({ takeOut: fc.nat(LENGTH - 1) }) },
)

/** Folds as the replica does: it first removes damaged blocks from the pages. `stays`: the change that stays loose. */
async function fold(store: Store, stays: string | undefined): Promise<void> {
  const plan = await foldHistory(store, W, ENTITY, (hash) => hash !== stays, sizes)
  if (plan === "damaged") {
    await store.commit(takeOut(await readPages(store, W, ENTITY), new Set(), { damaged: true }))
    return fold(store, stays)
  }
  await store.commit(plan.writes)
}

test("whatever is added, folded, damaged and taken out, the disk has what a map has", async () => {
  const all = history(LENGTH)
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const store = memoryStore()
      const release = await store.claim(W)
      const model = new Map<string, Held>()
      const loose = new Set<string>()
      for (const one of acts) {
        if ("add" in one) {
          const held = { ...all[one.add]!, ...wordsOf(one.words) }
          model.set(held.change.hash, held)
          loose.add(held.change.hash)
          await store.commit([[keys.change(W, ENTITY, held.change.hash), encodeSaved(entryOf(ENTITY, held))]])
        } else if ("fold" in one) {
          const stays = all[one.stays]?.change.hash
          await fold(store, stays)
          const left = (await store.list(keys.changesOf(W, ENTITY))).map(([key]) => key[3])
          expect(left).toEqual(stays !== undefined && loose.has(stays) ? [stays] : [])
          loose.clear()
          for (const hash of left) loose.add(hash!)
        } else if ("takeOut" in one) {
          const { hash } = all[one.takeOut]!.change
          if (loose.has(hash)) continue
          await store.commit(takeOut(await readPages(store, W, ENTITY), new Set([hash]), { damaged: false }))
          model.delete(hash)
        } else {
          const pages = await store.list(keys.historyOf(W, ENTITY))
          const [key, value] = pages[one.harm % Math.max(1, pages.length)] ?? []
          if (key === undefined) continue
          const before = [...heldIn(readPage(key, value!))]
          const bytes = (value as Uint8Array).slice()
          bytes[one.harm % bytes.length]! ^= one.flip
          await store.commit([[key, bytes]])
          const left = new Set([...heldIn(readPage(key, bytes))].map(({ change }) => change.hash))
          // A change that cannot be read any more is lost, unless the disk has another copy of it.
          const copies = (await readHistory(store, W, ENTITY)).held
          for (const { change } of before) {
            const copy = copies.get(change.hash)
            if (copy === undefined) model.delete(change.hash)
            else if (!left.has(change.hash)) model.set(change.hash, copy)
          }
        }
        const { held, unreadable, pages } = await readHistory(store, W, ENTITY)
        expect(new Map([...held].map(([hash, one]) => [hash, plain(one)]))).toEqual(
          new Map([...model].map(([hash, one]) => [hash, plain(one)])),
        )
        expect(unreadable).toEqual([])
        for (const { key, blocks } of pages) {
          expect(pageNumber(key)).toBeLessThan(LENGTH)
          for (const { held } of blocks) expect(held?.length ?? 1).toBeLessThanOrEqual(sizes.historyBlock)
        }
        const wanted = all.map(({ change }) => ({ entity: ENTITY, hash: change.hash }))
        expect((await readChanges(store, W, wanted)).size).toBe(model.size)
      }
      await release()
    }),
    { numRuns: RUNS },
  )
})

test("the histories of all entities are read in order, with any number of loose records and pages", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ changes: fc.nat(6), folded: fc.boolean(), more: fc.nat(3) }), { maxLength: 12 }),
      fc.integer({ min: 1, max: 9 }),
      async (entities, records) => {
        const store = memoryStore()
        const release = await store.claim(W)
        const expected: [string, number][] = []
        for (const [i, { changes, folded, more }] of entities.entries()) {
          const entity = `e${String(i).padStart(2, "0")}`
          const all = history(changes + more, entity)
          const save = (some: readonly Held[]) =>
            store.commit(
              some.map((held) => [keys.change(W, entity, held.change.hash), encodeSaved(entryOf(entity, held))]),
            )
          await save(all.slice(0, changes))
          const plan = folded && (await foldHistory(store, W, entity, () => true, { historyPage: 1, historyBlock: 2 }))
          if (plan && plan !== "damaged") await store.commit(plan.writes)
          await save(all.slice(changes))
          if (all.length > 0) expected.push([entity, all.length])
        }
        const found: [string, number][] = []
        for await (const { entity, held } of histories(store, W, records)) found.push([entity, held.size])
        expect(found).toEqual(expected)
        await release()
      },
    ),
    { numRuns: RUNS },
  )
})

test("adding to a long history rewrites its newest page only, and looking up many changes reads each page once", async () => {
  const inner = memoryStore()
  const release = await inner.claim(W)
  let listed = 0
  const store: Store = {
    ...inner,
    list: async (...range) => {
      const records = await inner.list(...range)
      listed += records.length
      return records
    },
  }
  const all = history(200)
  let written = 0
  for (let i = 0; i < all.length; i += 4) {
    const some = all.slice(i, i + 4)
    await store.commit(
      some.map((held) => [keys.change(W, ENTITY, held.change.hash), encodeSaved(entryOf(ENTITY, held))]),
    )
    listed = 0
    const plan = await foldHistory(store, W, ENTITY, () => true, { historyPage: 200, historyBlock: 4 })
    if (plan === "damaged") throw new Error("no page was damaged")
    expect(listed).toBeLessThanOrEqual(5)
    written += plan.writes.filter(([key]) => key[1] === "history").length
    await store.commit(plan.writes)
  }
  const pages = (await inner.list(keys.historyOf(W, ENTITY))).length
  expect(pages).toBeGreaterThan(10)
  expect(written).toBeLessThanOrEqual(50 + pages)
  listed = 0
  const found = await readChanges(
    store,
    W,
    all.map(({ change }) => ({ entity: ENTITY, hash: change.hash })),
  )
  expect([found.size, listed]).toEqual([200, pages])
  await release()
})

test("a change that is folded while its history is read is read", async () => {
  const inner = memoryStore()
  const release = await inner.claim(W)
  const all = history(5)
  const records = all.map(
    (held) => [keys.change(W, ENTITY, held.change.hash), encodeSaved(entryOf(ENTITY, held))] as const,
  )
  // Another writer folds between the two lists with which `readHistory` reads the store.
  let readings = 0
  const store: Store = {
    ...inner,
    async list(...range) {
      if (++readings === 2) {
        const plan = await foldHistory(inner, W, ENTITY, () => true, sizes)
        if (plan !== "damaged") await inner.commit(plan.writes)
      }
      return inner.list(...range)
    },
  }
  await inner.commit(records)
  expect((await readHistory(store, W, ENTITY)).held.size).toBe(5)
  await release()
})
