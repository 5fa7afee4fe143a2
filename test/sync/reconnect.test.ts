import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { createRelay } from "headwater-relay"
import { expect, test } from "vitest"
import { countingProxy } from "../../bench/proxy.ts"
import { openNotes } from "../support/load.ts"

test("a replica that comes back when nothing has changed costs one small message each way, at 100 notes and at 1,000", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-reconnect-"))
  const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
  const proxy = await countingProxy(relay.port)
  const device = () => openNotes(nodeStore(path.join(folder, "device")), proxy.url)
  const costs: object[] = []
  let made = 0
  try {
    for (const size of [100, 1000]) {
      const writer = await device()
      const body = "hello"
      await Promise.all(Array.from({ length: size - made }, () => writer.notes.create({ title: `${++made}`, body })))
      await writer.whenStored()
      await writer.whenSynced()
      await writer.close()

      proxy.reset()
      const ws = await device()
      await ws.whenSynced()
      expect(ws.notes.all()).toHaveLength(size)
      await sleep(300) // long enough for a second message to come
      costs.push(structuredClone({ up: proxy.up, down: proxy.down }))
      ws.disconnect()
      proxy.reset()
      ws.connect()
      await ws.whenSynced()
      await sleep(300)
      costs.push(structuredClone({ up: proxy.up, down: proxy.down }))
      await ws.close()
    }
  } finally {
    proxy.close()
    await relay.close()
    rmSync(folder, { recursive: true, force: true })
  }
  const once = { messages: 1, bytes: expect.any(Number) }
  expect(costs[0]).toEqual({ up: once, down: once })
  expect(costs).toEqual(Array(4).fill(costs[0]))
  const { up, down } = costs[0] as { up: { bytes: number }; down: { bytes: number } }
  expect(up.bytes + down.bytes).toBeLessThan(300)
})
