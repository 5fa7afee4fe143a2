import { cpSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
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

/** The folder of the only workspace. */
const onlyFolder = (data: string) => readdirSync(data).find((name) => /^[0-9a-f]{64}$/.test(name))!

/** Opens a log, flushes an entry, does the deed, and expects that no further entry is said to be flushed. */
async function refusesAfter(deed: Deed, segmentEntries: number): Promise<void> {
  const folder = path.join(base, `${folders++}`)
  const events: string[] = []
  const report = ({ event }: { event: string }) => void events.push(event)
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

  it.each(deeds.slice(1, 4))("in its next segment either, when %s", (_name, deed) => refusesAfter(deed, 1))
})

describe("a relay whose data folder is removed while it runs", () => {
  it("refuses what is pushed with LOG_FAILED, and acknowledges no change", async () => {
    await using relay = await startRelay()
    const wire = await relay.dial()
    await wire.ack(wire.push([note("e", actorOf(1))]))
    rmSync(relay.folder, { recursive: true })
    const id = wire.push([note("f", actorOf(1))])
    expect(await wire.ack(id)).toEqual({ t: "ack", w: "w", id })
    expect(wire.received).toMatchObject([
      { t: "reject", id, entity: "f", code: "LOG_FAILED" },
      { t: "reject", id, entity: "f", code: "LOG_FAILED" },
    ])
  })
})
