import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, it } from "vitest"
import { nodeDisk } from "../relay/disk.node.ts"
import { logConformance } from "../relay/log.conformance.ts"
import { type LogsOptions, openLogs } from "../relay/log-files.ts"
import { systemClock } from "../src/env.ts"
import { dice } from "./support/dice.ts"
import { simDisk } from "./support/disk.ts"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

const quiet = { clock: systemClock, report: () => {} }
/** Segments so small that every history has many. */
const small = { segment: { entries: 17, bytes: 20_000 }, cache: 64 * 1024 }

describe.each<[string, Partial<LogsOptions>]>([
  ["with segments of the usual size", {}],
  ["with many segments and a small cache", small],
])("the log %s", (_, sizes) => {
  describe("on the real disk", () => {
    it.each(logConformance)("$name", async ({ run }) => {
      const folder = mkdtempSync(join(tmpdir(), "log-"))
      folders.push(folder)
      await run(() => openLogs({ ...quiet, ...sizes, folder: join(folder, "data"), disk: nodeDisk }))
    })
  })

  describe("on the simulated disk", () => {
    it.each(logConformance)("$name", async ({ run }) => {
      const { disk } = simDisk({ random: dice(1) })
      await run(() => openLogs({ ...quiet, ...sizes, folder: "/data", disk }))
    })
  })
})
