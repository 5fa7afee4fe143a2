import { expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import type { SegmentLog } from "../../relay/log/segment-log.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

const ENTITIES = 10
const HEADS = 500
/** A head that is kept as a string of 64 characters takes more bytes than this. */
const HEAD_BYTES = 64
const entities = Array.from({ length: ENTITIES }, (_, i) => `e${i}`)

/** A log whose sealed segments have `ENTITIES` entities with `HEADS` heads each. */
async function manyHeads(sizes: { segmentStateBytes?: number; recentStateBytes?: number }) {
  const disk = simDisk({ random: dice(1) })
  const open = () =>
    openLogs({
      folder: "/data",
      disk: disk.disk,
      clock: nodeClock,
      report() {},
      sizes: { segmentEntries: HEADS, ...sizes },
    })
  const logs = await open()
  const log = (await logs.open("w")) as SegmentLog
  const ending = (end: string) => [...disk.files().keys()].filter((path) => path.endsWith(end)).length
  const sealed = async () => {
    await log.flushed(log.appended)
    while (ending(".idx") < ending(".log") - 1) await new Promise((resolve) => setImmediate(resolve))
  }
  const append = (entity: string, name: string) => {
    const { entry, changes } = sample(`${name} of ${entity}`, { entity, actor: name })
    log.append(entry, changes)
  }
  for (const entity of [...entities, "other"]) {
    for (let i = 0; i < HEADS; i++) append(entity, `${i}`)
    await sealed()
  }
  return { logs, log, append, sealed, segments: () => ending(".log") }
}

it("a log counts the heads of the states that it keeps in memory, and keeps at most recentStateBytes of them", async () => {
  const lookedUp = async (recentStateBytes: number) => {
    const { log, logs } = await manyHeads({ recentStateBytes })
    const before = log.memory
    for (const entity of entities) expect((await log.entity(entity))!.heads).toHaveLength(HEADS)
    const kept = log.memory - before
    await logs.close()
    return kept
  }
  expect(await lookedUp(10 * 2 ** 20)).toBeGreaterThan(ENTITIES * HEADS * HEAD_BYTES)
  const kept = await lookedUp(100_000)
  expect(kept).toBeGreaterThan(HEADS * HEAD_BYTES)
  expect(kept).toBeLessThanOrEqual(100_000)
})

it("a segment is full when the states before it take segmentStateBytes", async () => {
  const limit = 3 * HEADS * HEAD_BYTES
  const { log, logs, append, sealed, segments } = await manyHeads({ segmentStateBytes: limit, recentStateBytes: 1 })
  const before = log.memory
  const had = segments()
  for (const entity of entities) {
    await log.entity(entity) // an admission looks up the state before it appends
    append(entity, "one more")
    await sealed()
    // The states of a segment may exceed the limit by one state. The rest is the small index of the segment.
    expect(log.memory - before).toBeLessThan(limit + 2 * HEADS * HEAD_BYTES + 20_000)
  }
  expect(segments() - had).toBeGreaterThan(2)
  for (const entity of entities) expect((await log.entity(entity))!.heads).toHaveLength(HEADS + 1)
  await logs.close()
})
