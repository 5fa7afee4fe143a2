/**
 * A device that is killed again and again while it writes. What it reported as saved must be on its disk, and must
 * reach the relay.
 */
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { expect } from "vitest"
import { differingRows, lackingChanges, missing, openNotes, pullAll, readDisk, view, type Written } from "./load.ts"
import { program, start, startRelay } from "./processes.ts"

const signal = () => AbortSignal.timeout(60_000)

/** Starts the device, kills it in the middle of its writes, and returns the writes that it reported as saved. */
async function writeAndDie(device: string, name: string, url: string | undefined): Promise<Written[]> {
  const child = start(await program("test/support/device-under-load.ts"), [device, name, ...(url ? [url] : [])])
  const first = await child.line()
  await sleep(50 + Math.random() * 1000)
  expect(await child.end("SIGKILL")).toEqual({ code: null, signal: "SIGKILL" })
  return [first, ...child.takeLines()].map((line) => JSON.parse(line) as Written)
}

/**
 * Kills the device this many times, every second time while it is connected to a relay. Ends all processes that it
 * starts, except the relay in `folder`.
 */
export async function killReplica(folder: string, kills: number): Promise<void> {
  const device = path.join(folder, "device")
  const relay = await startRelay(path.join(folder, "relay"), { seconds: 3600 })
  const written: Written[] = []
  for (let kill = 1; kill <= kills; kill++) {
    const online = kill % 2 === 0
    written.push(...(await writeAndDie(device, `k${kill}`, online ? relay.url : undefined)))

    const pulled = await (await pullAll(relay.url)).close()
    const disk = await readDisk(nodeStore(device))
    const neither = lackingChanges(disk, pulled).filter((hash) => !disk.owed.has(hash))
    expect(neither, `kill ${kill}: changes that the relay does not have and is not owed`).toEqual([])

    const ws = await openNotes(nodeStore(device))
    expect(await missing(ws, written), `kill ${kill}: lost writes`).toEqual([])
    expect(await differingRows(ws, disk), `kill ${kill}: rows that are not what the changes say`).toEqual([])
    await ws.close()
  }

  // At the end the device pushes everything to the relay. Then a new replica shows the same notes as the device.
  const store = nodeStore(device)
  const ws = await openNotes(store, relay.url)
  await ws.whenStored({ signal: signal() })
  await ws.whenSynced({ signal: signal() })
  expect(ws.status.pending).toBe(0)
  const fresh = await pullAll(relay.url)
  expect(await missing(fresh.ws, written)).toEqual([])
  expect(view(fresh.ws)).toEqual(view(ws))
  await ws.close()
  const [pulled, disk] = [await fresh.close(), await readDisk(store)]
  expect([lackingChanges(disk, pulled), lackingChanges(pulled, disk)]).toEqual([[], []])
  console.log(`${kills} kills of a replica: ${written.length} writes reported as saved, 0 lost`)
}
