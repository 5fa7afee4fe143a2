/**
 * Records that are JSON of a shape that this library never writes. They are damaged, like records that are not JSON.
 */

import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { writeJson } from "../../src/replica/disk/checked-json.ts"
import type { Store, Value } from "../../src/store/store.ts"
import { jsonIn } from "../support/record.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title?: string }>())
const open = (store: Store) => openWorkspace({ id: "w", collections: { notes }, store })

/** Changes a record on the disk without the library, while nobody has the store open. */
async function overwrite(store: Store, key: readonly string[], value: Value): Promise<void> {
  const release = await store.claim("w")
  await store.commit([[key, value]])
  await release()
}

const ID = "e"
const HASH = "ff".repeat(32)
const records: [string, readonly string[]][] = [
  ["commit record", ["w", "commit"]],
  ["state", ["w", "state"]],
  ["page", ["w", "page", "notes", "000001"]],
  ["row", ["w", "row", "notes", ID]],
  ["outbox page", ["w", "outpage", "000001"]],
  ["outbox record", ["w", "out", ID, HASH]],
  ["mark", ["w", "stale", ID]],
  ["verdict", ["w", "bad", ID, HASH]],
  ["rejected change", ["w", "rejected", ID, HASH]],
]

/** Kinds of loose records in which `null` is valid: it says that the record of this id in a page is removed. */
const mayBeGone = new Set(["row", "outbox record"])

for (const [what, key] of records) {
  // An empty Uint8Array is what a store returns for a value that it cannot decode.
  const shapes = [...(mayBeGone.has(what) ? [] : [null]), {}, [null], 7]
  const values = [new Uint8Array(), "{garbage", ...shapes.map((shape) => writeJson(key, shape))]
  test.each(values)(`a record of the kind "${what}" that is %s does not prevent opening`, async (value) => {
    const store = memoryStore()
    const ws = await open(store)
    await ws.notes.create({ title: "a" }, { id: ID })
    await ws.close()
    await overwrite(store, key, value)
    const again = await open(store)
    await until(() => again.notes.get(ID)?.title === "a" && again.notes.get(ID)?.$stale === undefined, again)
    await again.notes.update(ID, (draft) => void (draft.title = "b"))
    await again.close()
    const last = await open(store)
    expect(last.notes.get(ID)?.title).toBe("b")
    await last.close()
  })
}

test("without the state record all rows are made again, because their projection is not known", async () => {
  const store = memoryStore()
  const ws = await open(store)
  await ws.notes.create({ title: "t" }, { id: ID })
  await ws.close()
  const key = ["w", "row", "notes", ID]
  const release = await store.claim("w")
  const row = jsonIn(await store.get(key))
  await release()
  await overwrite(store, key, writeJson(key, { ...row, title: "as another version shows it" }))
  await overwrite(store, ["w", "state"], "{garbage")
  const again = await open(store)
  await until(() => again.notes.get(ID)?.title === "t", again)
  await again.close()
})
