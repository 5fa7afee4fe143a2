import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  differingRows,
  lackingChanges,
  missing,
  openNotes,
  pullAll,
  readDisk,
  view,
  type Written,
} from "./support/load.ts"
import { endAll, program, type RelayProcess, start, startRelay } from "./support/processes.ts"

const kills = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-kill-"))
const device = path.join(folder, "device")
const written: Written[] = []
let relay: RelayProcess

beforeAll(async () => {
  relay = await startRelay(path.join(folder, "relay"), { seconds: 3600 })
})
afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

/** The device writes until it is killed in the middle of it; returns how many writes it reported. */
async function writeAndDie(name: string, url: string | undefined): Promise<number> {
  const child = start(await program("test/support/device-under-load.ts"), [device, name, ...(url ? [url] : [])])
  const first = await child.line()
  await sleep(50 + Math.random() * 1000)
  const { signal } = await child.end("SIGKILL")
  expect(signal).toBe("SIGKILL")
  const lines = [first, ...child.takeLines()]
  written.push(...lines.map((line) => JSON.parse(line) as Written))
  return lines.length
}

describe.sequential("a replica that is killed with SIGKILL under load", () => {
  for (let kill = 1; kill <= kills; kill++) {
    const url = () => (kill % 2 === 0 ? relay.url : undefined)
    it(`has the row, the change and the outbox record of all that it said was saved (${kill} of ${kills})`, async () => {
      expect(await writeAndDie(`k${kill}`, url())).toBeGreaterThan(1)

      const pulled = await (await pullAll(relay.url)).close()
      const disk = await readDisk(nodeStore(device))
      expect(lackingChanges(disk, pulled).filter((hash) => !disk.owed.has(hash))).toEqual([])

      const ws = await openNotes(nodeStore(device))
      expect(await missing(ws, written)).toEqual([])
      expect(await differingRows(ws, disk)).toEqual([])
      await ws.close()
    })
  }

  it("brings the relay all of it, and they agree", async () => {
    const store = nodeStore(device)
    const ws = await openNotes(store, relay.url)
    await ws.whenStored({ signal: AbortSignal.timeout(60_000) })
    await ws.whenSynced({ signal: AbortSignal.timeout(60_000) })
    expect(ws.status.pending).toBe(0)

    const fresh = await pullAll(relay.url)
    expect(await missing(fresh.ws, written)).toEqual([])
    expect(view(fresh.ws)).toEqual(view(ws))
    await ws.close()
    const [pulled, disk] = [await fresh.close(), await readDisk(store)]
    expect(lackingChanges(disk, pulled)).toEqual([])
    expect(lackingChanges(pulled, disk)).toEqual([])
    console.log(`${kills} kills of a replica: ${written.length} writes reported as saved, 0 lost`)
  })
})
