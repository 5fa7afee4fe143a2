import { constants } from "node:fs"
import { expect, it } from "vitest"
import { writtenThroughOn } from "../../relay/machine/disk.node.ts"

it("a file is written through to the disk: by a flag on Linux, on other systems by a sync after each write", () => {
  expect(writtenThroughOn("linux")).toBe(constants.O_DSYNC)
  for (const platform of ["darwin", "win32", "freebsd", "openbsd", "sunos", "aix", "android"] as const) {
    expect(writtenThroughOn(platform), platform).toBe(0)
  }
})
