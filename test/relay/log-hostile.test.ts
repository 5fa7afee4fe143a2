import { hash } from "node:crypto"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { Log, Logs } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { actorOf, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

const ENTRIES = 1500

/**
 * Returns an actor (16 bytes in hex) as an attacker may choose it: its exclusive-or with the entity's sha256 is the
 * same for every entity. An index whose keys were such exclusive-ors would have all actors at one place.
 */
function chosenFor(entity: string, more = 0): string {
  const ofEntity = Buffer.from(hash("sha256", entity, "hex"), "hex")
  return Buffer.from(ofEntity.subarray(0, 16).map((byte, i) => byte ^ i ^ more)).toString("hex")
}

const entityOf = (i: number) => `e${i}`
/** A change's hash, unlike its actor, cannot be chosen by an attacker. */
const nth = (i: number) => sample(`change ${i}`, { entity: entityOf(i), by: `by ${entityOf(i)}`, binds: true })
const hashOf = (i: number) => nth(i).changes[0]!.hash

async function fill(log: Log): Promise<void> {
  for (let i = 0; i <= ENTRIES; i++) {
    const { entry, changes } = nth(i)
    log.append(entry, [{ ...changes[0]!, actor: chosenFor(entityOf(i)) }])
  }
  await log.flushed(log.appended)
}

const disk = simDisk({ random: dice(1) })
const open = (segmentEntries: number) =>
  openLogs({
    folder: "/data",
    disk: disk.disk,
    clock: nodeClock,
    report() {},
    sizes: { segmentEntries, segmentChanges: 1e6, blockBytes: 0 },
  })

/** Every kind of look-up, of what is in the log and of what is not. Each one checks its answer. */
const lookUps: [string, (log: Log, i: number) => Promise<void>][] = [
  [
    "a change",
    async (log, i) => {
      expect(await log.known(entityOf(i), hashOf(i))).toMatchObject({ actor: chosenFor(entityOf(i)), position: i + 1 })
    },
  ],
  ["a change of another entity", async (log, i) => expect(await log.known(entityOf(i), hashOf(i + 1))).toBeUndefined()],
  [
    "an unknown change",
    async (log, i) => expect(await log.known(entityOf(i), hash("sha256", `no ${i}`))).toBeUndefined(),
  ],
  [
    "a tail",
    async (log, i) => expect(await log.tail(entityOf(i), chosenFor(entityOf(i)))).toMatchObject({ hash: hashOf(i) }),
  ],
  [
    "the tail of an actor who is only elsewhere",
    async (log, i) => expect(await log.tail(entityOf(i), chosenFor(entityOf(i + 1)))).toBeUndefined(),
  ],
  [
    "the tail of an unknown actor that was chosen as well",
    async (log, i) => expect(await log.tail(entityOf(i), chosenFor(entityOf(i), 1))).toBeUndefined(),
  ],
  ["a binding", async (log, i) => expect(await log.binding(chosenFor(entityOf(i)))).toBe(`by ${entityOf(i)}`)],
  [
    "the binding of an unknown actor that was chosen as well",
    async (log, i) => expect(await log.binding(chosenFor(entityOf(i), 1))).toBeUndefined(),
  ],
  ["the binding of an honest actor", async (log, i) => expect(await log.binding(actorOf(`${i}`))).toBeUndefined()],
  ["an entity", async (log, i) => expect(await log.entity(entityOf(i))).toMatchObject({ heads: [hashOf(i)] })],
  ["an unknown entity", async (log, i) => expect(await log.entity(`no ${i}`)).toBeUndefined()],
]

describe("with actors chosen to make look-ups read much,", () => {
  let logs: Logs
  let log: Log
  beforeAll(async () => {
    const filling = await open(ENTRIES)
    await fill(await filling.open("sealed"))
    await filling.close()
    logs = await open(ENTRIES)
    log = await logs.open("sealed")
  })
  afterAll(() => logs.close())

  it.each(lookUps)("%s in a sealed segment takes a few blocks", async (_, lookUp) => {
    const indexes = [...disk.files().keys()].filter((path) => path.endsWith(".idx"))
    expect(indexes).toHaveLength(1)
    for (let i = 7; i < ENTRIES; i += 300) {
      const before = disk.bytesRead
      await lookUp(log, i)
      expect(disk.bytesRead - before).toBeLessThanOrEqual(6 * 4096)
    }
  })

  it("look-ups of new changes and actors hardly ever read more than the filters", async () => {
    const unknown = 600
    const before = disk.bytesRead
    for (let i = 0; i < unknown; i++) {
      expect(await log.known(entityOf(i), hash("sha256", `new ${i}`))).toBeUndefined()
      expect(await log.tail(entityOf(i), actorOf(`new ${i}`))).toBeUndefined()
      expect(await log.binding(actorOf(`new ${i}`))).toBeUndefined()
    }
    expect((disk.bytesRead - before) / 4096).toBeLessThan(0.05 * 3 * unknown)
  })
})

describe("with actors chosen to make look-ups compare much,", () => {
  let logs: Logs
  let log: Log
  beforeAll(async () => {
    logs = await open(1e6)
    log = await logs.open("open")
    await fill(log)
  })
  afterAll(() => logs.close())

  it.each(lookUps)("%s in an open segment takes a few comparisons", async (_, lookUp) => {
    const compare = vi.spyOn(Buffer.prototype, "compare")
    const read = vi.spyOn(Buffer.prototype, "toString")
    try {
      for (let i = 7; i < ENTRIES; i += 300) {
        compare.mockClear()
        read.mockClear()
        await lookUp(log, i)
        expect(compare.mock.calls.length + read.mock.calls.length).toBeLessThan(12)
      }
    } finally {
      vi.restoreAllMocks()
    }
  })
})
