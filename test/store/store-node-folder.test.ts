import { realpath } from "node:fs/promises"
import path from "node:path"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"

// This test has a file of its own, because it replaces a module: `syncFolder` also records the synced folders here.
const synced: string[] = []
vi.mock("../../src/base/folder.node.ts", async (original) => {
  const real = await original<typeof import("../../src/base/folder.node.ts")>()
  return {
    ...real,
    async syncFolder(folder: string) {
      await real.syncFolder(folder)
      synced.push(folder)
    },
  }
})
const { nodeStore } = await import("../../src/store/node.ts")

let folder: string
beforeEach(async () => {
  folder = await newFolder()
  synced.length = 0
})
afterEach(() => removeFolder(folder))

test("every opening syncs the folder before its claim resolves, so the names of its files are durable", async () => {
  const store = nodeStore(path.join(folder, "a"))
  for (let opening = 0; opening < 2; opening++) {
    const release = await store.claim("w")
    expect(synced.splice(0)).toContain(await realpath(path.join(folder, "a")))
    await release()
  }
})
