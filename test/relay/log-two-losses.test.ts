/** A log that has lost entries and goes on in a fresh segment. Then it loses more entries in an older segment. */
import { describe, expect, test } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { pages } from "../../relay/log/samples.ts"
import { HEADER_BYTES } from "../../relay/log/segment/header.ts"
import type { Files } from "../support/disk.ts"
import { cut, flipped, pathOf, served, until, type Written, without, write } from "../support/harmed-log.ts"
import { Journal, openSmall } from "../support/log-workload.ts"

/** Damages an entry of this segment, so that the log begins the fresh segment 4. Then appends ten entries. */
async function lostOnce(segment: string): Promise<Written & { later: Journal }> {
  const written = await write()
  const { disk, files, journal } = written
  disk.restore(flipped(files, pathOf(files, segment), HEADER_BYTES + 300))
  const logs = await openSmall(disk)
  const log = await logs.open("w")
  await served(log, journal)
  const later = new Journal()
  for (let i = 0; i < 10; i++) await later.append(log, "later")
  await until(() => [...disk.files().keys()].filter((path) => path.endsWith(".idx")).length === 5)
  await logs.close()
  return { ...written, files: disk.snapshot(), later }
}

/** Opens the log on these files, and closes it after `look`. */
async function opened<T>(
  { disk }: Written,
  files: Files,
  look: (log: Log, events: string[]) => Promise<T>,
): Promise<T> {
  disk.restore(files)
  const events: string[] = []
  const logs = await openSmall(disk, ({ event }) => events.push(event))
  try {
    return await look(await logs.open("w"), events)
  } finally {
    await logs.close()
  }
}

const cursorsOf = async (log: Log) => (await pages(log, 0, 1)).map(({ cursor }) => Buffer.from(cursor).toString("hex"))

test("a copy from before the second loss shares no cursor with the log behind that loss, whichever index is lost", async () => {
  const written = await lostOnce("2.log")
  const copy = written.files
  const before = new Set(await opened(written, copy, cursorsOf))
  await opened(written, flipped(copy, pathOf(copy, "1.log"), HEADER_BYTES + 300), (log) =>
    served(log, written.journal, written.later),
  )
  const now = written.disk.snapshot()
  for (const index of [...now.keys()].filter((path) => path.endsWith(".idx"))) {
    const cursors = await opened(written, without(now, index), cursorsOf)
    expect(cursors.length).toBeGreaterThan(10)
    expect(cursors.filter((cursor) => before.has(cursor))).toEqual([])
  }
})

describe("a segment before the fresh one that is cut off between two records", () => {
  test.each([
    ["2.log", 1000],
    ["3.log", 1000],
    ["3.log", HEADER_BYTES],
  ])("is noticed (%s, %d bytes)", async (segment, size) => {
    const written = await lostOnce("1.log")
    const { files, later } = written
    await opened(written, cut(files, pathOf(files, segment), size), async (log, events) => {
      expect(events).toContain("log.broken")
      for (const cursor of later.acked.values()) expect(await log.holds(cursor)).toBe(false)
    })
  })
})
