/**
 * Compares each structure of pages and loose records with a plain map. The sizes are so small that short runs reach
 * every threshold.
 */
import fc from "fast-check"
import { expect, test, vi } from "vitest"
import { usualSizes } from "../../src/base/replica-sizes.ts"
import { Outbox, type OutboxChanges } from "../../src/replica/disk/outbox.ts"
import { Paged, type PageFormat, type Plan } from "../../src/replica/disk/paged-records.ts"
import { keys, type Owed, refuseDamaged, type StoredRow } from "../../src/replica/disk/records.ts"
import { type NewRows, Rows } from "../../src/replica/disk/rows.ts"
import { memoryStore } from "../../src/store/memory.ts"
import type { Store } from "../../src/store/store.ts"

const RUNS = process.env["HEADWATER_LONG"] === "1" ? 5000 : 300
const sizes = { ...usualSizes, rowPage: 4, rowsAtOnce: 3, looseRows: 3, outboxPage: 4, outboxAtOnce: 3, looseOutbox: 3 }

/** A list of commits. Each changes some records, and is followed by up to two folds and perhaps a restart. */
const commands = fc.array(
  fc.record({
    changes: fc.array(fc.record({ id: fc.nat(11), gone: fc.boolean(), value: fc.nat(99) }), { maxLength: 6 }),
    folds: fc.nat(2),
    restart: fc.boolean(),
    /** Whether the commit and its folds fail. Then memory must stay as it was before. */
    fails: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  }),
  { maxLength: 25 },
)

const format: PageFormat<{ id: string; value: number }> = {
  pageKey: (page) => ["p", String(page).padStart(3, "0")],
  recordKey: (id) => ["r", id],
  loosePrefix: ["r"],
  idOf: (key) => key[1] ?? "",
  readPage: (value) => JSON.parse(String(value ?? "[]")).map((record: { id: string }) => [record.id, record]),
  writePage: (records) => JSON.stringify([...records]),
  readRecord: (value) => JSON.parse(String(value)),
  writeRecord: (record) => JSON.stringify(record),
}

async function save(store: Store, plan: Plan | undefined, fails: boolean): Promise<void> {
  if (plan === undefined || fails) return
  await store.commit(plan.writes)
  plan.done()
}

test("a restart finds all records, whatever was written, removed and folded", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (run) => {
      const store = memoryStore()
      const release = await store.claim("w")
      const open = async () => {
        const paged = new Paged(format, { page: 4, atOnce: 3, loose: 3, folded: 2 })
        const found = new Map<string, number>()
        for (const [key, value] of await store.list(["p"])) {
          const records = [...format.readPage(value, key)]
          expect(records.length).toBeGreaterThan(0) // otherwise the empty page should have been removed
          expect(records.length).toBeLessThanOrEqual(4)
          for (const [id, record] of records) {
            expect(found.has(id), `${id} lies in two pages`).toBe(false)
            found.set(id, record.value)
            paged.place(id, Number(key[1]))
          }
          paged.addPage(Number(key[1]), records.length)
        }
        for (const [key, value] of await store.list(["r"])) {
          const record = format.readRecord(value, key)
          const id = key[1] as string
          if (record === null) found.delete(id)
          else found.set(id, record.value)
          paged.setLoose(id, record === null)
        }
        return { paged, found }
      }
      let { paged } = await open()
      const model = new Map<string, number>()
      for (const { changes, folds, restart, fails } of run) {
        const last = new Map(changes.map(({ id, gone, value }) => [`i${id}`, gone ? undefined : value]))
        const records = [...last].map(([id, value]) => [id, value === undefined ? undefined : { id, value }] as const)
        await save(store, paged.plan(new Map(records)), fails)
        if (!fails) {
          for (const [id, value] of last) {
            if (value === undefined) model.delete(id)
            else model.set(id, value)
          }
        }
        for (let i = 0; i < folds; i++) await save(store, await paged.fold(store), fails)
        const { paged: next, found } = await open()
        expect(found).toEqual(model)
        if (restart) paged = next
      }
      for (let i = 0; paged.foldDue; i++) {
        await save(store, await paged.fold(store), false)
        expect(i).toBeLessThan(20) // otherwise folding never ends
      }
      expect((await open()).found).toEqual(model)
      // These are loose records, and a null for each removed record that is still in a page.
      expect((await store.list(["r"])).length).toBeLessThan(3 + 4 * 4)
      await release()
    }),
    { numRuns: RUNS },
  )
})

test("a scattered edit rewrites few records, however many pages there are", async () => {
  let rewritten = 0
  const counting: typeof format = {
    ...format,
    writePage: (records, key) => {
      const page = [...records]
      rewritten += page.length
      return format.writePage(page, key)
    },
  }
  const store = memoryStore()
  const release = await store.claim("w")
  const edits = 3000
  for (const pages of [1, 4, 16, 64]) {
    const paged = new Paged(counting, { page: 40, atOnce: 10, loose: 10, folded: 4 })
    const ids = Array.from({ length: 40 * pages }, (_, i) => `${pages} ${i}`)
    const put = (some: readonly string[]) =>
      save(store, paged.plan(new Map(some.map((id) => [id, { id, value: 0 }]))), false)
    await put(ids)
    rewritten = 0
    for (let i = 1, state = 1; i <= edits; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      await put([ids[state % ids.length]!])
      while (paged.foldDue) await save(store, await paged.fold(store), false)
    }
    expect(rewritten / edits, `${pages} pages`).toBeLessThan(20)
  }
  await release()
})

test("folding many loose records, as when a workspace closes, reads each record about once, in few folds", async () => {
  const cost = async (records: number) => {
    const store = memoryStore()
    const release = await store.claim("w")
    const paged = new Paged(format, { page: 100, atOnce: 10, loose: 10, folded: 4 })
    for (let i = 0; i < records; i++)
      await save(store, paged.plan(new Map([[`${i}`, { id: `${i}`, value: i }]])), false)
    const read = { folds: 0, gets: 0, values: 0 }
    const counted: Store = {
      ...store,
      get: async (key) => {
        read.gets++
        read.values++
        return store.get(key)
      },
      list: async (...range) => {
        const listed = await store.list(...range)
        read.values += listed.length
        return listed
      },
    }
    for (; paged.foldDue; read.folds++) await save(store, await paged.fold(counted), false)
    await release()
    return read
  }
  // Each fold fills 4 pages of 100 records, except perhaps the last fold.
  const { folds, values } = await cost(8000)
  expect(folds).toBeLessThanOrEqual(8000 / 400 + 1)
  expect(values).toBeLessThan(1.5 * 8000)
  // The first fold moves 80 of 90 loose records, and the second one moves the other 10. Both list the loose records.
  // The second fold also gets the page to which it adds.
  expect(await cost(90)).toEqual({ folds: 2, gets: 1, values: 90 + 10 + 1 })
})

test("the outbox is the same after a restart: by entity, by principal, and in the order of pushing", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (run) => {
      const store = memoryStore()
      const release = await store.claim("w")
      const open = () => Outbox.read(store, "w", sizes, refuseDamaged)
      const owedOf = (n: number, value: number): Owed => ({
        entity: `e${n % 3}`,
        hash: String(n).padStart(64, "0"),
        startOp: (n % 5) + 1,
        bytes: value,
        how: value % 2 ? "own" : "adopt",
        principal: value % 3 ? "alice" : null,
        fields: value % 2 ? ["title"] : [],
      })
      const bob = { principal: "bob", firstPrincipal: "bob" }
      let outbox = await open()
      const model = new Map<string, Owed>()
      const check = (shown: Outbox) => {
        expect(shown.size).toBe(model.size)
        const all = [...model.values()]
        expect(new Map([...shown].map((owed) => [owed.hash, owed]))).toEqual(model)
        let others = 0
        for (const entity of ["e0", "e1", "e2"]) {
          const of = all.filter((owed) => owed.entity === entity)
          const inOrder = of.sort((a, b) => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1))
          expect(shown.of(entity)).toEqual(inOrder)
          const fields = [...new Set(of.flatMap((owed) => owed.fields))].sort()
          const pending = of.length > 0 ? { fields, creation: of.some(({ startOp }) => startOp === 1) } : undefined
          expect(shown.pending(entity)).toEqual(pending)
          const first = inOrder.findIndex(({ principal, how }) => principal === "alice" && how !== "adopt")
          if (first >= 0) others += inOrder.length - first // alice's records, and later ones of the entity
          expect([...shown.pushable(bob)].includes(entity)).toBe(of.length > 0 && first !== 0)
        }
        expect(shown.others(bob)).toEqual(others > 0 ? [{ principal: "alice", pending: others }] : [])
      }
      for (const { changes, folds, restart, fails } of run) {
        const tx: OutboxChanges = new Map()
        for (const { id, gone, value } of changes) {
          const owed = owedOf(id, value)
          tx.set(owed.hash, { owed, removed: gone })
        }
        await save(store, outbox.plan(tx), fails)
        if (!fails) {
          for (const [hash, { owed, removed }] of tx) {
            if (removed) model.delete(hash)
            else model.set(hash, owed)
          }
        }
        for (let i = 0; i < folds; i++) await save(store, await outbox.fold(store), fails)
        check(outbox)
        const again = await open()
        if (changes.length % 2) check(again) // checked only sometimes, because a check unpacks the pages
        if (restart) outbox = again
      }
      check(outbox)
      check(await open())
      await release()
    }),
    { numRuns: RUNS },
  )
})

test("another account's records are walked once, not at each push and each read of the status", async () => {
  const store = memoryStore()
  const release = await store.claim("w")
  const outbox = await Outbox.read(store, "w", usualSizes, refuseDamaged)
  const owe = (entity: string, principal: string, removed = false) => {
    const owed = { entity, hash: entity, startOp: 1, bytes: 1, how: "own", principal, fields: [] } as const
    outbox.plan(new Map([[owed.hash, { owed, removed }]])).done()
  }
  for (let i = 0; i < 1000; i++) owe(`a${i}`, "alice")
  const bob = { principal: "bob", firstPrincipal: "alice" }
  expect([...outbox.pushable(bob)]).toEqual([])
  const walks = vi.spyOn(outbox, "entities")
  const looks = vi.spyOn(outbox, "of")
  for (let i = 0; i < 10; i++) {
    owe(`b${i}`, "bob")
    expect([...outbox.pushable(bob)]).toEqual([`b${i}`])
    expect(outbox.others(bob)).toEqual([{ principal: "alice", pending: 1000 }])
    owe(`b${i}`, "bob", true)
  }
  expect([walks.mock.calls.length, looks.mock.calls.length]).toEqual([0, 19])
  await release()
})

test("rows are the same after a restart, and for a second reader that reads again only what was written", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (run) => {
      const store = memoryStore()
      const release = await store.claim("w")
      const none = { pending: () => undefined, stale: () => false, firstPrincipal: () => null, now: () => 1 }
      const open = async () => {
        const rows = new Rows("w", new Map(), none, sizes)
        await rows.load(store, refuseDamaged)
        return rows
      }
      const delta = () => ({ added: [], changed: [], removed: [] })
      const shown = (rows: Rows) =>
        rows
          .of("notes")
          .all()
          .map(({ id, n }) => [id, n])
      let rows = await open()
      const other = await open()
      const model = new Map<string, number>()
      for (const { changes, folds, restart, fails } of run) {
        const news = new Map<string, { collection: string; row: StoredRow | undefined }>()
        for (const { id, gone, value } of changes) {
          const row = { id: `i${id}`, n: value, $createdAt: 0, $updatedAt: 0, $conflicts: [] }
          news.set(row.id, { collection: "notes", row: gone ? undefined : row })
        }
        const moved = { ids: new Set<string>(), pages: new Set<number>() }
        const noted = async (plan: Plan | undefined) => {
          await save(store, plan, fails)
          for (const [key] of fails ? [] : (plan?.writes ?? [])) {
            if (key[1] === "row") moved.ids.add(key[3] as string)
            else moved.pages.add(Number(key[3]))
          }
        }
        await noted(rows.plan(news as NewRows))
        if (!fails) {
          for (const [id, { row }] of news) {
            rows.show(id, "notes", row && { ...row }, delta)
            if (row === undefined) model.delete(id)
            else model.set(id, row["n"] as number)
          }
        }
        for (let i = 0; i < folds; i++) await noted(await rows.fold(store))
        const wanted = [...model].sort(([a], [b]) => (a < b ? -1 : 1))
        expect(shown(rows)).toEqual(wanted)
        ;(await other.readAgain(store, "notes", moved, refuseDamaged))(delta())
        expect(shown(other)).toEqual(wanted)
        const again = await open()
        expect(shown(again)).toEqual(wanted)
        if (restart) rows = again
      }
      for (let i = 0; other.foldDue; i++) {
        await save(store, await other.fold(store), false)
        expect(i).toBeLessThan(20)
      }
      expect(shown(await open())).toEqual([...model].sort(([a], [b]) => (a < b ? -1 : 1)))
      expect((await store.list(keys.pages("w"))).every(([, value]) => value !== "[]")).toBe(true)
      await release()
    }),
    { numRuns: RUNS },
  )
})
