import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { afterAll, describe, expect, it } from "vitest"
import { differingRows, lackingChanges, missing, openNotes, pullAll, readDisk, type Written } from "./support/load.ts"
import { LoopDisk, removeAllDisks, whyNoLoopDevice } from "./support/loop-device.ts"
import { endAll, program, start, startRelay } from "./support/processes.ts"
import { RelayUnderLoad } from "./support/relay-under-load.ts"

const cuts = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-cut-"))
let load: RelayUnderLoad | undefined

afterAll(async () => {
  await load?.close()
  await endAll()
  await removeAllDisks()
  rmSync(folder, { recursive: true, force: true })
})

const reason = whyNoLoopDevice()
if (reason !== undefined) {
  it(`the power cannot be cut on this machine: ${reason}`, (context) => context.skip(reason))
} else {
  describe.sequential("a disk whose power is cut", () => {
    it("keeps what was synced and loses what was not", async () => {
      const disk = await LoopDisk.make()
      const file = openSync(path.join(disk.path, "file"), "w")
      writeSync(file, "synced")
      fsyncSync(file)
      const parent = openSync(disk.path, "r")
      fsyncSync(parent)
      writeSync(file, " and not synced")
      const found = await disk.cut()
      expect(readFileSync(path.join(found.path, "file"), "utf8")).toBe("synced")
      closeSync(file)
      closeSync(parent)
      await removeAllDisks()
    })
  })

  describe.sequential("a replica whose power is cut under load", () => {
    const written: Written[] = []
    let disk: LoopDisk | undefined

    for (let cut = 1; cut <= cuts; cut++) {
      it(`has the row, the change and the outbox record of all that it said was saved (${cut} of ${cuts})`, async () => {
        disk ??= await LoopDisk.make()
        const device = (of: LoopDisk) => path.join(of.path, "device")
        const child = start(await program("test/support/device-under-load.ts"), [device(disk), `c${cut}`])
        const first = await child.line()
        await sleep(Math.random() * 3000)
        await child.freeze()
        const found = await disk.cut()
        await child.end()
        written.push(...[first, ...child.takeLines()].map((line) => JSON.parse(line) as Written))
        await disk.remove()
        disk = found

        const records = await readDisk(nodeStore(device(disk)))
        const changes = [...records.changes.values()].flatMap((chunks) => [...chunks.keys()])
        expect(changes.filter((hash) => !records.owed.has(hash))).toEqual([])
        const ws = await openNotes(nodeStore(device(disk)))
        expect(await missing(ws, written)).toEqual([])
        expect(await differingRows(ws, records)).toEqual([])
        await ws.close()
      })
    }

    it("brings a relay all of it afterwards", async () => {
      const relay = await startRelay(path.join(folder, "relay-of-the-device"))
      const store = nodeStore(path.join(disk!.path, "device"))
      const ws = await openNotes(store, relay.url)
      await ws.whenStored({ signal: AbortSignal.timeout(60_000) })
      await ws.close()
      const fresh = await pullAll(relay.url)
      expect(await missing(fresh.ws, written)).toEqual([])
      expect(lackingChanges(await readDisk(store), await fresh.close())).toEqual([])
      await relay.end()
      await disk!.remove()
      console.log(`${cuts} power cuts of a replica: ${written.length} writes reported as saved, 0 lost`)
    })
  })

  describe.sequential("a relay whose power is cut under load", () => {
    let disk: LoopDisk
    const data = (of: LoopDisk) => path.join(of.path, "relay")

    for (let cut = 1; cut <= cuts; cut++) {
      it(`has everything that it had acknowledged, then and before (${cut} of ${cuts})`, async () => {
        if (cut === 1) {
          disk = await LoopDisk.make()
          load = await RelayUnderLoad.start(folder, data(disk))
        }
        await load!.untilBusy()
        await load!.relay.freeze()
        await sleep(200) // acks that were on their way arrive
        const acknowledged = [...load!.stored]
        const found = await disk.cut()
        await load!.relay.end()
        await disk.remove()
        disk = found
        await load!.restart(acknowledged, data(disk))
      })
    }

    it("gets whatever was saved, and all replicas agree", async () => {
      await load!.finish()
      expect(load!.stored.length).toBeGreaterThan(cuts * 30)
      console.log(
        `${cuts} power cuts of the relay: ${load!.saved.length} saved, ${load!.stored.length} said to be stored, 0 lost`,
      )
    })
  })
}
