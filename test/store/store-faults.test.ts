import { describe, expect, test, vi } from "vitest"
import { indexedDBStore } from "../../src/store/indexeddb.ts"
import { memoryStore } from "../../src/store/memory.ts"
import { nodeStore } from "../../src/store/node.ts"
import type { Store } from "../../src/store/store.ts"
import { Faults, faultyIndexedDB, faultyLevel, memoryFaults, type Plan } from "../support/store/faults.ts"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"
import { Journal, rowsOf, work } from "../support/store/workload.ts"

// The stores run without Web Locks, because in this process nothing would free the locks of a page that died.
vi.stubGlobal("navigator", undefined)

let pages = 0

interface Bed {
  readonly store: Store
  /** Makes a store without faults on the same disk. Call it when the first store is dead or closed. */
  reopened(): Promise<Store>
  destroy(): Promise<void>
}

const beds: Readonly<Record<string, { make: (faults: Faults) => Promise<Bed>; fail: readonly Omit<Plan, "at">[] }>> = {
  memoryStore: {
    fail: [{ what: "throw", when: "before" }],
    async make(faults) {
      const store = memoryStore({ step: memoryFaults(faults) })
      return { store, reopened: async () => store.crash({}), destroy: async () => {} }
    },
  },
  nodeStore: {
    fail: [
      { what: "throw", when: "before" },
      { what: "throw", when: "after" },
    ],
    async make(faults) {
      const folder = await newFolder()
      const made: { close(): Promise<void> }[] = []
      const make = (name: string) => {
        const { level, real } = faultyLevel(name, faults)
        made.push(real)
        return level
      }
      return {
        store: nodeStore(folder, make),
        async reopened() {
          // Closing writes nothing to the disk. It only unlocks the folder, as the death of the process would.
          for (const level of made) await level.close()
          return nodeStore(folder)
        },
        destroy: () => removeFolder(folder),
      }
    },
  },
  indexedDBStore: {
    fail: [
      { what: "throw", when: "before" },
      { what: "abort", when: "after" },
      { what: "lose", when: "after" },
    ],
    async make(faults) {
      const takeOut = faultyIndexedDB(faults)
      const name = `notes ${++pages}`
      return {
        store: indexedDBStore(name),
        async reopened() {
          takeOut()
          vi.resetModules()
          const nextPage = await import("../../src/store/indexeddb.ts")
          return nextPage.indexedDBStore(name)
        },
        destroy: async () => takeOut(),
      }
    },
  },
}

describe.each(Object.entries(beds))("%s", (_, { make, fail }) => {
  test.each(fail)("loses nothing and goes on when any one operation fails ($what $when)", async ({ what, when }) => {
    let failures = 0
    const runs = await enumerate({ what, when }, async (bed, faults) => {
      const journal = new Journal()
      await work(bed.store, journal)
      if (!faults.struck) expect(journal.failures).toBe(0)
      failures += journal.failures
      await expectOneOf(await bed.reopened(), journal)
    })
    // Many faults must reach the caller, because faults that the store never notices prove nothing.
    expect(failures).toBeGreaterThan(runs / 3)
  })

  test.each(["before", "after"] as const)("has only whole commits after a crash %s any one operation", async (when) => {
    let unheard = 0
    await enumerate({ what: "crash", when }, async (bed, faults) => {
      const journal = new Journal()
      const working = work(bed.store, journal)
      working.catch(() => {})
      await Promise.race([working, faults.death])
      unheard += journal.unheard.length
      await expectOneOf(await bed.reopened(), journal)
    })
    expect(unheard).toBeGreaterThan(5)
  })

  async function enumerate(what: Omit<Plan, "at">, run: (bed: Bed, faults: Faults) => Promise<void>): Promise<number> {
    for (let at = 1; ; at++) {
      const faults = new Faults({ ...what, at })
      const bed = await make(faults)
      try {
        await run(bed, faults)
        expect(faults.weakWrites).toBe(0)
      } catch (error) {
        throw new Error(`operation ${at}`, { cause: error })
      } finally {
        await bed.destroy()
      }
      if (!faults.struck) return at - 1
    }
  }
})

async function expectOneOf(store: Store, journal: Journal): Promise<void> {
  const possible = journal.possible()
  const release = await store.claim("w")
  expect(possible).toContainEqual(await rowsOf(store))
  await store.commit([[["w", "later"], "1"]])
  expect(await store.get(["w", "later"])).toBe("1")
  await release()
}
