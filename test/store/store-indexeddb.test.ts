import { forceCloseDatabase, IDBDatabase, IDBObjectStore, IDBTransaction } from "fake-indexeddb"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { indexedDBStore } from "../../src/store/indexeddb.ts"
import type { Store } from "../../src/store/store.ts"
import { newBrowser } from "../support/store/fixtures.ts"
import { FakeLocks } from "../support/store/locks.ts"

let name = ""
let names = 0
let connections: IDBDatabase[] = []
/** The durability that each readwrite transaction of the test has asked for, in order. */
let durabilities: unknown[] = []
let locks: FakeLocks

beforeEach(() => {
  newBrowser()
  name = `notes ${++names}`
  connections = []
  durabilities = []
  locks = new FakeLocks()
  vi.stubGlobal("navigator", { locks })
  const { transaction } = IDBDatabase.prototype
  vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementation(function (this: IDBDatabase, ...args) {
    if (!connections.includes(this)) connections.push(this)
    const begun = transaction.apply(this, args)
    const [, mode, options] = args
    if (mode === "readwrite") durabilities.push(options?.durability)
    return begun
  })
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
  for (const durability of durabilities) expect(durability).toBe("strict")
})

/** Loads the module of the store once more, as another tab does. */
async function otherTab(): Promise<typeof indexedDBStore> {
  vi.resetModules()
  return (await import("../../src/store/indexeddb.ts")).indexedDBStore
}

async function opened(): Promise<{ store: Store; release: () => Promise<void> }> {
  const store = indexedDBStore(name)
  const release = await store.claim("w")
  await store.commit([[["w", "a"], "1"]])
  return { store, release }
}

/** Does as a browser when it clears a site's data: closes all connections, and deletes the database. */
async function evict(): Promise<void> {
  for (const db of connections) forceCloseDatabase(db as unknown as typeof IDBDatabase)
  await done(indexedDB.deleteDatabase(name))
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

async function expectGone(store: Store): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await expect(store.get(["w", "a"])).rejects.toMatchObject({ code: "STORE_FAILED" })
    await expect(store.list([])).rejects.toMatchObject({ code: "STORE_FAILED" })
    await expect(store.commit([[["w", "a"], "2"]])).rejects.toMatchObject({ code: "STORE_FAILED" })
  }
}

describe("indexedDBStore", () => {
  test("asks for strict durability, unless the relaxed one is chosen", async () => {
    for (const durability of [undefined, "strict", "relaxed"] as const) {
      const store = indexedDBStore(name, durability && { durability })
      const release = await store.claim("w")
      await store.commit([[["w", "a"], "1"]])
      await store.commit([[["w", "a"], "2"]], { expect: [[["w", "a"], "1"]] })
      for (const db of connections) forceCloseDatabase(db as unknown as typeof IDBDatabase)
      await store.commit([[["w", "a"], "3"]]) // on a new connection, because the first one was closed
      await store.commit([[["w", "a"], "4"]])
      await release()
      const again = await store.claim("w")
      await store.commit([[["w", "a"], "5"]])
      await again()
      expect(durabilities.splice(0)).toEqual(Array(5).fill(durability ?? "strict"))
    }
  })

  test("stores the bytes of a view, not the buffer behind it", async () => {
    const put = vi.spyOn(IDBObjectStore.prototype, "put")
    const { store, release } = await opened()
    await store.commit([[["w", "a"], new Uint8Array(100_000).subarray(5, 8)]])
    const stored = put.mock.calls.at(-1)?.[0] as Uint8Array
    expect(stored.buffer.byteLength).toBe(3)
    await release()
  })

  test.each([5, 64, 100, 199])(
    "gives the disk's reason when record %d of 200 fails, and keeps none of them",
    async (n) => {
      const { store, release } = await opened()
      await store.commit([[["w", "there"], "before"]])
      const before = await store.list(["w"])
      const { put } = IDBObjectStore.prototype
      let puts = 0
      vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(function (this: IDBObjectStore, value, key) {
        return ++puts === n ? this.add("twice", ["w", "there"]) : put.call(this, value, key)
      })
      const many = Array.from({ length: 200 }, (_, i) => [["w", `n${i}`], "x"] as [string[], string])
      await expect(store.commit(many)).rejects.toMatchObject({
        code: "STORE_FAILED",
        cause: { name: "ConstraintError" },
      })
      vi.mocked(IDBObjectStore.prototype.put).mockRestore()
      expect(await store.list(["w"])).toEqual(before)
      await release()
    },
  )

  test("goes on when the browser closed the connection", async () => {
    const { store, release } = await opened()
    for (const db of connections) forceCloseDatabase(db as unknown as typeof IDBDatabase)
    expect(await store.get(["w", "a"])).toBe("1")
    for (const db of connections) db.close()
    const commits = Array.from({ length: 5 }, (_, i) =>
      store.commit([[["w", "a"], `${i + 2}`]], { expect: [[["w", "a"], `${i + 1}`]] }),
    )
    await Promise.all(commits)
    expect(await store.get(["w", "a"])).toBe("6")
    expect(connections.length).toBe(3)
    await release()
  })

  test("gives up a connection on which everything fails", async () => {
    const { store, release } = await opened()
    const [stale] = connections
    const { objectStore } = IDBTransaction.prototype
    vi.spyOn(IDBTransaction.prototype, "objectStore").mockImplementation(function (this: IDBTransaction, entries) {
      if (this.db === stale) queueMicrotask(() => this.abort())
      return objectStore.call(this, entries)
    })
    await expect(store.get(["w", "a"])).rejects.toMatchObject({ code: "STORE_FAILED" })
    expect(await store.get(["w", "a"])).toBe("1")
    await release()
  })

  test("fails once the browser has deleted the database, and makes no new one", async () => {
    const { store, release } = await opened()
    await evict()
    await expectGone(store)
    expect((await indexedDB.databases()).filter(({ version }) => version)).toEqual([])
    await release()
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED" })

    const next = indexedDBStore(name)
    const releaseNext = await next.claim("w")
    expect(await next.list([])).toEqual([])
    await releaseNext()
  })

  test("fails when the database was deleted while nothing was open", async () => {
    const { store, release } = await opened()
    await release()
    await done(indexedDB.deleteDatabase(name))
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED" })
    expect(locks.held.size).toBe(0)
  })

  test("does not take a new database of the same name for its own", async () => {
    const { store, release } = await opened()
    await evict()
    const other = indexedDBStore(name)
    const releaseOther = await other.claim("v")
    await expectGone(store)
    expect(await other.list([])).toEqual([])
    await releaseOther()
    await release()
  })

  test("lets another tab delete the database", async () => {
    const { store, release } = await opened()
    await done(indexedDB.deleteDatabase(name))
    await expectGone(store)
    await release()
  })

  test("does not touch a database that another program made", async () => {
    for (const version of [1, 2]) {
      const request = indexedDB.open(name, version)
      request.onupgradeneeded = () => {
        if (version === 1) request.result.createObjectStore("entries")
      }
      const db = await done(request)
      db.close()
      await expect(indexedDBStore(name).claim("w")).rejects.toMatchObject({ code: "STORE_FAILED" })
      expect(locks.held.size).toBe(0)
    }
  })

  test("lets only one tab open a workspace, by Web Locks", async () => {
    const { store, release } = await opened()
    const other = (await otherTab())(name)
    await expect(other.claim("w")).rejects.toMatchObject({ code: "STORE_IN_USE" })
    const releaseOther = await other.claim("v")
    await other.commit([[["v", "a"], "theirs"]])
    expect(await store.get(["v", "a"])).toBe("theirs")
    await expect(store.claim("v")).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await release()
    await (await other.claim("w"))()
    await releaseOther()
    expect(locks.held.size).toBe(0)
  })

  test("lets one commit win when two tabs expect the same value", async () => {
    const { store, release } = await opened()
    const other = (await otherTab())(name)
    const releaseOther = await other.claim("v")
    const expected = { expect: [[["w", "a"], "1"]] } as const
    const tries = [store, other, store, other].map((tab, i) => tab.commit([[["w", "a"], `tab ${i}`]], expected))
    const outcomes = (await Promise.allSettled(tries)).map(({ status }) => status)
    expect(outcomes.filter((status) => status === "fulfilled").length).toBe(1)
    await releaseOther()
    await release()
  })

  test("takes no lock of its own when asking for the Web Lock fails", async () => {
    locks.request = () => Promise.reject(new DOMException("an opaque origin", "SecurityError"))
    const store = indexedDBStore(name)
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED" })
    vi.stubGlobal("navigator", undefined)
    await (await store.claim("w"))()
  })

  test("refuses a second store object of the same page where there are no Web Locks", async () => {
    vi.stubGlobal("navigator", undefined)
    const { release } = await opened()
    await expect(indexedDBStore(name).claim("w")).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await release()
    await (await indexedDBStore(name).claim("w"))()
  })
})
