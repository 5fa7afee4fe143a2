import { hash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { position } from "../../src/wire/protocol.ts"
import { dice } from "../support/dice.ts"
import { type Operation, type SimDisk, simDisk } from "../support/disk.ts"
import { FOLDER, Journal, openSmall, work } from "../support/log-workload.ts"

const long = process.env["HEADWATER_LONG"] === "1"

type Fault = (disk: SimDisk) => void

/** Makes a disk whose `n`-th operation meets `fault`. `struck` returns that operation, or undefined before it. */
function faulty(n: number, seed: number, fault: Fault): { disk: SimDisk; struck: () => Operation | undefined } {
  let struck: Operation | undefined
  let count = 0
  const disk: SimDisk = simDisk({
    random: dice(seed),
    names: "any",
    before(operation) {
      if (++count !== n) return
      struck = operation
      fault(disk)
    },
  })
  return { disk, struck: () => struck }
}

const fails: Fault = () => {
  throw new Error("no space left on device")
}

async function countOperations(): Promise<number> {
  let operations = 0
  const disk = simDisk({ random: dice(1), before: () => void operations++ })
  await work(disk, [new Journal(), new Journal()])
  return operations
}

/** Opens the logs again, checks them against the journals, appends to them, and checks them once more. */
async function checkAfter(disk: SimDisk, journals: readonly Journal[]): Promise<void> {
  const logs = await openSmall(disk)
  for (const [i, journal] of journals.entries()) {
    const log = await logs.open(`workspace ${i}`)
    await journal.check(log)
    await journal.append(log, "a")
    await journal.append(log, "b")
    await log.close()
  }
  await logs.close()
  const again = await openSmall(disk)
  for (const [i, journal] of journals.entries()) await journal.check(await again.open(`workspace ${i}`))
  await again.close()
}

/** Each kind of fault is tested at every operation of the disk. This many tests share the operations. */
const PARTS = 4
const parts = Array.from({ length: PARTS }, (_, part) => part + 1)
async function* operationsOf(part: number): AsyncGenerator<number> {
  const operations = await countOperations()
  for (let n = part; n <= operations; n += PARTS) yield n
}

describe("every operation of the disk, one by one,", () => {
  const kinds = new Set<string>()
  let failed = 0
  let failures = 0

  it.each(parts)("may fail: only entries that were not acked are gone, and work goes on (part %i)", async (part) => {
    for await (const n of operationsOf(part)) {
      const { disk, struck } = faulty(n, n, fails)
      const journals = [new Journal(), new Journal()] as const
      await work(disk, journals).catch((error) => {
        throw new Error(`operation ${n}, ${JSON.stringify(struck())}`, { cause: error })
      })
      kinds.add(struck()!.kind)
      failed++
      failures += journals[0].failures + journals[1].failures
      disk.kill()
      await checkAfter(disk, journals)
    }
  })

  it("was one of every kind, and most of the failures were reported to whoever appended", () => {
    const files = ["close", "list", "makeFolder", "open", "read", "rename", "size", "sync", "syncFolder"]
    expect([...kinds].sort()).toEqual([...files, "lock", "truncate", "write"].sort())
    expect(failures).toBeGreaterThan(failed / 2)
  })

  it.each(parts)("may come as the power fails: every acked entry is there (part %i)", async (part) => {
    for (let seed = 1; seed <= (long ? 20 : 1); seed++) {
      for await (const n of operationsOf(part)) {
        const { disk, struck } = faulty(n, 1000 * seed + n, (cut) => cut.crash())
        const journals = [new Journal(), new Journal()] as const
        await Promise.race([work(disk, journals), until(() => struck() !== undefined)])
        await checkAfter(disk, journals).catch((error) => {
          throw new Error(`operation ${n}, seed ${seed}, ${JSON.stringify(struck())}`, { cause: error })
        })
      }
    }
  })

  it.each(parts)(
    "may come as the process is killed: acked entries and their files' names survive a later power cut (part %i)",
    async (part) => {
      for await (const n of operationsOf(part)) {
        const { disk, struck } = faulty(n, n, (killed) => killed.kill())
        const journals = [new Journal(), new Journal()] as const
        await Promise.race([work(disk, journals), until(() => struck() !== undefined)])
        await checkKilled(disk, journals, n).catch((error) => {
          throw new Error(`operation ${n}, ${JSON.stringify(struck())}`, { cause: error })
        })
      }
    },
  )

  async function checkKilled(disk: SimDisk, journals: readonly [Journal, Journal], n: number): Promise<void> {
    const seen: Uint8Array[] = []
    const logs = await openSmall(disk)
    for (const [i, journal] of journals.entries()) {
      const log = await logs.open(`workspace ${i}`)
      expect(unsyncedFiles(disk, `workspace ${i}`), "what is served may not go back to what it was").toEqual([])
      await journal.check(log)
      // Only one of the two logs is appended to, because an append would sync most of the files that opening must have
      // synced already.
      if ((n >> 2) % 2 === i) await journal.append(log, "a")
      seen.push(log.end)
    }
    disk.crash()
    const again = await openSmall(disk)
    for (const [i, journal] of journals.entries()) {
      const log = await again.open(`workspace ${i}`)
      expect(await log.holds(seen[i]!)).toBe(true)
      expect(position(log.end)).toBe(position(seen[i]!))
      await journal.check(log)
    }
    await again.close()
    await checkAfter(disk, journals)
    for (const i of journals.keys()) expect(unsyncedFiles(disk, `workspace ${i}`)).toEqual([])
  }
})

/**
 * Files of a workspace whose names are not synced: a power cut may take such a name away, or bring a removed one back.
 */
const unsyncedFiles = (disk: SimDisk, workspace: string): string[] =>
  disk.unsyncedNames().filter((path) => path.startsWith(`${FOLDER}/${hash("sha256", workspace)}/`))

/** Resolves when the condition is true. Looks once in each turn of the event loop. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

describe("the names of a log's files", () => {
  it("are durable before the log serves entries, even if the files were copied without a folder sync", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const disk = simDisk({ random: dice(seed), names: "any" })
      const journal = new Journal()
      const logs = await openSmall(disk)
      for (let i = 0; i < 6; i++) await journal.append(await logs.open("w"), "a")
      await logs.close()
      disk.copyIn(disk.snapshot())
      const copied = await openSmall(disk)
      const log = await copied.open("w")
      await journal.check(log)
      if (seed % 2 === 0) await journal.append(log, "a")
      disk.crash()
      const again = await openSmall(disk)
      await journal.check(await again.open("w"))
      await again.close()
    }
  })

  it("are removed durably when a process left them that died before it wrote a header", async () => {
    const disk = simDisk({ random: dice(1), before: ({ kind, path }) => void (kind === "write" && die(path)) })
    const die = (path: string) => path.endsWith("1.log") && disk.kill()
    const logs = await openSmall(disk)
    const journal = new Journal()
    const appending = (async () => journal.append(await logs.open("w"), "a"))()
    await Promise.race([appending, until(() => disk.files().size > 0 && disk.unsyncedNames().length > 0)])
    expect([...disk.files().keys()]).toEqual([expect.stringMatching(/1\.log$/)])
    const again = await openSmall(disk)
    expect(position((await again.open("w")).end)).toBe(0)
    expect([...disk.files().keys()]).toEqual([])
    expect(unsyncedFiles(disk, "w")).toEqual([])
  })
})

describe("a segment that cannot be sealed", () => {
  it("stays in memory, is reported, and is sealed later", async () => {
    let full = true
    let attempts = 0
    const disk = simDisk({
      random: dice(3),
      before({ kind }) {
        if (kind !== "rename") return
        attempts++
        if (full) throw new Error("no space left on device")
      },
    })
    const events: object[] = []
    const logs = await openSmall(disk, (event) => events.push(event))
    const log = await logs.open("w")
    const journal = new Journal()
    const indexes = () => [...disk.files().keys()].filter((path) => path.endsWith(".idx")).length
    for (let i = 0; i < 9; i++) {
      await journal.append(log, "a")
      await until(() => true)
    }
    expect(events).toContainEqual(expect.objectContaining({ level: "warn", event: "log.unsealed", segment: 1 }))
    await journal.check(log)
    expect(indexes()).toBe(0)
    // Sealing is tried again, but not after each entry.
    expect(attempts).toBeGreaterThan(1)
    expect(attempts).toBeLessThan(6)
    full = false
    for (let i = 0; i < 4; i++) await journal.append(log, "b")
    while (indexes() === 0) await journal.append(log, "c")
    await journal.check(log)
    await logs.close()
    const again = await openSmall(disk)
    await journal.check(await again.open("w"))
    await again.close()
  })
})

describe("a disk that is full for a while", () => {
  it("makes only the appends of that time fail, and is written to again when it has room", async () => {
    let full = false
    const disk = simDisk({
      random: dice(5),
      before({ kind }) {
        if (full && (kind === "write" || kind === "sync")) throw new Error("no space left on device")
      },
    })
    const events: object[] = []
    const logs = await openSmall(disk, (event) => events.push(event))
    const log = await logs.open("workspace")
    const journal = new Journal()
    for (let i = 0; i < 10; i++) await journal.append(log, "a")
    for (let times = 0; times < 5; times++) {
      full = true
      const before = { end: log.end, appended: log.appended, state: await log.entity("a") }
      const together = ["a", "b", "c"].map((entity) => journal.append(log, entity))
      for (const result of await Promise.allSettled(together)) {
        expect(result).toMatchObject({ status: "rejected", reason: { code: "LOG_FAILED" } })
      }
      expect(log.end).toEqual(before.end)
      expect(log.appended).toBe(before.appended)
      expect(await log.entity("a")).toEqual(before.state)
      expect(await log.entity("b")).toEqual(times > 0 ? expect.anything() : undefined)
      await journal.check(log)
      full = false
      for (const entity of ["a", "b", `d${times}`]) await journal.append(log, entity)
      await journal.check(log)
    }
    expect(events).toContainEqual(expect.objectContaining({ event: "log.failed", workspace: "workspace" }))
    await logs.close()
    const again = await openSmall(disk)
    await journal.check(await again.open("workspace"))
    await again.close()
  })

  it("never lets a lost entry count as flushed because a later entry was", async () => {
    let broken = false
    const disk = simDisk({
      random: dice(5),
      before({ kind }) {
        if (broken && kind === "sync") throw new Error("input/output error")
      },
    })
    const log = await (await openSmall(disk)).open("workspace")
    const journal = new Journal()
    await journal.append(log, "a")
    broken = true
    const failing = journal.append(log, "b")
    failing.catch(() => {})
    await Promise.resolve()
    const lost = log.appended
    await expect(failing).rejects.toMatchObject({ code: "LOG_FAILED" })
    broken = false
    const next = journal.append(log, "c")
    await expect(log.flushed(lost)).rejects.toMatchObject({ code: "LOG_FAILED" })
    await next
    await expect(log.flushed(lost)).rejects.toMatchObject({ code: "LOG_FAILED" })
    expect(log.appended).toBeGreaterThan(lost)
  })
})
