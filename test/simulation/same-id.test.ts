import fc from "fast-check"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import type { Store } from "../../src/store/store.ts"
import { open } from "../support/foreign.ts"
import { startRelay } from "../support/relay.ts"

// Apps may choose ids, so two offline devices can create entities with the same id in two collections. The entity that
// reaches the log first stays. The other device keeps its changes on its rejected list, and shows the entity that
// stays.
beforeAll(() => loadAutomerge())

const step = fc.record({
  device: fc.nat(2),
  op: fc.constantFrom("write", "write", "write", "delete", "connect", "disconnect", "reopen"),
  of: fc.constantFrom("notes" as const, "tasks" as const),
  id: fc.constantFrom("a", "b"),
})
type Device = { ws: Awaited<ReturnType<typeof open>>; readonly store: Store }

const shown = ({ ws }: Device) =>
  [ws.notes, ws.tasks].map(({ all }) => all().map(({ id, title, n, $stale }) => ({ id, title, n, $stale })))

/**
 * The errors that an app may get for an entity that another device has made or deleted, in this or another collection.
 */
const expected = new Set(["ENTITY_EXISTS", "ENTITY_NOT_FOUND", "ENTITY_DELETED"])

test("one id in two collections: in the end all show what the log has, also when opened again", async () => {
  let refused = 0
  const run = async (steps: readonly { device: number; op: string; of: "notes" | "tasks"; id: string }[]) => {
    await using relay = await startRelay()
    const { url } = relay
    const devices: Device[] = []
    const add = async (store: Store) => devices.push({ store, ws: await open(undefined, store) })
    for (let i = 0; i < 3; i++) await add(memoryStore())
    for (const [i, { device: d, op, of, id }] of steps.entries()) {
      const device = devices[d]!
      const { ws } = device
      const write = () =>
        ws[of].get(id)
          ? ws[of].update(id, (draft) => void Object.assign(draft, { n: i, title: `${of} of ${d}` }))
          : ws[of].create({ title: `${of} of ${d}` }, { id })
      const may = (answer: Promise<unknown>) =>
        answer.catch((error) => {
          if (!(error instanceof HeadwaterError && expected.has(error.code))) throw error
        })
      if (op === "write") await may(write())
      else if (op === "delete") await may(ws[of].delete(id))
      else if (op === "connect") ws.connect({ url })
      else if (op === "disconnect") ws.disconnect()
      else {
        await ws.close()
        device.ws = await open(undefined, device.store)
      }
    }
    for (const { ws } of devices) {
      ws.connect({ url })
      await ws.whenStored().catch((error) => {
        if (error.code !== "REJECTED") throw error
        refused++
      })
    }
    await add(memoryStore()) // a new device, which has seen nothing yet
    for (const { ws } of devices) {
      ws.connect({ url })
      await ws.whenSynced()
    }
    const [first, ...others] = devices.map(shown)
    for (const other of others) expect(other).toEqual(first)
    for (const device of devices) {
      await device.ws.close()
      device.ws = await open(undefined, device.store)
    }
    for (const device of devices) {
      expect(shown(device)).toEqual(first)
      await device.ws.close()
    }
  }
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30 }), run), { numRuns: 100, seed: 1 })
  expect(refused).toBeGreaterThan(10)
}, 120_000)
