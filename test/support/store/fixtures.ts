import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { ClassicLevel } from "classic-level"
import { IDBFactory, IDBKeyRange } from "fake-indexeddb"
import type { StoreFixture } from "../../../src/store/conformance.ts"
import { indexedDBStore } from "../../../src/store/indexeddb.ts"
import { encodeKey } from "../../../src/store/key.ts"
import { memoryStore } from "../../../src/store/memory.ts"
import { nodeStore } from "../../../src/store/node.ts"

export const newFolder = (): Promise<string> => mkdtemp(path.join(tmpdir(), "headwater-store-"))
export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true })

let browsers = 0

/** Gives the test a new browser profile. */
export function newBrowser(): void {
  Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange })
}

/** Flips one bit of the first byte of a value, which says whether the value is text or bytes. */
export async function harmKind(folder: string, key: string): Promise<void> {
  const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: "buffer" })
  await level.open()
  const value = Buffer.from((await level.get(key)) ?? "")
  value.writeUInt8(value.readUInt8(0) ^ 1, 0)
  await level.put(key, value, { sync: true })
  await level.close()
}

export const fixtures: Readonly<Record<string, () => Promise<StoreFixture>>> = {
  async memoryStore() {
    const store = memoryStore()
    return { store, reopen: async () => store, destroy: async () => {} }
  },
  async nodeStore() {
    const folder = await newFolder()
    return {
      store: nodeStore(folder),
      reopen: async () => nodeStore(folder),
      destroy: () => removeFolder(folder),
      harm: (key) => harmKind(folder, encodeKey(key)),
    }
  },
  async indexedDBStore() {
    newBrowser()
    const name = `notes ${++browsers}`
    return {
      store: indexedDBStore(name),
      reopen: async () => indexedDBStore(name),
      destroy: async () => newBrowser(),
    }
  },
}
