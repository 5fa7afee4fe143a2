import { get, promisifyRequest, type UseStore } from "idb-keyval"
import { HeadwaterError } from "../base/errors.ts"
import { copyOf, encodeKey, rangeOf, sameValue } from "./key.ts"
import { inUse, opening } from "./opening.ts"
import type { Key, Store, Value } from "./store.ts"

/** How an IndexedDB store writes. */
export interface IndexedDBOptions {
  /**
   * `strict`, the default: a commit is flushed to the disk before it resolves. `relaxed`: a commit resolves when the
   * operating system has it, so a power cut may undo the commits of the last seconds (Indexed Database API 3.0,
   * "durability hint").
   */
  readonly durability?: "strict" | "relaxed"
}

/**
 * The name of the only object store. All kinds of records are in it, because the change, the row and the outbox record
 * of a commit are written in one transaction.
 */
const entries = "entries"

/**
 * After each group of this many records, a commit waits until the browser has written the group, so that the page can
 * respond to its user. A commit of a first sync has some 500 records. Without the waits, it would keep the page's
 * thread busy for 60 ms.
 */
const AT_ONCE = 64

/**
 * The key of the random name that the database got when it was made. This key is a string, so it sorts before every
 * array, and no `list` reads it.
 */
const installedKey = "installed"

/**
 * A store in the browser's IndexedDB database `name`. Several workspaces of it can be open at the same time.
 *
 * One tab at a time can have a workspace open, by Web Locks; a second tab gets `STORE_IN_USE`. Where the browser has no
 * Web Locks (on an insecure origin), only a second opening in the same page is noticed.
 *
 * When the browser deletes the database while it is in use (eviction, "clear site data"), every later call fails with
 * `STORE_FAILED`. This store object makes no empty database in its place.
 */
export function indexedDBStore(name = "headwater", { durability = "strict" }: IndexedDBOptions = {}): Store {
  /** The connection that is open or being opened. */
  let connection: Promise<IDBDatabase> | undefined
  /** The connection, once it is open. */
  let current: IDBDatabase | undefined
  /**
   * The random name (`installedKey`) of the database that this object opened first. The object uses no database with
   * another name.
   */
  let installed: string | undefined

  const { claim, run } = opening({
    open: async () => void (await connect()),
    close: async () => disconnect(current),
    lock: (workspace) => lock(`headwater/${workspace}/${name}`),
  })

  function connect(): Promise<IDBDatabase> {
    connection ??= open().catch((error: unknown) => {
      connection = undefined
      throw error
    })
    return connection
  }

  /**
   * Closes a connection. Transactions that have begun on it may finish. The next operation opens another connection,
   * unless one is being opened already.
   */
  function disconnect(db: IDBDatabase | undefined): void {
    db?.close()
    if (db === current) connection = current = undefined
  }

  async function open(): Promise<IDBDatabase> {
    const request = indexedDB.open(name)
    let evicted = false
    request.onupgradeneeded = () => {
      evicted = installed !== undefined
      if (evicted) request.transaction?.abort()
      else request.result.createObjectStore(entries).put(randomName(), installedKey)
    }
    const db = await promisifyRequest(request).catch((error: unknown) => {
      throw evicted ? new Error(`the browser has deleted the database ${name}: reload the page`) : error
    })
    try {
      const found = await promisifyRequest(db.transaction(entries).objectStore(entries).get(installedKey))
      if (typeof found !== "string")
        throw new Error(`the database ${name} was not made by this library: use another name`)
      installed ??= found
      if (found !== installed)
        throw new Error(`the browser has deleted the database ${name}, and there is another one now: reload the page`)
    } catch (error) {
      db.close()
      throw error
    }
    db.onversionchange = () => disconnect(db)
    current = db
    return db
  }

  async function begin(mode: IDBTransactionMode): Promise<IDBTransaction> {
    const db = await connect()
    try {
      return db.transaction(entries, mode, { durability })
    } catch {
      // The browser has closed the connection, as Safari does without an event. No transaction has begun, so it is safe
      // to begin it on a new connection.
      disconnect(db)
      return (await connect()).transaction(entries, mode, { durability })
    }
  }

  /** Runs one transaction. The functions of idb-keyval call it, too. */
  const use: UseStore = async (mode, callback) => {
    const transaction = await begin(mode)
    try {
      return await callback(transaction.objectStore(entries))
    } catch (error) {
      // Abort: otherwise a put that throws would leave the puts before it in the transaction, and they would be
      // committed.
      abort(transaction)
      // Use a new connection from now on: after a failure, a connection may fail for ever, and a new one costs little.
      if (!(error instanceof HeadwaterError)) disconnect(transaction.db)
      throw error
    }
  }

  return {
    place: `indexeddb ${name}`,
    claim,
    get: (key) =>
      run("get", async () => {
        encodeKey(key)
        return get<Value>([...key], use)
      }),
    list: (prefix, { after, limit } = {}) =>
      run("list", async () => {
        const range = keyRange(prefix, after)
        if (range === undefined || limit === 0) return []
        const [keys, values] = await use("readonly", (store) => {
          const requests = [store.getAllKeys(range, limit), store.getAll(range, limit)] as const
          return Promise.all([promisifyRequest(requests[0]), promisifyRequest<Value[]>(requests[1])])
        })
        return values.map((value, i): [Key, Value] => [keys[i] as string[], value])
      }),
    commit: (writes, { expect = [] } = {}) =>
      run("commit", async () => {
        const batch = [...writes, ...expect].map(([key, value]) => {
          encodeKey(key)
          return { key: [...key], value: copyOf(value) }
        })
        const expected = batch.splice(writes.length)
        if (batch.length + expected.length === 0) return
        await use("readwrite", async (store) => {
          const found = await Promise.all(
            expected.map(({ key }) => promisifyRequest<Value | undefined>(store.get(key))),
          )
          const moved = expected.find(({ value }, i) => !sameValue(found[i], value))
          if (moved)
            throw new HeadwaterError(
              "STORE_MOVED",
              `${moved.key.join("/")} does not have the expected value: read it again`,
            )
          const done = completed(store.transaction)
          done.catch(() => {}) // otherwise a rejection before `await done` would count as unhandled
          for (const [i, { key, value }] of batch.entries()) {
            const request = value === undefined ? store.delete(key) : store.put(value, key)
            if (i % AT_ONCE === AT_ONCE - 1) await Promise.race([answered(request), done])
          }
          await done
        })
      }),
  }
}

/**
 * Makes the range of a `list`. Returns undefined when no key can be in the range, because IndexedDB refuses an empty
 * range.
 */
function keyRange(prefix: Key, after: Key | undefined): IDBKeyRange | undefined {
  const { gt, lt } = rangeOf(prefix, after)
  if (gt !== undefined && gt >= lt) return undefined
  const lower = gt !== undefined && after ? [...after] : [...prefix]
  // An array is greater than any string, so the upper bound is above every extension of the prefix.
  return IDBKeyRange.bound(lower, [...prefix, []], true, true)
}

/**
 * Resolves when the transaction is committed. idb-keyval's `promisifyRequest` is not used here, because it may reject
 * with null before the transaction has its error.
 */
function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"))
  })
}

/**
 * Resolves when the request has succeeded. A failed request aborts its transaction: then this promise stays pending,
 * and `completed` rejects with the reason.
 */
function answered(request: IDBRequest): Promise<void> {
  return new Promise((resolve) => {
    request.onsuccess = () => resolve()
  })
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort()
  } catch {
    // The transaction has ended already.
  }
}

function randomName(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-")
}

/** The ids that any store object of this page has locked. */
const locked = new Set<string>()

async function lock(id: string): Promise<() => Promise<void>> {
  if (locked.has(id)) throw inUse(`${id} is open in this page already: close it there first`)
  locked.add(id)
  try {
    const unlock = await lockTabs(id)
    return async () => {
      await unlock()
      locked.delete(id)
    }
  } catch (error) {
    locked.delete(id)
    throw error
  }
}

/**
 * Locks an id against other tabs, by Web Locks. The browser keeps such a lock until the promise of the lock's callback
 * has resolved or the tab is closed.
 */
function lockTabs(id: string): Promise<() => Promise<void>> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks as LockManager | undefined
  if (!locks) return Promise.resolve(async () => {})
  return new Promise((resolve, reject) => {
    const freed = locks.request(id, { ifAvailable: true }, (granted) => {
      if (!granted) throw inUse(`${id} is open in another tab: close it there first`)
      return new Promise<void>((free) => {
        resolve(async () => {
          free()
          await freed
        })
      })
    })
    freed.catch(reject)
  })
}
