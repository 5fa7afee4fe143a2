import { indexedDBStore } from "headwater/indexeddb"
import { storeConformance } from "headwater/testing"

// The script of a page that runs the store's conformance suite in a real browser. indexeddb.test.ts calls `runAll`.
const tests = new Map<string, () => Promise<void>>()
let made = 0

/** The durability that the browser reports for each readwrite transaction of the run. */
const durabilities: string[] = []
const { transaction } = IDBDatabase.prototype
IDBDatabase.prototype.transaction = function (...args) {
  const begun = transaction.apply(this, args)
  if (begun.mode === "readwrite") durabilities.push(begun.durability)
  return begun
}

async function make() {
  const name = `conformance-${made++}`
  return {
    store: indexedDBStore(name),
    reopen: async () => indexedDBStore(name),
    destroy: () =>
      new Promise<void>((resolve, reject) => {
        const request = indexedDB.deleteDatabase(name)
        request.onsuccess = () => resolve()
        request.onerror = () => reject(request.error)
      }),
  }
}

storeConformance("IndexedDB", make, { test: (name, run) => tests.set(name, run) })

async function runAll(): Promise<{ name: string; error: string | null }[]> {
  const results: { name: string; error: string | null }[] = []
  for (const [name, run] of tests) {
    const error = await run().then(
      () => null,
      (failed: Error) => failed.stack ?? String(failed),
    )
    results.push({ name, error })
  }
  return results
}

Object.assign(window, { runAll, durabilities })
