import { expect, test } from "vitest"
import { actorOf, noise } from "../support/changes.ts"
import { note } from "../support/relay.ts"
import { Served } from "../support/served.ts"

test.each([
  ["among the recent entries", {}],
  ["on the disk only", { recentBytes: 1 }],
])("a client that has just started gets small pages first, from a log that is %s", async (_, sizes) => {
  const served = await Served.open({ sizes })
  const writer = served.connect()
  for (let i = 0; i < 100; i++) writer.push([note(`e${i}`, actorOf(i + 1), noise(1000))])
  await served.settled()
  const reader = served.connect()
  reader.pull("w", null, { credit: 2 ** 22 })
  await served.settled()
  const pages = reader.received.flatMap((message) => (message.t === "entries" ? [message.items.length] : []))
  const filled = pages.filter((entries) => entries > 0)
  expect(filled.reduce((sum, entries) => sum + entries, 0)).toBe(100)
  expect(filled[0]).toBeLessThanOrEqual(4)
  for (const [i, entries] of filled.slice(1).entries()) expect(entries).toBeLessThanOrEqual(2.5 * filled[i]! + 1)
  await served.close()
})
