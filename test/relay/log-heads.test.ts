import { expect, it, vi } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { type Sample, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

const open = (disk = simDisk({ random: dice(1) }).disk, entries = 20_000) =>
  openLogs({ folder: "/data", disk, clock: nodeClock, report() {}, sizes: { segmentEntries: entries } })
const append = (log: Log, { entry, changes }: Sample) => log.append(entry, changes)
const hashOf = ({ changes }: Sample) => changes[0]!.hash

it.each([7, 60, 20_000])(
  "an entity's heads are right however many there are, with segments of %i entries",
  async (entries) => {
    const random = dice(entries)
    const { disk } = simDisk({ random })
    let logs = await open(disk, entries)
    let log = await logs.open("w")
    const heads = { a: new Set<string>(), b: new Set<string>() }
    for (let i = 0; i < 1200; i++) {
      const entity = random() < 0.8 ? "a" : "b"
      const here = heads[entity]
      // The number of heads grows to about a hundred. Every 300 entries, merges reduce it to a few.
      const share = i % 300 > 290 ? 0.6 : 0.01
      const deps = [...here].filter(() => random() < share)
      const one = sample(`${i}`, { entity, deps, actor: `${i}` })
      append(log, one)
      for (const dep of deps) here.delete(dep)
      here.add(hashOf(one))
      if (i % 5 === 0) expect([...(await log.entity(entity))!.heads].sort()).toEqual([...here].sort())
      if (i % 20 === 0) await log.flushed(log.appended)
      if (i % 400 !== 399) continue
      await logs.close()
      logs = await open(disk, entries)
      log = await logs.open("w")
    }
    for (const entity of ["a", "b"] as const) {
      expect([...(await log.entity(entity))!.heads].sort()).toEqual([...heads[entity]].sort())
    }
    await logs.close()
  },
)

it("a change of an entity with a thousand heads costs few more comparisons than with one head", async () => {
  const logs = await open()
  const log = await logs.open("w")

  /**
   * Appends 1,000 changes to an entity with `branches` branches. Each change depends on the last change of a branch.
   * Returns how many hashes the log compared or read per change.
   */
  async function compared(branches: number): Promise<number> {
    const changes = 1000
    const entity = `of-${branches}`
    const tips: string[] = []
    const samples: Sample[] = []
    for (let i = 0; i < branches + changes; i++) {
      const tip = tips[i % branches]
      const one = sample(`${entity} ${i}`, { entity, deps: tip === undefined ? [] : [tip], actor: `${i % branches}` })
      tips[i % branches] = hashOf(one)
      samples.push(one)
    }
    for (const one of samples.slice(0, branches)) append(log, one)
    await log.flushed(log.appended)
    const compare = vi.spyOn(Buffer.prototype, "compare")
    const read = vi.spyOn(Buffer.prototype, "toString")
    for (const one of samples.slice(branches)) append(log, one)
    const calls = compare.mock.calls.length + read.mock.calls.length
    vi.restoreAllMocks()
    await log.flushed(log.appended)
    expect((await log.entity(entity))!.heads.length).toBe(branches)
    return calls / changes
  }
  const one = await compared(1)
  expect(one).toBeGreaterThan(1)
  expect(await compared(1000)).toBeLessThan(one + 4)
  await logs.close()
})
