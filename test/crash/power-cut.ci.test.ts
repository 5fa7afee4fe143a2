import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { afterEach, describe, expect, it } from "vitest"
import { differingRows, lackingChanges, missing, openNotes, pullAll, readDisk, type Written } from "../support/load.ts"
import { LoopDisk, removeAllDisks, whyNoLoopDevice } from "../support/loop-device.ts"
import { type Child, endAll, program, start, startRelay } from "../support/processes.ts"
import { RelayUnderLoad } from "../support/relay-under-load.ts"

const cuts = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-cut-"))
let load: RelayUnderLoad | undefined

afterEach(async () => {
  await load?.close()
  await endAll()
  await removeAllDisks()
  rmSync(folder, { recursive: true, force: true })
})

/** Cuts the power of the disk and of the process that writes to it. Returns the disk as it is after the cut. */
async function cutOff(child: Child, disk: LoopDisk): Promise<LoopDisk> {
  await child.freeze()
  const found = await disk.cut()
  await child.end()
  await disk.remove()
  return found
}

const reason = whyNoLoopDevice()
if (reason !== undefined) {
  it(`the power cannot be cut on this machine: ${reason}`, (context) => context.skip(reason))
} else {
  describe("a power cut", () => {
    it("loses what was not synced, and nothing else", async () => {
      const disk = await LoopDisk.make()
      const file = openSync(path.join(disk.path, "file"), "w")
      writeSync(file, "synced")
      fsyncSync(file)
      writeSync(file, " and not synced")
      const found = await disk.cut()
      expect(readFileSync(path.join(found.path, "file"), "utf8")).toBe("synced")
      closeSync(file)
    })

    it("leaves a store in which nothing was written yet, and it can be opened again", async () => {
      const disk = await LoopDisk.make()
      const child = start(await program("test/support/device-under-load.ts"), [path.join(disk.path, "device")])
      expect(await child.line()).toBe("opened")
      const found = await cutOff(child, disk)
      const ws = await openNotes(nodeStore(path.join(found.path, "device")))
      await ws.close()
    })

    it(`under load, ${cuts} times, leaves a replica the row, the change and the outbox record of all that it reported as saved`, async () => {
      const device = (of: LoopDisk) => path.join(of.path, "device")
      const written: Written[] = []
      let disk = await LoopDisk.make()
      for (let cut = 1; cut <= cuts; cut++) {
        const child = start(await program("test/support/device-under-load.ts"), [device(disk), `c${cut}`])
        const first = await child.line()
        await sleep(Math.random() * 3000)
        disk = await cutOff(child, disk)
        written.push(...[first, ...child.takeLines()].map((line) => JSON.parse(line) as Written))

        const records = await readDisk(nodeStore(device(disk)))
        const changes = [...records.changes.values()].flatMap((chunks) => [...chunks.keys()])
        const notOwed = changes.filter((hash) => !records.owed.has(hash))
        expect(notOwed, `cut ${cut}: changes that nobody was told of and nobody is owed`).toEqual([])
        const ws = await openNotes(nodeStore(device(disk)))
        expect(await missing(ws, written), `cut ${cut}: lost writes`).toEqual([])
        expect(await differingRows(ws, records), `cut ${cut}: rows that are not what the changes say`).toEqual([])
        await ws.close()
      }

      // After the last cut, the replica pushes everything to a relay.
      const relay = await startRelay(path.join(folder, "relay"))
      const store = nodeStore(device(disk))
      const ws = await openNotes(store, relay.url)
      await ws.whenStored({ signal: AbortSignal.timeout(60_000) })
      await ws.close()
      const fresh = await pullAll(relay.url)
      expect(await missing(fresh.ws, written)).toEqual([])
      expect(lackingChanges(await readDisk(store), await fresh.close())).toEqual([])
      console.log(`${cuts} power cuts of a replica: ${written.length} writes reported as saved, 0 lost`)
    })

    it(`under load, ${cuts} times, leaves a relay all that it had acknowledged before this and every earlier cut`, async () => {
      const data = (of: LoopDisk) => path.join(of.path, "relay")
      let disk = await LoopDisk.make()
      load = await RelayUnderLoad.start(folder, data(disk))
      for (let cut = 1; cut <= cuts; cut++) {
        await load.untilBusy()
        await load.relay.freeze()
        await sleep(200) // in this time the replicas receive the acks that the relay had sent
        const acknowledged = [...load.stored]
        disk = await cutOff(load.relay, disk)
        await load.restart(acknowledged, data(disk))
      }
      await load.finish()
      expect(load.stored.length).toBeGreaterThan(cuts * 30)
      console.log(
        `${cuts} power cuts of the relay: ${load.saved.length} saved, ${load.stored.length} said to be stored, 0 lost`,
      )
    })
  })
}
