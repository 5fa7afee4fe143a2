import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { createRelay } from "headwater-relay"
import { describe, expect, it } from "vitest"
import { linesTo, type Report, SparingReport } from "../../relay/machine/report.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import { Wire } from "../support/wire.ts"

describe("a report", () => {
  it("has 20 equal events a minute, and how many more there were", () => {
    let now = 0
    const told: string[] = []
    const tell = (_level: string, event: string, details?: object) => told.push(`${event} ${JSON.stringify(details)}`)
    const { report } = new SparingReport(tell, () => now)
    for (let i = 0; i < 25; i++) report("error", "ended", { code: "A", i })
    report("error", "ended", { code: "B" })
    expect(told).toHaveLength(21)
    expect(told.at(-2)).toBe('ended {"code":"A","i":19}')
    now = 60_000
    report("error", "ended", { code: "A" })
    expect(told.slice(21)).toEqual(['more of the same {"of":"ended A","leftOut":5}', 'ended {"code":"A"}'])
  })

  it("to a callback that throws or rejects disturbs nobody, and that is said once", async () => {
    const warned: string[] = []
    const listen = ({ name, message }: Error) => void warned.push(`${name}: ${message}`)
    process.on("warning", listen)
    const throwing: Report = () => {
      throw new Error("no")
    }
    const rejecting: Report = async () => {
      throw new Error("never")
    }
    for (const callback of [throwing, rejecting]) {
      const reports = new SparingReport(callback, () => 0)
      for (let i = 0; i < 30; i++) reports.report("error", "ended")
      reports.end()
    }
    await new Promise((resolve) => setImmediate(resolve))
    process.off("warning", listen)
    expect(warned).toEqual([
      "HeadwaterWarning: the callback for reports has failed: Error: no",
      "HeadwaterWarning: the callback for reports has failed: Error: never",
    ])
  })

  it("of a connection goes on to serve it, when the callback throws", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "headwater-report-"))
    const relay = await createRelay({
      port: 0,
      data: folder,
      report: () => {
        throw new Error("no")
      },
    })
    const [bad, good] = [await Wire.dial(relay.url), await Wire.dial(relay.url)]
    bad.socket.send(new Uint8Array(3))
    expect((await bad.ended()).code).toBe(4400)
    await good.ping()
    good.close()
    await relay.close()
    rmSync(folder, { recursive: true })
  })

  it("shows the stack of a defect, and of a full disk and our own errors only what they say", () => {
    const lines: string[] = []
    const report = linesTo({ write: (line) => lines.push(line) }, () => 0)
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      syscall: "write",
    })
    const error = new HeadwaterError("LOG_FAILED", "the log cannot be written", { cause: full })
    report("error", "log.failed", { error })
    report("error", "defect", { error: new TypeError("x is undefined") })
    const shown = lines.map((line) => (JSON.parse(line) as { error: string }).error)
    expect(shown[0]).toBe("LOG_FAILED: the log cannot be written (ENOSPC: no space left on device, write)")
    expect(shown[1]).toMatch(/^TypeError: x is undefined\n +at /)
  })
})
