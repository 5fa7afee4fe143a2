import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { pages, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import { endAll, program, start } from "../support/processes.ts"

const kills = process.env["HEADWATER_LONG"] === "1" ? 20 : 2
const events: object[] = []
const openHere = (folder: string) =>
  openLogs({
    folder,
    disk: nodeDisk,
    clock: nodeClock,
    report: (event) => events.push(event),
    sizes: { segmentEntries: 300 },
  })

const base = mkdtempSync(path.join(tmpdir(), "log-process-"))
let folder = ""
let folders = 0
beforeEach(() => {
  folder = path.join(base, `${folders++}`)
})
afterAll(async () => {
  await endAll()
  rmSync(base, { recursive: true, force: true })
})

async function underLoad(life: string, at = folder) {
  return start(await program("test/support/log-under-load.ts"), [at, life])
}

describe("a process that is killed with SIGKILL while it appends", () => {
  it(`leaves every entry that it said was flushed, each in its place (${kills} times)`, async () => {
    const flushed = new Map<string, Uint8Array>()
    for (let life = 0; life < kills; life++) {
      const child = await underLoad(`life-${life}`)
      const lines: string[] = []
      for (let n = 300 + Math.random() * 2000; n > 0; n--) lines.push(await child.line())
      expect((await child.end("SIGKILL")).signal).toBe("SIGKILL")
      lines.push(...child.takeLines())
      for (const line of lines) {
        const [name = "", place = ""] = line.split(" ")
        flushed.set(name, Buffer.from(place, "hex"))
      }

      const logs = await openHere(folder)
      const log = await logs.open("w")
      const names = new Map<string, number>()
      for (const { entries } of await pages(log, 0, 100_000)) {
        for (const { entry, position } of entries) {
          names.set(new TextDecoder().decode(entry.chunks[0]!.subarray(0, 34)).replaceAll("\0", ""), position)
        }
      }
      for (const [name, place] of flushed) {
        const [entity, n] = [name.slice(0, name.lastIndexOf("-")), Number(name.slice(name.lastIndexOf("-") + 1))]
        const [change] = sample(name, { entity }).changes
        expect(await log.holds(place), name).toBe(true)
        expect(await log.known(entity, change!.hash), name).toMatchObject({ seq: n + 1, position: names.get(name) })
      }
      await logs.close()
    }
    expect(events).not.toContainEqual(expect.objectContaining({ event: "log.broken" }))
  })
})

describe("the folder of a relay", () => {
  it("belongs to one process at a time, and is free again when that process was killed", async () => {
    const first = await underLoad("first")
    await first.line()
    await expect(openHere(folder)).rejects.toMatchObject({ code: "STORE_IN_USE" })
    const second = await underLoad("second")
    expect((await second.exited).code).not.toBe(0)
    expect(second.stderr).toContain("STORE_IN_USE")
    await first.end("SIGKILL")
    expect(readdirSync(folder).filter((name) => name.startsWith("lock."))).toHaveLength(1)
    const logs = await openHere(folder)
    await expect(openHere(folder)).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await logs.close()
    expect(readdirSync(folder).filter((name) => name.startsWith("lock."))).toEqual([])
    await (await openHere(folder)).close()
  })

  it("never belongs to two processes that start at the same time", async () => {
    const children = await Promise.all(["a", "b", "c", "d"].map((life) => underLoad(life)))
    const lives = await Promise.all(
      children.map((child) =>
        Promise.race([child.line().then(() => true), child.exited.then(() => false)]).catch(() => false),
      ),
    )
    expect(lives.filter((lived) => lived).length).toBeLessThanOrEqual(1)
    for (const [i, child] of children.entries()) if (!lives[i]) expect(child.stderr).toContain("STORE_IN_USE")
    for (const child of children) await child.end("SIGKILL")
    await (await openHere(folder)).close()
  })

  it("may have a longer path than a socket may have", async () => {
    const deep = path.join(folder, "d".repeat(60), "e".repeat(60))
    const logs = await openHere(deep)
    await expect(openHere(deep)).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await logs.close()
    expect(readdirSync(deep)).toEqual([])
  })

  it("makes opening fail with LOG_FAILED when it cannot be used", async () => {
    mkdirSync(folder)
    await expect(openHere("/dev/null/data")).rejects.toMatchObject({ code: "LOG_FAILED" })
  })
})
