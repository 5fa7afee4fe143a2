/** An entry whose flush fails while damage elsewhere in the log is being mended. */
import { beforeAll, describe, expect, it } from "vitest"
import { sample } from "../../relay/log/samples.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"
import { pathOf, until, write } from "../support/harmed-log.ts"
import { openSmall } from "../support/log-workload.ts"

interface Seen {
  appended?: "flushed" | "LOG_FAILED"
  served?: string[]
}

/**
 * An entry is being flushed while a read meets damage elsewhere in the log. Then the write or the sync of that entry
 * fails.
 */
async function play(failing: "write" | "sync"): Promise<Seen> {
  const { files } = await write()
  let fail: (() => void) | undefined
  let isArmed = false
  const disk = simDisk({
    random: dice(2),
    before({ kind, path }) {
      if (!isArmed || kind !== failing || !path.endsWith("3.log")) return
      isArmed = false
      return new Promise((_, reject) => {
        fail = () => reject(new Error("input/output error"))
      })
    },
  })
  disk.restore(files)
  const events: string[] = []
  const logs = await openSmall(disk, ({ event }) => events.push(event))
  const log = await logs.open("w")
  disk.rot(pathOf(files, "1.log"), 4224 + 200)
  isArmed = true
  const { entry, changes } = sample("failing", { entity: "failing" })
  const at = log.append(entry, changes)
  await until(() => fail !== undefined)
  const reading = log.since(0, 10_000)
  await until(() => events.includes("log.damage"))
  const flushed = log.flushed(at)
  fail!()
  const seen: Seen = {}
  seen.appended = await flushed.then(
    () => "flushed" as const,
    ({ code }) => code,
  )
  seen.served = (await reading).entries.map(({ entry }) => entry.entity)
  await logs.close()
  return seen
}

describe.each(["write", "sync"] as const)("an entry whose %s fails while the log is found to be damaged", (failing) => {
  let seen: Seen = {}
  beforeAll(async () => {
    seen = await play(failing)
  })

  it("is not the damaged entry: only that one is lost, and the others are served", () => {
    expect(seen.served!.filter((entity) => entity !== "failing")).toEqual(["b", "c", "a", "b", "c", "a", "b", "c", "a"])
  })

  // Mending begins a fresh segment. If the end of this segment had the position of the failing entry, the log would
  // take that end for the end of the entry, and call the entry flushed.
  it("is not said to be flushed", () => {
    expect(seen.appended).toBe("LOG_FAILED")
  })
})

describe("an entry whose sync fails while the log is found to be damaged", () => {
  let seen: Seen = {}
  beforeAll(async () => {
    seen = await play("sync")
  })

  // Mending scans the file of the segment again. The file has the bytes of the failed flush, but perhaps only in the
  // system's memory, so a power cut would lose them.
  it("is not served", () => {
    expect(seen.served).not.toContain("failing")
  })
})
