/**
 * Two entities whose keys begin with the same 8 bytes. An index on the disk has only these 8 bytes of a key. To find
 * two such ids takes some 2^32 hashes, so this test makes the keys itself.
 */
import { expect, it, vi } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

vi.mock("../../relay/log/segment/keys.ts", async (original) => {
  const keys = await original<typeof import("../../relay/log/segment/keys.ts")>()
  const entityKey = (entity: string) => {
    const key = keys.entityKey(entity)
    return entity.startsWith("twin") ? Buffer.concat([Buffer.alloc(8, 0x5a), key.subarray(8)]) : key
  }
  return { ...keys, entityKey }
})

const ENTRIES = 50

it("entities whose keys begin with the same 8 bytes are not taken for each other", async () => {
  const { disk } = simDisk({ random: dice(1) })
  const open = () =>
    openLogs({ folder: "/data", disk, clock: nodeClock, report() {}, sizes: { segmentEntries: ENTRIES } })
  const logs = await open()
  const log = await logs.open("w")
  const twins = ["twin-1", "twin-2"].map((entity) => {
    const made = sample(entity, { entity, collection: `of-${entity}`, actor: entity })
    log.append(made.entry, made.changes)
    return { entity, change: made.changes[0]! }
  })
  // More entries seal the segment of the twins. Opening the log again empties its caches.
  for (let i = 0; i < 2 * ENTRIES; i++) {
    const { entry, changes } = sample(`${i}`, { entity: `other-${i}` })
    await log.flushed(log.append(entry, changes))
  }
  await logs.close()

  const again = await open()
  const reopened = await again.open("w")
  for (const { entity, change } of twins) {
    expect(await reopened.entity(entity)).toEqual({ collection: `of-${entity}`, heads: [change.hash] })
    expect(await reopened.known(entity, change.hash)).toMatchObject({ actor: change.actor })
    expect(await reopened.tail(entity, change.actor)).toMatchObject({ hash: change.hash })
  }
  const [{ change }] = twins as [(typeof twins)[0]]
  expect(await reopened.entity("twin-3")).toBeUndefined()
  expect(await reopened.known("twin-3", change.hash)).toBeUndefined()
  expect(await reopened.tail("twin-3", change.actor)).toBeUndefined()
  await again.close()
})
