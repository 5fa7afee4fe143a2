import { describe, test } from "vitest"
import type { Store } from "../../src/store/store.ts"
import { type StoreFixture, storeConformance } from "../../src/testing.ts"
import { Process, Scheduler } from "./world/clock.ts"
import { Device } from "./world/store.ts"

/** A store whose every operation lets simulated time pass, so that it resolves. */
function impatient(store: Store, scheduler: Scheduler): Store {
  const soon = async <T>(asked: Promise<T>): Promise<T> => {
    asked.catch(() => {}) // the caller gets the rejection below
    await scheduler.pass(1000)
    return asked
  }
  return {
    claim: async (workspace) => {
      const release = await soon(store.claim(workspace))
      return () => soon(release())
    },
    get: (key) => soon(store.get(key)),
    list: (prefix, options) => soon(store.list(prefix, options)),
    commit: (writes, options) => soon(store.commit(writes, options)),
  }
}

describe("the simulated store keeps the contract of a store:", () => {
  const make = async (): Promise<StoreFixture> => {
    const scheduler = new Scheduler(1)
    const device = new Device(scheduler, "d", { usual: 5, worst: 50 })
    const open = () => impatient(device.open(new Process(scheduler, "p")), scheduler)
    return { store: open(), reopen: async () => open(), destroy: async () => {} }
  }
  storeConformance("it", make, { test: (name, run) => void test(name, run) })
})
