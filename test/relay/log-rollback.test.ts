import { expect, it, vi } from "vitest"
import type { Log } from "../../relay/log/contract.ts"
import { type LogSizes, usualLogSizes } from "../../relay/log/log-sizes.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { actorOf, type Sample, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

/** Logs on a disk whose writes to segments fail while `fails` is set. */
function failing(sizes: Partial<LogSizes>) {
  const state = { fails: false }
  const { disk } = simDisk({
    random: dice(1),
    before({ kind, path }) {
      if (state.fails && kind === "write" && path.endsWith(".log")) throw new Error("no space left on device")
    },
  })
  const open = () => openLogs({ folder: "/data", disk, clock: nodeClock, report() {}, sizes })
  return { state, open }
}

const append = (log: Log, { entry, changes }: Sample) => log.append(entry, changes)

it("a failed flush costs the lost entries, however many the segment has", async () => {
  const { state, open } = failing({})
  const logs = await open()
  const log = await logs.open("w")

  /** Appends an entry whose flush fails. Returns how often the log compares or reads hashes and other bytes for it. */
  async function lose(name: string): Promise<number> {
    state.fails = true
    const compare = vi.spyOn(Buffer.prototype, "compare")
    const read = vi.spyOn(Buffer.prototype, "toString")
    await expect(log.flushed(append(log, sample(name)))).rejects.toMatchObject({ code: "LOG_FAILED" })
    const calls = compare.mock.calls.length + read.mock.calls.length
    vi.restoreAllMocks()
    state.fails = false
    return calls
  }

  await log.flushed(append(log, sample("first")))
  const few = await lose("lost")
  for (let i = 0; i < 2000; i++) append(log, sample(`${i}`, { entity: `e${i}`, actor: `${i}` }))
  await log.flushed(log.appended)
  expect(await lose("lost again")).toBeLessThan(few + 20)
  await logs.close()
})

it("failed flushes leave no memory behind", async () => {
  const { state, open } = failing({})
  const logs = await open()
  const log = (await logs.open("w")) as Log & { memory: number }
  for (let i = 0; i < 100; i++) append(log, sample(`${i}`, { entity: `e${i % 10}`, actor: `${i}` }))
  await log.flushed(log.appended)
  state.fails = true
  const memory: number[] = []
  for (let times = 0; times < 40; times++) {
    for (let i = 0; i < 50; i++) {
      const deps = [sample(`${i}`).changes[0]!.hash]
      append(log, sample(`lost ${times} ${i}`, { entity: `e${i % 12}`, actor: `${i}`, deps }))
    }
    await log.flushed(log.appended).catch(() => {})
    memory.push(log.memory)
  }
  expect(memory.at(-1)).toBe(memory[0])
  state.fails = false
  await logs.close()
})

it.each([
  [7, 1],
  [60, 2],
  [60, 16],
  [20_000, 2],
])("after failed flushes a log with segments of %i entries knows what it would know without them", async (...sizes) => {
  const [segmentEntries, longChain] = sizes
  const random = dice(segmentEntries + longChain)
  const { state, open } = failing({ ...usualLogSizes, segmentEntries, longChain })
  let logs = await open()
  let log = await logs.open("w")
  const reference = await openLogs({ folder: "/data", disk: simDisk({ random }).disk, clock: nodeClock, report() {} })
  const expected = await reference.open("w")

  const entities = ["a", "b", "c", "d", "e", "f"]
  const actors = ["ann", "bob", "eve", "dan"]
  const hashes = new Map(entities.map((entity) => [entity, [] as string[]]))
  const lost = new Set<string>()
  const purged = new Set<string>()
  let made = 0
  /** A change that depends on some of the last changes of its entity; now and then a tombstone. */
  function next(): Sample {
    const open = entities.filter((entity) => !purged.has(entity))
    const entity = open[Math.floor(random() ** 2 * open.length)]!
    const of = hashes.get(entity)!
    const deps = of.slice(-40).filter((hash) => !lost.has(hash) && random() < 0.1)
    const actor = actors[Math.floor(random() * 4)]!
    const one = sample(`${made++}`, { entity, actor, by: `by ${made}`, binds: random() < 0.3, deps, seq: made })
    if (open.length > 2 && random() < 0.02) {
      purged.add(entity) // nothing is appended to a purged entity
      return { entry: { ...one.entry, kind: "tombstone", chunks: [] }, changes: [] }
    }
    of.push(one.changes[0]!.hash)
    return one
  }

  async function compare(): Promise<void> {
    for (const entity of entities) {
      const sorted = (state: { heads: readonly string[]; purged?: number } | undefined) =>
        state && { heads: [...state.heads].sort(), purged: state.purged !== undefined }
      expect(sorted(await log.entity(entity))).toEqual(sorted(await expected.entity(entity)))
      for (const actor of actors) {
        expect(await log.tail(entity, actorOf(actor))).toEqual(await expected.tail(entity, actorOf(actor)))
      }
      for (const hash of hashes.get(entity)!.slice(-30)) {
        const [known, wanted] = [await log.known(entity, hash), await expected.known(entity, hash)]
        expect(known && { ...known, position: 0 }).toEqual(wanted && { ...wanted, position: 0 })
      }
    }
    for (const actor of actors) expect(await log.binding(actorOf(actor))).toBe(await expected.binding(actorOf(actor)))
  }

  for (let round = 0; round < 130; round++) {
    // The log is opened again only after a successful flush, because the bytes of a failed one may be on the disk.
    const reopens = round % 60 === 59
    state.fails = !reopens && random() < 0.6
    const group = Array.from({ length: 1 + Math.floor(random() * 8) }, next)
    for (const [i, one] of group.entries()) {
      append(log, one)
      if (i === 3) await log.entity(one.entry.entity) // a look-up among appends may turn a chain of heads into a map
    }
    const stored = await log.flushed(log.appended).then(
      () => true,
      () => false,
    )
    if (stored) for (const one of group) append(expected, one)
    for (const { entry, changes } of stored ? [] : group) {
      if (entry.kind === "tombstone") purged.delete(entry.entity)
      for (const { hash } of changes) lost.add(hash)
    }
    await compare()
    if (!reopens) continue
    await logs.close()
    logs = await open()
    log = await logs.open("w")
  }
  expect(lost.size).toBeGreaterThan(150)
  state.fails = false
  await logs.close()
  await reference.close()
})
