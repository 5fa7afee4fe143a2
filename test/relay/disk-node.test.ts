import { constants } from "node:fs"
import { mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it, vi } from "vitest"
import { diskOn, writtenThroughOn } from "../../relay/machine/disk.node.ts"

const others = ["darwin", "win32", "freebsd", "openbsd", "sunos", "aix", "android"] as const

it("a file is written through to the disk by a flag on Linux, and on no other system", () => {
  expect(writtenThroughOn("linux")).toBe(constants.O_DSYNC)
  for (const platform of others) expect(writtenThroughOn(platform), platform).toBe(0)
})

/** Writes to a file and syncs it, three times. Returns how often the system had been asked to sync after each time. */
async function syncsOn(platform: NodeJS.Platform): Promise<number[]> {
  const folder = await mkdtemp(join(tmpdir(), "headwater-disk-"))
  try {
    const any = await open(join(folder, "any"), "w")
    const datasync = vi.spyOn(Object.getPrototypeOf(any) as typeof any, "datasync")
    await any.close()
    const file = await diskOn(platform).open(join(folder, "log"))
    const syncs: number[] = []
    for (let at = 0; at < 3; at++) {
      await file.write(at, new Uint8Array(1))
      await file.sync()
      syncs.push(datasync.mock.calls.length)
    }
    await file.close()
    return syncs
  } finally {
    vi.restoreAllMocks()
    await rm(folder, { recursive: true })
  }
}

it.each(others)("on %s the system is asked to sync after each write", async (platform) => {
  expect(await syncsOn(platform)).toEqual([1, 2, 3])
})

it.runIf(process.platform === "linux")("on Linux the system is asked to sync once, when the file is new", async () => {
  expect(await syncsOn("linux")).toEqual([1, 1, 1])
})
