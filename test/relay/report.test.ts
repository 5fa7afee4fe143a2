import { describe, expect, it } from "vitest"
import { linesTo, SparingReport } from "../../relay/machine/report.ts"
import { HeadwaterError } from "../../src/base/errors.ts"

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
