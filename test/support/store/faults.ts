import { ClassicLevel } from "classic-level"
import { IDBDatabase, IDBFactory, IDBKeyRange, IDBObjectStore } from "fake-indexeddb"
import type { MemoryStep } from "../../../src/store/memory.ts"

/** The failure of operation number `at` on the disk (the layer below a store). After a crash no operation happens. */
export interface Plan {
  readonly at: number
  /** How the operation fails: it throws, its transaction is aborted, its connection is lost, or the process dies. */
  readonly what: "throw" | "abort" | "lose" | "crash"
  /** Whether it fails before or after it has taken effect. */
  readonly when: "before" | "after"
}

/** Counts the operations of a disk, and makes one of them fail or the process die. */
export class Faults {
  operations = 0
  struck = false
  /** Number of writes that may resolve before they are on the disk. */
  weakWrites = 0
  readonly #plan: Plan | undefined
  #die = (): void => {}
  readonly death = new Promise<void>((resolve) => {
    this.#die = resolve
  })

  constructor(plan?: Plan) {
    this.#plan = plan
  }

  /** Counts an operation. Returns the plan if it is the operation that must fail. */
  strike(): Plan | undefined {
    if (++this.operations !== this.#plan?.at) return undefined
    this.struck = true
    if (this.#plan.what === "crash") this.#die()
    return this.#plan
  }

  get mayDie(): boolean {
    return this.#plan?.what === "crash"
  }

  get dead(): boolean {
    return this.struck && this.mayDie
  }

  /** Runs an asynchronous operation, or fails as planned. In a dead process nothing happens, and no promise settles. */
  async around<T>(operation: () => Promise<T>): Promise<T> {
    if (this.dead) return never
    const plan = this.strike()
    if (!plan) return operation()
    if (plan.when === "after") await operation()
    if (plan.what === "crash") return never
    throw new Error("the planned failure")
  }
}

const never = new Promise<never>(() => {})

/** The `step` of a memory store. At `committed` nothing can fail any more, but the process can die. */
export const memoryFaults = (faults: Faults) => async (step: MemoryStep) => {
  if (step !== "committed" || faults.mayDie) await faults.around(async () => {})
}

const levelOperations = new Set(["open", "close", "get", "getMany", "put"])

type WriteBatch = (options?: { readonly sync?: boolean }) => Promise<void>

/** Replaces the `write` of every batch of a LevelDB by what `around` returns for it. */
export function aroundWrites(level: ClassicLevel<string, Buffer>, around: (write: WriteBatch) => WriteBatch): void {
  const begin = level.batch as () => { write: WriteBatch }
  const replaced = () => {
    const batch = begin.call(level)
    batch.write = around(batch.write.bind(batch))
    return batch
  }
  Object.assign(level, { batch: replaced })
}

/** Returns a LevelDB whose operations on the disk fail as planned (`level`), and the real one behind it (`real`). */
export function faultyLevel(folder: string, faults: Faults) {
  const real = new ClassicLevel<string, Buffer>(folder, { valueEncoding: "buffer" })
  aroundWrites(real, (write) => (options) => {
    if (options?.sync !== true) faults.weakWrites++
    return faults.around(() => write(options))
  })
  const level = new Proxy(real, {
    get(_, name) {
      const member: unknown = Reflect.get(real, name, real)
      if (typeof member !== "function") return member
      return (...args: unknown[]) => {
        const call = (): unknown => Reflect.apply(member, real, args)
        if (levelOperations.has(`${String(name)}`)) return faults.around(async () => call())
        return name === "iterator" ? faultyIterator(call() as Rows, faults) : call()
      }
    },
  })
  return { level, real }
}

interface Rows {
  all(): Promise<unknown[]>
}

const faultyIterator = (rows: Rows, faults: Faults): Rows => ({ all: () => faults.around(() => rows.all()) })

/** A member of fake-indexeddb's transactions that is not in the standard. */
interface FakeTransaction extends IDBTransaction {
  _abort(error: string | null): void
}

type Call = (...args: unknown[]) => unknown

/**
 * Makes a new browser profile whose operations fail as planned. Each opening, transaction and request may throw, have
 * its transaction aborted later (as on a full disk) or lose the connection. The process may also die between a commit
 * and its `complete` event. Returns a function that ends this.
 */
export function faultyIndexedDB(faults: Faults): () => void {
  const factory = new IDBFactory()
  const live = new Set<FakeTransaction>()
  const undo: (() => void)[] = []

  function patch(target: object, name: string, around: (call: () => unknown, args: readonly unknown[]) => unknown) {
    const original: Call = Reflect.get(target, name)
    const patched = function (this: unknown, ...args: unknown[]) {
      return around(() => Reflect.apply(original, this, args), args)
    }
    Reflect.set(target, name, patched)
    undo.push(() => Reflect.set(target, name, original))
  }

  function endAll(error: string | null): void {
    for (const transaction of live) transaction._abort(error)
    live.clear()
  }

  function loseConnection(db: IDBDatabase): void {
    endAll("AbortError")
    db.close()
    db.onclose?.(new Event("close"))
  }

  /** How the transaction of this operation must fail, if it must. Throws if the operation itself must fail. */
  function struck(): "abort" | "lose" | undefined {
    if (faults.dead) throw new Error("dead")
    const what = faults.strike()?.what
    if (what === "throw") throw new DOMException("the planned failure", "UnknownError")
    if (what !== "crash") return what
    endAll(null)
    throw new Error("dead")
  }

  function spoil(transaction: IDBTransaction, what: "abort" | "lose"): void {
    queueMicrotask(() => {
      if (what === "lose") loseConnection(transaction.db)
      else (transaction as FakeTransaction)._abort("QuotaExceededError")
    })
  }

  patch(factory, "open", (call) => (struck() ? refusedOpening() : call()))
  for (const name of ["get", "getAll", "getAllKeys", "put", "delete"]) {
    patch(IDBObjectStore.prototype, name, (call) => {
      const what = struck()
      const request = call() as IDBRequest
      if (what && request.transaction) spoil(request.transaction, what)
      return request
    })
  }
  patch(IDBDatabase.prototype, "transaction", (call, [, mode, options]) => {
    if (mode === "versionchange") return call()
    if (mode === "readwrite" && (options as IDBTransactionOptions | undefined)?.durability !== "strict")
      faults.weakWrites++
    const what = struck()
    const transaction = call() as FakeTransaction
    if (what) spoil(transaction, what)
    live.add(transaction)
    transaction.addEventListener("abort", () => live.delete(transaction))
    transaction.addEventListener("complete", () => {
      live.delete(transaction)
      if (faults.dead || (faults.mayDie && faults.strike())) transaction.oncomplete = null
    })
    return transaction
  })
  Object.assign(globalThis, { indexedDB: factory, IDBKeyRange })
  return () => {
    for (const step of undo) step()
  }
}

/** What `indexedDB.open` returns when the browser cannot open its files. */
function refusedOpening() {
  const request = { error: new DOMException("the planned failure", "UnknownError"), onerror: () => {} }
  setImmediate(() => request.onerror())
  return request
}
