/**
 * The first byte of a value on the disk of a `nodeStore` says whether the value is text or bytes. When this byte is
 * damaged, only its record may be lost.
 */
import { collection, type Mended, openWorkspace, shape } from "headwater"
import { nodeStore } from "headwater/node"
import { afterEach, beforeEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Key, Store } from "../../src/store/store.ts"
import { harmKind, newFolder, removeFolder } from "../support/store/fixtures.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title?: string }>())
/** One commit writes this many notes as pages. */
const IN_PAGES = 300

let folder: string
beforeEach(async () => {
  folder = await newFolder()
})
afterEach(() => removeFolder(folder))

const open = (onMended?: (mended: Mended) => void) =>
  openWorkspace({ id: "w", collections: { notes }, store: nodeStore(folder), onMended })

/** Returns the key of the first record of a kind. */
async function firstKey(store: Store, kind: string): Promise<string> {
  const release = await store.claim("w")
  const found = (await store.list(["w"])).find(([key]) => key[1] === kind) as [Key, unknown]
  await release()
  return found[0].join("\u0001")
}

test.each([
  ["state", 1],
  ["commit", 1],
  ["journal", 1],
  ["change", 1],
  ["out", 1],
  ["row", 1],
  ["page", IN_PAGES],
  ["outpage", IN_PAGES],
])(
  "a value of the kind %s that the store cannot decode does not keep the workspace from opening",
  async (kind, count) => {
    const ws = await open()
    await Promise.all(Array.from({ length: count }, (_, i) => ws.notes.create({ title: `t${i}` }, { id: `n${i}` })))
    await ws.close()
    await harmKind(folder, await firstKey(nodeStore(folder), kind))
    const mended: string[] = []
    const again = await open((one) => mended.push(one.record))
    await until(() => again.notes.all().length === count && !again.notes.all().some(({ $stale }) => $stale), again)
    // A damaged journal is not reported, because all records are then read again. The change has not been read yet.
    expect(mended.includes(kind)).toBe(kind !== "journal" && kind !== "change")
    await again.notes.create({ title: "new" }, { id: "new" })
    await again.close()
    const last = await open()
    expect(last.notes.all()).toHaveLength(count + 1)
    await last.close()
  },
)

test("everything is read again after the commit record was damaged, and the record is written anew", async () => {
  const ws = await open()
  await ws.notes.create({ title: "a" }, { id: "a" })
  await ws.close()
  await harmKind(folder, await firstKey(nodeStore(folder), "commit"))
  const again = await open()
  await until(() => !replicaOf(again).isDamaged, again)
  const before = Number(await replicaOf(again).store.get(keys.commit("w")))
  await again.notes.create({ title: "b" }, { id: "b" })
  expect(await replicaOf(again).store.get(keys.commit("w"))).toBe(String(before + 1))
  await again.close()
})
