import { expect } from "vitest"
import type { HeadwaterError } from "../../../src/base/errors.ts"
import type { Expect, Key, Store, Value, Write } from "../../../src/store/store.ts"

type Rows = ReadonlyMap<string, Value>

/** The commits that a store has confirmed during `work`, and so the content that its disk must have. */
export class Journal {
  /** Everything that was confirmed. */
  confirmed: Rows = new Map()
  /** Commits that have neither resolved nor rejected yet, in the order in which they were asked for. */
  unheard: (readonly Write[])[] = []
  failures = 0

  /**
   * Every state that the disk may have: everything that was confirmed, and then none, the first ones or all of the
   * unheard commits.
   */
  possible(): Rows[] {
    const states = [this.confirmed]
    for (const writes of this.unheard) states.push(after(states.at(-1) ?? this.confirmed, writes))
    return states
  }
}

function after(rows: Rows, writes: readonly Write[]): Rows {
  const next = new Map(rows)
  for (const [key, value] of writes) {
    if (value === undefined) next.delete(JSON.stringify(key))
    else next.set(JSON.stringify(key), value)
  }
  return next
}

export const rowsOf = async (store: Store, under: Key = []): Promise<Rows> =>
  new Map((await store.list(under)).map(([key, value]) => [JSON.stringify(key), value]))

/**
 * Uses every method of a store, and opens it twice. A call that fails must fail with STORE_FAILED, must have changed
 * nothing, and must succeed when it is tried again.
 */
export async function work(store: Store, journal: Journal): Promise<void> {
  const release = await retried(journal, () => store.claim("w"))
  await commit([
    [["w", "a"], "1"],
    [["w", "b"], Uint8Array.of(2)],
    [["w", "c"], "3"],
    [["w", "c"], "4"],
  ])
  await commit(
    [
      [["w", "a"], "x".repeat(3000)],
      [["w", "b"], undefined],
      [["w", "d"], "é"],
    ],
    [[["w", "a"], "1"]],
  )
  expect(await retried(journal, () => store.get(["w", "d"]))).toBe("é")
  expect((await retried(journal, () => store.list(["w"], { after: ["w", "a"], limit: 1 }))).length).toBe(1)
  await moved([[["w", "e"], "1"]], [[["w", "b"], "still there"]])
  await together(
    [
      [["w", "f"], "1"],
      [["w", "g"], "1"],
    ],
    [
      [["w", "f"], "2"],
      [["w", "a"], undefined],
    ],
  )
  const releaseOther = await retried(journal, () => store.claim("v"))
  await commit([[["v", "a"], new Uint8Array(5000).fill(7)]])
  await release().catch(failed)
  await commit([[["v", "b"], "1"]])
  await releaseOther().catch(failed)

  const again = await retried(journal, () => store.claim("w"))
  expect(await retried(journal, () => rowsOf(store))).toEqual(journal.confirmed)
  await commit([
    [["w", "h"], "1"],
    [["w", "d"], undefined],
  ])
  await again().catch(failed)

  async function commit(writes: readonly Write[], expected: readonly Expect[] = []): Promise<void> {
    for (;;) {
      const [outcome] = await outcomes([store.commit(writes, { expect: expected })], [writes])
      if (outcome === "there") return
    }
  }

  async function moved(writes: readonly Write[], expected: readonly Expect[]): Promise<void> {
    const call = () => store.commit(writes, { expect: expected }).then(() => "written", codeOf)
    expect(
      await retried(journal, async () => {
        const code = await call()
        if (code === "STORE_FAILED") throw Object.assign(new Error("again"), { code })
        return code
      }),
    ).toBe("STORE_MOVED")
  }

  /** Asks for several commits without waiting, and then repeats those that failed, one by one. */
  async function together(...batches: (readonly Write[])[]): Promise<void> {
    const results = await outcomes(
      batches.map((writes) => store.commit(writes)),
      batches,
    )
    for (const [i, writes] of batches.entries()) if (results[i] !== "there") await commit(writes)
  }

  async function outcomes(calls: readonly Promise<void>[], batches: readonly (readonly Write[])[]) {
    journal.unheard.push(...batches)
    const results: ("there" | "not there")[] = []
    const heard = calls.map((call) => call.then(() => true, failed))
    for (const [i, call] of heard.entries()) {
      const ok = await call
      const writes = batches[i] ?? []
      journal.unheard = journal.unheard.filter((waiting) => waiting !== writes)
      if (ok) journal.confirmed = after(journal.confirmed, writes)
      results.push(ok ? "there" : "not there")
    }
    expect(await retried(journal, () => rowsOf(store))).toEqual(journal.confirmed)
    return results
  }

  function failed(error: unknown): false {
    expect(codeOf(error)).toBe("STORE_FAILED")
    expect((error as Error).cause).toBeInstanceOf(Error)
    journal.failures++
    return false
  }
}

async function retried<T>(journal: Journal, call: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await call()
    } catch (error) {
      if (codeOf(error) !== "STORE_FAILED" || tries === 3) throw error
      journal.failures++
    }
  }
}

export const codeOf = (error: unknown): unknown => (error as HeadwaterError | undefined)?.code
