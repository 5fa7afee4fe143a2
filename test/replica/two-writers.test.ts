/**
 * Several replicas write to one store, like tabs of a browser without locks. No write may be lost.
 */
import fc from "fast-check"
import { collection, HeadwaterError, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Sizes } from "../../src/base/replica-sizes.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })

/** Makes stores that share one disk without a lock. */
async function shared(disk = memoryStore()): Promise<{ tab: () => Store; release: () => Promise<void> }> {
  const release = await disk.claim("everybody")
  const tab = (): Store => ({
    claim: async () => async () => {},
    get: (key) => disk.get(key),
    list: (prefix, options) => disk.list(prefix, options),
    commit: (writes, options) => disk.commit(writes, options),
  })
  return { tab, release }
}
const open = (store: Store, sizes: Partial<Sizes> = {}) =>
  openWorkspace({ id: "w", collections: { notes }, store, env: { ...systemEnv, sizes } })

test("two tabs without locks owe every change that either has saved", async () => {
  const { tab, release } = await shared()
  const [a, b] = [await open(tab()), await open(tab())]
  const write = (ws: typeof a, name: string) =>
    Promise.all(Array.from({ length: 200 }, (_, i) => ws.notes.create({ title: `${name}${i}` })))
  await Promise.all([write(a, "a"), write(b, "b")])
  await a.close()
  await b.close()
  const store = tab()
  const c = await open(store)
  expect(c.notes.all()).toHaveLength(400)
  expect(c.status.pending).toBe((await store.list(["w", "change"])).length)
  await c.close()
  await release()
})

test("an edit runs again if another tab has saved a change of the note first", async () => {
  const { tab, release } = await shared()
  const [a, b] = [await open(tab()), await open(tab())]
  const { id } = await a.notes.create({ title: "one", body: "ab" })
  let calls = 0
  // b learns of the note of a only when b commits something itself.
  const row = await b.notes.update(id, () => {}).catch((error: HeadwaterError) => error.code)
  expect(row).toBe("ENTITY_NOT_FOUND")
  await b.notes.create({ title: "two" })
  expect(b.notes.get(id)?.title).toBe("one")
  await a.notes.update(id, (_, edit) => edit.splice("body", 1, 0, "-"))
  await b.notes.update(id, (draft, edit) => {
    calls++
    edit.splice("body", draft.body!.length, 0, "!")
  })
  expect([calls, b.notes.get(id)?.body]).toEqual([2, "a-b!"])
  await Promise.all([a.close(), b.close()])
  await release()
})

test("a writer that is further behind than the journal reaches reads everything again", async () => {
  for (const sizes of [{ journal: 3 }, { journalNames: 1 }]) {
    const { tab, release } = await shared()
    const [a, b] = [await open(tab(), sizes), await open(tab(), sizes)]
    for (let i = 0; i < 5; i++) {
      await Promise.all([a.notes.create({ title: `a${i}` }), a.notes.create({ title: `A${i}` })])
    }
    await b.notes.create({ title: "b" })
    expect(b.notes.all()).toHaveLength(11)
    expect(b.status.pending).toBe(33 - 11) // a genesis and a change for each of the 11 notes
    await Promise.all([a.close(), b.close()])
    await release()
  }
})

test("an unreadable commit record stops no writer", async () => {
  const { tab, release } = await shared()
  const store = tab()
  const [a, b] = [await open(tab()), await open(tab())]
  await a.notes.create({ title: "a" })
  await store.commit([[keys.commit("w"), "{garbage"]])
  await a.notes.create({ title: "b" })
  await b.notes.create({ title: "c" })
  // Sorted, because ids that are made within one millisecond have no order.
  expect(
    b.notes
      .all()
      .map(({ title }) => title)
      .sort(),
  ).toEqual(["a", "b", "c"])
  await Promise.all([a.close(), b.close()])
  await release()
})

const tiny: Partial<Sizes> = {
  rowPage: 4,
  rowsAtOnce: 3,
  looseRows: 3,
  outboxPage: 4,
  outboxAtOnce: 3,
  looseOutbox: 3,
  foldedPages: 2,
  documentBytes: 1,
  group: 2,
  projectAtOnce: 1,
  readAtOnce: 2,
}
const act = fc.record({
  tab: fc.nat(2),
  entity: fc.nat(7),
  what: fc.constantFrom("write", "write", "write", "delete", "restore", "reopen"),
  /** Whether this act must end before the next one begins. */
  waits: fc.boolean(),
})
const RUNS = process.env["HEADWATER_LONG"] === "1" ? 1000 : 60

test("whatever three tabs write, every saved change is on the disk, owed, and shown in all tabs", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { minLength: 5, maxLength: 30 }),
      fc.constantFrom(2, 5, 1000),
      fc.constantFrom(1, 3, 256),
      async (acts, journal, journalNames) => {
        const sizes = { ...tiny, journal, journalNames }
        const { tab, release } = await shared()
        const tabs = [await open(tab(), sizes), await open(tab(), sizes), await open(tab(), sizes)]
        const saved = new Map<string, Set<string>>()
        const running: Promise<unknown>[] = []
        const expected = new Set(["ENTITY_NOT_FOUND", "ENTITY_EXISTS", "ENTITY_DELETED"])
        for (const [n, { tab: t, entity, what, waits }] of acts.entries()) {
          const id = `e${entity}`
          const ws = tabs[t]!
          const token = `<${n}>`
          const kept = () => void saved.set(id, (saved.get(id) ?? new Set()).add(token))
          const done = (async () => {
            if (what === "delete") await ws.notes.delete(id)
            else if (what === "restore") await ws.notes.restore(id)
            else if (what === "reopen") {
              await Promise.all(running)
              await ws.close()
              tabs[t] = await open(tab(), sizes)
            } else if (ws.notes.get(id))
              await ws.notes.update(id, (_, edit) => edit.splice("body", 0, 0, token)).then(kept)
            else await ws.notes.create({ title: token, body: token }, { id }).then(kept)
          })().catch((error) => {
            if (!(error instanceof HeadwaterError) || !expected.has(error.code)) throw error
          })
          if (what === "reopen") await done
          else running.push(done)
          if (waits) await done
        }
        await Promise.all(running)
        // A tab learns what the others have saved only when it commits something itself.
        for (const ws of [...tabs, ...tabs]) await ws.notes.create({ title: "end" })
        await tabs[0]!.notes.create({ title: "end" })
        await tabs[1]!.notes.create({ title: "end" }).then(() => tabs[2]!.notes.create({ title: "end" }))
        const store = tab()
        const changes = (await store.list(["w", "change"])).length
        const fresh = await open(tab(), sizes)
        for (const [id, tokens] of saved) {
          const body = (await fresh.notes.read(id))?.body ?? ""
          for (const token of tokens) expect(body.split(token)).toHaveLength(2)
        }
        expect(fresh.status.pending).toBe(changes)
        const last = tabs[2]!
        const shown = (ws: typeof last) => ws.notes.all().map(({ id, body, $pending }) => [id, body, $pending])
        expect(shown(last)).toEqual(shown(fresh))
        expect(last.status.pending).toBe(changes)
        expect(new Set([...replicaOf(last).outbox].map(({ hash }) => hash)).size).toBe(changes)
        await Promise.all([...tabs, fresh].map((ws) => ws.close()))
        await release()
      },
    ),
    { numRuns: RUNS },
  )
})
