import type { FileHandle } from "node:fs/promises"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { makeFolder, syncFolder } from "../../src/base/folder.node.ts"

/** Paths of the synced folders, in order. */
const synced: string[] = []
/** Returns the code of the error with which the sync of this folder fails; undefined when it succeeds. */
let failure: (folder: string) => string | undefined = () => undefined

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>()
  const open = async (path: string, flags: string): Promise<FileHandle> => {
    const handle = await real.open(path, flags)
    const sync = handle.sync.bind(handle)
    handle.sync = async () => {
      const code = failure(path)
      if (code !== undefined) throw Object.assign(new Error(code), { code })
      await sync()
      synced.push(path)
    }
    return handle
  }
  return { ...real, open }
})

let base = ""
beforeEach(async () => {
  base = await fs.mkdtemp(join(tmpdir(), "headwater-folder-"))
  synced.length = 0
  failure = () => undefined
})
afterEach(() => fs.rm(base, { recursive: true }))

test("makeFolder makes the folders above it, too, and syncs the name of each, the upper ones first", async () => {
  const folder = join(base, "a", "b", "c")
  await makeFolder(folder)
  expect((await fs.stat(folder)).isDirectory()).toBe(true)
  expect(synced).toEqual([base, join(base, "a"), join(base, "a", "b")])
})

test("the name of an existing folder is synced, too, because its maker may have died before the sync", async () => {
  await fs.mkdir(join(base, "a"))
  await makeFolder(join(base, "a"))
  expect(synced).toEqual([base])
})

test("a failed sync of a name is an error, unless the folder existed and access to its parent is denied", async () => {
  for (const [code, made, was] of [
    ["EIO", "EIO", "EIO"],
    ["EACCES", "EACCES", undefined],
    ["EPERM", "EPERM", undefined],
    ["EINVAL", undefined, undefined],
  ] as const) {
    failure = () => code
    const outcome = (folder: string) =>
      makeFolder(folder).then(
        () => undefined,
        (error: NodeJS.ErrnoException) => error.code,
      )
    const folder = join(base, code)
    expect(await outcome(folder), `${code}, made`).toBe(made)
    expect(await outcome(folder), `${code}, there`).toBe(was)
  }
})

test("a file in the place of a folder is an error, and so is a path that cannot exist", async () => {
  await fs.writeFile(join(base, "file"), "")
  await expect(makeFolder(join(base, "file"))).rejects.toMatchObject({ code: "EEXIST" })
  await expect(makeFolder(join(base, "file", "a"))).rejects.toMatchObject({ code: "ENOTDIR" })
  if (process.platform === "linux")
    await expect(makeFolder("/proc/headwater/a")).rejects.toMatchObject({ code: "ENOENT" })
})

test("syncFolder ignores only that the system cannot sync folders", async () => {
  await syncFolder(base)
  expect(synced).toEqual([base])
  failure = () => "EIO"
  await expect(syncFolder(base)).rejects.toMatchObject({ code: "EIO" })
  failure = () => "EINVAL"
  await syncFolder(base)
  await expect(syncFolder(join(dirname(base), "headwater-nowhere"))).rejects.toMatchObject({ code: "ENOENT" })
})
