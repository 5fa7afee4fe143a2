import { createHash } from "node:crypto"
import { readdirSync, writeFileSync } from "node:fs"
import path from "node:path"
import { describe, expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { actorOf } from "../support/changes.ts"
import { dice } from "../support/dice.ts"
import { type Operation, simDisk } from "../support/disk.ts"
import { note, startRelay } from "../support/relay.ts"
import { untilPasses } from "../support/until.ts"

const healthOf = async (url: string, at = "/healthz") => {
  const answer = await fetch(`${url.replace("ws:", "http:")}${at}`)
  return [answer.status, await answer.json()]
}

describe("/healthz", () => {
  it("answers under any path prefix, and with a query", async () => {
    await using relay = await startRelay()
    for (const at of ["/healthz", "/relay/healthz", "/a/b/healthz?probe=1"]) {
      expect(await healthOf(relay.url, at), at).toEqual([200, { ok: true }])
    }
    for (const at of ["/", "/health", "/healthz/x", "/x?y=/healthz", "/nohealthz"]) {
      expect((await healthOf(relay.url, at))[0], at).toBe(426)
    }
    expect(readdirSync(relay.folder).filter((name) => !name.startsWith("lock."))).toEqual([])
  })

  it("answers 503 while the disk takes nothing, before anybody has pushed", async () => {
    const reported: string[] = []
    await using relay = await startRelay({ report: (_level, event) => reported.push(event) })
    relay.disk.break()
    expect(await healthOf(relay.url)).toEqual([503, { ok: false, error: "LOG_FAILED" }])
    expect(reported).toEqual(["not healthy"])
  })

  it("answers 503 from the moment a log fails until it works again", async () => {
    await using relay = await startRelay()
    expect((await healthOf(relay.url))[0]).toBe(200) // for 5 s the relay repeats this answer without testing the disk
    const [one, two] = [await relay.dial(), await relay.dial()]
    await one.ack(one.push([note("e", actorOf(1))]))
    relay.disk.break()
    await one.ack(one.push([note("f", actorOf(1))]))
    expect((await healthOf(relay.url))[0]).toBe(503)
    relay.disk.mend()
    expect((await healthOf(relay.url))[0]).toBe(503)
    await two.ack(two.push([note("f", actorOf(1))]))
    expect((await healthOf(relay.url))[0]).toBe(200)
  })

  it("answers 200 when the disk takes bytes again, though the refused replica never comes back", async () => {
    await using relay = await startRelay({ logSizes: { healthMs: 20 } })
    const wire = await relay.dial()
    relay.disk.break()
    await wire.ack(wire.push([note("e", actorOf(1))]))
    expect((await healthOf(relay.url))[0]).toBe(503)
    wire.close()
    relay.disk.mend()
    await untilPasses(async () => expect((await healthOf(relay.url))[0]).toBe(200))
  })

  it("answers 200 while a single log cannot be opened, which is reported", async () => {
    const reported: unknown[] = []
    await using relay = await startRelay({ report: (_level, event, details) => reported.push({ event, ...details }) })
    writeFileSync(path.join(relay.folder, createHash("sha256").update("w").digest("hex")), "not a folder")
    const wire = await relay.dial()
    wire.pull("w")
    await wire.take("notice")
    expect(await healthOf(relay.url)).toEqual([200, { ok: true }])
    expect(reported).toMatchObject([{ event: "workspace failed", workspace: "w", code: "LOG_FAILED" }])
  })
})

describe("the check of all logs", () => {
  /** Opens logs on a disk that calls `fault` before each operation. `trials` are the test files written by checks. */
  const openWith = async (fault: (operation: Operation) => void, healthMs = 0) => {
    const seen: Operation[] = []
    const disk = simDisk({
      random: dice(1),
      before(operation) {
        seen.push(operation)
        fault(operation)
      },
    })
    const logs = await openLogs({
      folder: "/data",
      disk: disk.disk,
      clock: nodeClock,
      report() {},
      sizes: { healthMs },
    })
    return {
      disk,
      logs,
      trials: () => seen.filter(({ kind, path }) => kind === "write" && path.endsWith("health.tmp")),
    }
  }
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

  it("fails when any step of writing a file fails, and leaves none behind", async () => {
    let failing: string | undefined
    const { disk, logs } = await openWith(({ kind, path }) => {
      if (kind === failing && path.endsWith("health.tmp")) throw new Error("ENOSPC: no space left on device")
    })
    for (const kind of ["open", "truncate", "write", "sync", "close", "remove"]) {
      failing = kind
      await expect(logs.check(), kind).rejects.toMatchObject({
        code: "LOG_FAILED",
        cause: { message: expect.stringContaining("ENOSPC") },
      })
      await turn()
      await turn()
      failing = undefined
      await logs.check()
      await turn()
      await turn()
      expect([...disk.files().keys()], kind).toEqual([])
    }
  })

  it("writes once, however often it is asked for within its time", async () => {
    const { logs, trials } = await openWith(() => {}, 10_000)
    for (let i = 0; i < 100; i++) await logs.check()
    expect(trials()).toHaveLength(1)
    await logs.close()
  })

  it("does not fail for a log that cannot be opened", async () => {
    let broken = true
    const { logs } = await openWith(({ kind, path }) => {
      if (broken && kind === "list" && path !== "/data") throw new Error("EIO")
    })
    await expect(logs.open("w")).rejects.toMatchObject({ code: "LOG_FAILED" })
    await logs.check()
    broken = false
    const log = await logs.open("w")
    const { entry, changes } = sample("one")
    await log.flushed(log.append(entry, changes))
    await logs.close()
  })
})
