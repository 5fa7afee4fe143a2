/**
 * A step that throws is undone alone: its marks, its outbox records, its changes, and the documents that it touched.
 * The other steps of its group are saved.
 */
import fc from "fast-check"
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/automerge.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { update } from "../../src/replica/author.ts"
import type { Held } from "../../src/replica/disk/change-record.ts"
import { emptyState, type Owed } from "../../src/replica/disk/records.ts"
import { Transaction } from "../../src/replica/transaction.ts"
import type { Edited } from "../../src/schema/draft.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })

let held: Held[]
beforeAll(async () => {
  await loadAutomerge()
  held = ["a", "b", "c"].map((id) => ({ change: genesisOf(id, "notes"), collection: "notes" }))
})

const ENTITIES = ["a", "b", "c"] as const
const HASHES = ["1", "2", "3"].map((n) => n.repeat(64))
const owed = (n: number): Owed => ({
  ...{ entity: ENTITIES[n % 3]!, hash: HASHES[n % 3]!, startOp: 1, bytes: n },
  ...{ how: "own", principal: null, fields: [] },
})
const mark = { suspects: [], waiting: false }
/** The numbers of the plans that were told with `done` that they are on the disk. */
const done: number[] = []
const verdict = { code: "CHUNK_BAD", automerge: "" } as const
const ops: readonly ((tx: Transaction, n: number) => void)[] = [
  (tx, n) => tx.hold(ENTITIES[n % 3]!, held[n % 3]!),
  (tx, n) => tx.receive(ENTITIES[n % 3]!, held[n % 3]!),
  (tx, n) => tx.mint(ENTITIES[n % 3]!, held[n % 3]!),
  (tx, n) => tx.drop(ENTITIES[n % 3]!, held[n % 3]!.change.hash),
  (tx, n) => tx.owe(owed(n)),
  (tx, n) => tx.removeOwed(owed(n)),
  (tx, n) => tx.markStale(ENTITIES[n % 3]!, n % 2 ? mark : undefined),
  (tx, n) => tx.markBad(ENTITIES[n % 3]!, HASHES[n % 2]!, n % 4 < 2 ? verdict : undefined),
  (tx, n) => tx.reject(ENTITIES[n % 3]!, HASHES[n % 2]!, n % 4 < 2 ? { code: "QUOTA", at: n, entry: "" } : undefined),
  (tx, n) => tx.touch(ENTITIES[n % 3]!),
  (tx, n) => tx.untouch(ENTITIES[n % 3]!),
  (tx, n) => tx.arrive(ENTITIES[n % 3]!),
  (tx, n) => void (tx.state = { ...tx.state, lastSyncedAt: n }),
  (tx, n) => tx.touchDocument(ENTITIES[n % 3]!),
  (tx, n) => tx.add({ writes: [[["w", "page", String(n)], "x"]], done: () => void done.push(n) }),
]

/** Returns everything that can be read from a transaction. */
const picture = (tx: Transaction) =>
  structuredClone({
    ...{ writes: tx.writes, state: tx.state, changed: tx.stateChanged, touched: tx.touched, held: tx.held },
    ...{ dropped: tx.dropped, newEntities: tx.newEntities, minted: tx.minted, stale: tx.stale, bad: tx.bad },
    ...{ rejected: tx.rejected, outbox: tx.outbox, documents: tx.documents },
    read: ENTITIES.map((entity) => [
      ...[tx.exists(entity), tx.from(entity), tx.staleOf(entity), new Map(tx.badOf(entity))],
      ...HASHES.map((hash) => [tx.owed(entity, hash), tx.isRejected(entity, hash)]),
    ]),
  })

test("undoing a step restores the transaction exactly, whatever the step did", () => {
  const op = fc.record({ which: fc.nat(ops.length - 1), n: fc.nat(11) })
  fc.assert(
    fc.property(fc.array(op, { maxLength: 12 }), fc.array(op, { maxLength: 12 }), (before, undone) => {
      const below = {
        state: emptyState(),
        stale: new Map([["a", mark]]),
        bad: new Map([["b", new Map([[HASHES[0]!, verdict]])]]),
        rejected: new Map([["c", new Map([[HASHES[1]!, { code: "QUOTA", at: 1, entry: "" } as const]])]]),
        outbox: { get: (entity: string, hash: string) => (entity === "a" && hash === HASHES[0] ? owed(0) : undefined) },
        rows: { collectionOf: (entity: string) => (entity === "a" ? "notes" : undefined) },
      }
      const tx = new Transaction("w", below)
      for (const { which, n } of before) ops[which]!(tx, n)
      const was = picture(tx)
      const undo = tx.savepoint()
      for (const { which, n } of undone) ops[which]!(tx, n)
      const touched = undone.filter(({ which }) => which === 13).map(({ n }) => ENTITIES[n % 3])
      expect(undo()).toEqual(touched)
      expect(picture(tx)).toEqual(was)
      done.length = 0
      tx.committed()
      expect(done).toEqual(before.filter(({ which }) => which === 14).map(({ n }) => n))
    }),
    { numRuns: 2000 },
  )
})

test("several writes in one step are saved together or not at all", async () => {
  const store = memoryStore()
  const ws = await openWorkspace({ id: "w", collections: { notes }, store })
  const replica = replicaOf(ws)
  const [{ id: one }, { id: two }] = [
    await ws.notes.create({ body: "a" }, { id: "a" }),
    await ws.notes.create({ body: "b" }, { id: "b" }),
  ]
  const before = new Map((await store.list(["w", "change"])).map(([key]) => [key.join("/"), true]))
  const to = (title: string) => (): Edited => {
    const changes = { set: new Map([["title", title]]), remove: [], text: new Map(), splices: [] }
    return { changes, after: { title } }
  }
  const falls = replica.step([one, two], async (tx) => {
    await update(replica, tx, notes, one, to("lost"))
    await update(replica, tx, notes, two, to("lost"))
    throw new RangeError("on second thoughts")
  })
  const stands = replica.step([one, two], async (tx) => {
    await update(replica, tx, notes, one, to("kept"))
    await update(replica, tx, notes, two, to("kept"))
  })
  await expect(falls).rejects.toThrow(RangeError)
  await stands
  expect(ws.notes.all().map(({ title, body }) => [title, body])).toEqual([
    ["kept", "a"],
    ["kept", "b"],
  ])
  const added = (await store.list(["w", "change"])).filter(([key]) => !before.has(key.join("/")))
  expect(added).toHaveLength(2) // one change of each entity
  await ws.close()
  const again = await openWorkspace({ id: "w", collections: { notes }, store })
  expect((await again.notes.read(one))?.title).toBe("kept")
  expect(again.status).toMatchObject({ pending: before.size + 2, error: null })
  await again.close()
})

test("after a failed commit that wrote nothing only the commit record is read", async () => {
  let fails = 0
  const store = memoryStore({
    step: (step) => {
      if (step === "commit" && fails > 0 && fails--) throw new Error("no space")
    },
  })
  const reads: string[] = []
  const counting = {
    claim: store.claim,
    commit: store.commit,
    get(key: readonly string[]) {
      reads.push(key.join("/"))
      return store.get(key)
    },
    list(...args: Parameters<typeof store.list>) {
      reads.push(`${args[0].join("/")}/*`)
      return store.list(...args)
    },
  }
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: counting })
  await Promise.all(Array.from({ length: 300 }, (_, i) => ws.notes.create({ title: `n${i}` })))
  const { id } = ws.notes.all()[0]!
  await ws.notes.update(id, (draft) => void (draft.body = "one")) // so that the note has a document
  fails = 1
  reads.length = 0
  await expect(ws.notes.update(id, (draft) => void (draft.title = "two"))).rejects.toMatchObject({
    code: "STORE_FAILED",
  })
  expect(reads).toEqual(["w/commit"])
  expect(ws.status.error?.code).toBe("STORE_FAILED")
  await ws.notes.update(id, (draft) => void (draft.title = "three"))
  expect([ws.notes.get(id)?.title, ws.status.error]).toEqual(["three", null])
  await ws.close()
})
