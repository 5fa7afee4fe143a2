import { expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

const ENTRIES = 4000

it("a full segment is sealed in slices: other work runs in between, and what it appends is in the log", async () => {
  let turns = 0
  let from = 0
  let between: number | undefined
  const { disk } = simDisk({
    random: dice(1),
    before({ kind, path }) {
      if (kind === "truncate" && path.endsWith(".tmp")) from = turns
      if (kind === "write" && path.endsWith(".tmp")) between = turns - from
    },
  })
  const open = () =>
    openLogs({
      folder: "/data",
      disk,
      clock: nodeClock,
      report() {},
      sizes: { segmentEntries: ENTRIES, segmentChanges: 1e6 },
    })
  const logs = await open()
  const log = await logs.open("w")
  const nth = (i: number) => sample(`${i}`, { entity: `e${i % 1000}`, actor: `actor ${i}`, by: "alice", binds: true })
  let appended = 0
  const append = () => log.append(nth(appended).entry, nth(appended++).changes)
  for (let i = 0; i <= ENTRIES; i++) append()
  while (between === undefined) {
    turns++
    append()
    await new Promise((resolve) => setImmediate(resolve))
  }
  // Some 13,000 rows of the index are made, sorted and written, so sealing lets other work run more than 12 times.
  expect(between).toBeGreaterThan(12)
  await log.flushed(log.appended)
  await logs.close()

  const again = await open()
  const reopened = await again.open("w")
  for (let i = 0; i < appended; i += 97) {
    const [change] = nth(i).changes
    expect(await reopened.known(`e${i % 1000}`, change!.hash)).toMatchObject({ position: i + 1 })
    expect(await reopened.tail(`e${i % 1000}`, change!.actor)).toMatchObject({ hash: change!.hash })
    expect(await reopened.binding(change!.actor)).toBe("alice")
  }
  await again.close()
})
