import { HeadwaterError } from "../base/errors.ts"
import { copyOf, decodeKey, encodeKey, type Range, rangeOf, sameValue } from "./key.ts"
import { opening, queue } from "./opening.ts"
import type { Key, Store, Value } from "./store.ts"

/**
 * The step that a memory store takes next. `committed`: the writes have taken effect, and the promise of `commit` is
 * about to resolve.
 */
export type MemoryStep = "open" | "get" | "list" | "write" | "commit" | "committed" | "close"

/** Options that slow a memory store down or make it fail. */
export interface MemoryOptions {
  /**
   * Called before each step, for tests and simulations. The step waits for the promise that this function returns. When
   * this function throws, the operation fails with `STORE_FAILED`. A commit that fails at `committed` has taken effect
   * nevertheless.
   */
  readonly step?: (step: MemoryStep) => void | Promise<void>
}

/** A store in memory that can simulate a power cut. */
export interface MemoryStore extends Store {
  /**
   * Cuts the power. Returns the store as it is after a restart, with everything that was committed and no claims.
   * Operations of the old store, also those that are called from now on, neither resolve nor reject.
   */
  crash(options?: MemoryOptions): MemoryStore
}

/**
 * A store in this process's memory, for tests and for workspaces that may be lost. Its records live as long as the
 * store object, even after the last release.
 */
export function memoryStore(options: MemoryOptions = {}): MemoryStore {
  return over(new Entries(), options)
}

function over(entries: Entries, options: MemoryOptions): MemoryStore {
  const inTurn = queue()
  let dead = false

  async function step(name: MemoryStep): Promise<void> {
    await options.step?.(name)
    if (dead) await new Promise<never>(() => {})
  }

  const { claim, run } = opening({ open: () => step("open"), close: () => step("close") })

  return {
    claim,
    get: (key) =>
      run("get", async () => {
        const encoded = encodeKey(key)
        await step("get")
        return copyOf(entries.values.get(encoded))
      }),
    list: (prefix, { after, limit = Number.POSITIVE_INFINITY } = {}) =>
      run("list", async () => {
        const range = rangeOf(prefix, after)
        await step("list")
        return entries.list(range, limit)
      }),
    commit: (writes, { expect = [] } = {}) =>
      run("commit", () => {
        const batch = writes.map(([key, value]) => [encodeKey(key), copyOf(value)] as const)
        const expected = expect.map(([key, value]) => [encodeKey(key), copyOf(value)] as const)
        return inTurn(async () => {
          for (const _ of batch) await step("write")
          await step("commit")
          for (const [key, value] of expected) {
            if (!sameValue(entries.values.get(key), value)) {
              throw new HeadwaterError(
                "STORE_MOVED",
                `${decodeKey(key).join("/")} does not have the expected value: read it again`,
              )
            }
          }
          for (const [key, value] of batch) entries.set(key, value)
          await step("committed")
        })
      }),
    crash(next = options) {
      dead = true
      return over(entries, next)
    },
  }
}

/** A map whose keys are kept sorted. */
class Entries {
  readonly values = new Map<string, Value>()
  readonly #keys: string[] = []

  set(key: string, value: Value | undefined): void {
    if (value === undefined) {
      if (this.values.delete(key)) this.#keys.splice(this.#indexOf(key), 1)
    } else {
      if (!this.values.has(key)) this.#keys.splice(this.#indexOf(key), 0, key)
      this.values.set(key, value)
    }
  }

  list({ gt, gte = "", lt }: Range, limit: number): [Key, Value][] {
    const found: [Key, Value][] = []
    for (let i = this.#indexOf(gt ?? gte); i < this.#keys.length && found.length < limit; i++) {
      const key = this.#keys[i] as string
      if (key >= lt) break
      const value = this.values.get(key)
      if (key !== gt && value !== undefined) found.push([decodeKey(key), copyOf(value) as Value])
    }
    return found
  }

  /** Finds the index of `key`, or the index at which to insert it. */
  #indexOf(key: string): number {
    let from = 0
    let to = this.#keys.length
    while (from < to) {
      const middle = (from + to) >>> 1
      if ((this.#keys[middle] as string) < key) from = middle + 1
      else to = middle
    }
    return from
  }
}
