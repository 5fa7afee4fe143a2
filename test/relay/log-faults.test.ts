import { describe, expect, it } from "vitest"
import { position } from "../../src/wire/protocol.ts"
import { dice } from "../support/dice.ts"
import { type Operation, type SimDisk, simDisk } from "../support/disk.ts"
import { Journal, openSmall, work } from "../support/log-workload.ts"

const long = process.env["HEADWATER_LONG"] === "1"

type Fault = (disk: SimDisk) => void

/** A disk that does `fault` when the operation after the first `n` comes. */
function faulty(n: number, seed: number, fault: Fault): { disk: SimDisk; struck: () => Operation | undefined } {
  let struck: Operation | undefined
  let count = 0
  const disk: SimDisk = simDisk({
    random: dice(seed),
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

/** Opens what is left, checks it and goes on with it. */
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

describe("every operation of the disk, one by one,", () => {
  it("may fail: nothing of what was not acked stays, everything acked does, and work goes on", async () => {
    const operations = await countOperations()
    const kinds = new Set<string>()
    let failures = 0
    for (let n = 1; n <= operations; n++) {
      const { disk, struck } = faulty(n, n, fails)
      const journals = [new Journal(), new Journal()] as const
      await work(disk, journals).catch((error) => {
        throw new Error(`operation ${n}, ${JSON.stringify(struck())}`, { cause: error })
      })
      kinds.add(struck()!.kind)
      failures += journals[0].failures + journals[1].failures
      disk.kill()
      await checkAfter(disk, journals)
    }
    const files = ["close", "list", "makeFolder", "open", "read", "rename", "size", "sync", "syncFolder"]
    expect([...kinds].sort()).toEqual([...files, "lock", "truncate", "write"].sort())
    expect(failures).toBeGreaterThan(operations / 2)
  })

  it("may see the power go: whatever was acked is there", async () => {
    const operations = await countOperations()
    for (let seed = 1; seed <= (long ? 20 : 1); seed++) {
      for (let n = 1; n <= operations; n++) {
        const { disk, struck } = faulty(n, 1000 * seed + n, (cut) => cut.crash())
        const journals = [new Journal(), new Journal()] as const
        await Promise.race([work(disk, journals), until(() => struck() !== undefined)])
        await checkAfter(disk, journals).catch((error) => {
          throw new Error(`operation ${n}, seed ${seed}, ${JSON.stringify(struck())}`, { cause: error })
        })
      }
    }
  })

  it("may see the process killed: whatever was acked is there, and what is served then survives a power cut", async () => {
    const operations = await countOperations()
    for (let n = 1; n <= operations; n++) {
      const { disk, struck } = faulty(n, n, (killed) => killed.kill())
      const journals = [new Journal(), new Journal()] as const
      await Promise.race([work(disk, journals), until(() => struck() !== undefined)])
      const seen: Uint8Array[] = []
      const logs = await openSmall(disk)
      for (const i of journals.keys()) seen.push((await logs.open(`workspace ${i}`)).end)
      disk.crash()
      const again = await openSmall(disk)
      for (const i of journals.keys()) {
        const log = await again.open(`workspace ${i}`)
        expect(await log.holds(seen[i]!), `operation ${n}`).toBe(true)
        expect(position(log.end)).toBe(position(seen[i]!))
      }
      await again.close()
      await checkAfter(disk, journals)
    }
  })
})

/** Resolves some turns after the condition has come true: what a dead process can still do in memory is done. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

describe("a disk that is full for a while", () => {
  it("fails what is appended meanwhile and nothing else, and is used again when it has room", async () => {
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
  })

  it("never lets the flush of a later entry pass for that of a lost one", async () => {
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
