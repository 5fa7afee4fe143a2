import { cpSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import type { LogEvent } from "../../relay/log/folder.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import { describe as describeError } from "../../relay/machine/report.ts"
import { actorOf } from "../support/changes.ts"
import { note, startRelay } from "../support/relay.ts"

const base = mkdtempSync(path.join(tmpdir(), "log-gone-"))
let folders = 0
afterEach(() => rmSync(base, { recursive: true, force: true }))

const append = (log: Log, name: string) => {
  const { entry, changes } = sample(name, { entity: name })
  return log.flushed(log.append(entry, changes))
}

type Deed = (data: string) => void
const deeds: [string, Deed][] = [
  ["its file is removed", (data) => rmSync(path.join(data, onlyFolder(data), "00000001.log"))],
  ["its folder is removed", (data) => rmSync(path.join(data, onlyFolder(data)), { recursive: true })],
  ["the data folder is removed", (data) => rmSync(data, { recursive: true })],
  ["the data folder is moved away", (data) => renameSync(data, `${data}.old`)],
  [
    "the data folder is replaced by a copy",
    (data) => {
      renameSync(data, `${data}.old`)
      cpSync(`${data}.old`, data, { recursive: true, filter: (source) => !path.basename(source).startsWith("lock.") })
    },
  ],
]

/** The folder of the log, when there is only one workspace. */
const onlyFolder = (data: string) => readdirSync(data).find((name) => /^[0-9a-f]{64}$/.test(name))!

/**
 * Opens a log, flushes an entry, and removes or moves the log's files with `deed`. Expects that every further append
 * fails, because the log would otherwise call lost entries flushed.
 */
async function refusesAfter(deed: Deed, segmentEntries: number): Promise<void> {
  const folder = path.join(base, `${folders++}`)
  const events: string[] = []
  const report = (event: LogEvent) => {
    events.push(event.event)
    if (event["error"] instanceof Error) expect(describeError(event["error"]), "no stack").not.toContain("\n")
  }
  const logs = await openLogs({ folder, disk: nodeDisk, clock: nodeClock, report, sizes: { segmentEntries } })
  const log = await logs.open("w")
  await append(log, "before")
  deed(folder)
  for (const name of ["one", "two"]) {
    await expect(append(log, name)).rejects.toMatchObject({ code: "LOG_FAILED" })
  }
  expect(events).toContain("log.failed")
  await logs.close()
}

describe("a log in use says of no entry that it is flushed", () => {
  it.each(deeds)("when %s", (_name, deed) => refusesAfter(deed, 20_000))

  it.each(deeds.slice(1, 4))("in its next segment, when %s", (_name, deed) => refusesAfter(deed, 1))
})

describe("a log that has no open file takes no entry", () => {
  it.each(deeds.slice(2))("when %s", async (_name, deed) => {
    const folder = path.join(base, `${folders++}`)
    const sizes = { logs: 0, idleBytes: 0, healthMs: 0 }
    const logs = await openLogs({ folder, disk: nodeDisk, clock: nodeClock, report() {}, sizes })
    const [evicted, empty] = [await logs.open("evicted"), await logs.open("empty")]
    await append(evicted, "before")
    await evicted.close()
    deed(folder)
    const there = existsSync(folder) && readdirSync(folder)
    for (const name of ["evicted", "never opened"]) {
      await expect(logs.open(name)).rejects.toMatchObject({ code: "LOG_FAILED" })
    }
    // This log was open when the files went away, but had no folder yet, because nothing was appended to it.
    await expect(append(empty, "one")).rejects.toMatchObject({ code: "LOG_FAILED" })
    await expect(logs.check()).rejects.toMatchObject({ code: "LOG_FAILED" })
    expect(existsSync(folder) && readdirSync(folder)).toEqual(there)
    await logs.close()
  })
})

describe("a relay whose data folder is removed while it runs", () => {
  it("refuses what is pushed with LOG_FAILED, and acknowledges no change", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    await wire.ack(wire.push([note("e", actorOf(1))]))
    rmSync(relay.folder, { recursive: true })
    for (const w of ["w", "another"]) {
      const id = wire.push([note("f", actorOf(1))], { w })
      expect(await wire.ack(id)).toEqual({ t: "ack", w, id })
      expect(wire.received.splice(0)).toMatchObject([
        { t: "reject", w, id, entity: "f", code: "LOG_FAILED" },
        { t: "reject", w, id, entity: "f", code: "LOG_FAILED" },
      ])
    }
    expect(existsSync(relay.folder)).toBe(false)
  })
})
