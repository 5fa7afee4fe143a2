import { type Code, HeadwaterError } from "../base/errors.ts"
import type { Expect, Key, Store, Value, Write } from "./store.ts"

/** A step of a test on a store, as plain data that a property test can generate and shrink. */
export type StoreStep =
  | { readonly commit: readonly Write[]; readonly expect?: readonly Expect[] }
  | { readonly get: Key }
  | { readonly list: Key; readonly after?: Key; readonly limit?: number }
  | { readonly reopen: true }

/**
 * Runs steps against a store and against a plain sorted map. Rejects when the two differ.
 *
 * The caller must have claimed a workspace of the store. `reopen` steps need `life`, and are skipped without it.
 * `life.release` releases the caller's claim, and `life.reopen` makes the next store object. With `life`, this function
 * releases the last claim at the end.
 */
export async function checkStore(
  store: Store,
  steps: readonly StoreStep[],
  life?: { release(): Promise<void>; reopen(): Promise<Store> },
): Promise<void> {
  const model = new Map((await store.list([])).map(([key, value]) => [JSON.stringify(key), value]))
  const holds = ([key, value]: Expect) => same(model.get(JSON.stringify(key)), value)
  let release = life?.release

  for (const step of steps) {
    if ("commit" in step) {
      const { commit, expect = [] } = step
      const done = store.commit(commit, { expect })
      if (!expect.every(holds)) {
        await fails("STORE_MOVED", () => done)
        continue
      }
      await done
      for (const [key, value] of commit) {
        if (value === undefined) model.delete(JSON.stringify(key))
        else model.set(JSON.stringify(key), value)
      }
    } else if ("get" in step) {
      equal(await store.get(step.get), model.get(JSON.stringify(step.get)))
    } else if ("list" in step) {
      equal(await store.list(step.list, step), listed(model, step.list, step))
    } else if (life) {
      await release?.()
      store = await life.reopen()
      release = await store.claim("w")
    }
  }
  equal(await store.list([]), listed(model, []))
  await release?.()
}

function listed(
  model: ReadonlyMap<string, Value>,
  prefix: Key,
  { after, limit }: { readonly after?: Key; readonly limit?: number } = {},
): [Key, Value][] {
  return [...model]
    .map(([key, value]): [Key, Value] => [JSON.parse(key), value])
    .filter(([key]) => key.length > prefix.length && prefix.every((part, i) => part === key[i]))
    .filter(([key]) => !after || compare(key, after) > 0)
    .sort(([a], [b]) => compare(a, b))
    .slice(0, limit)
}

/** Compares arrays of strings as IndexedDB does (Indexed Database API 3.0, "compare two keys"). */
function compare(a: Key, b: Key): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x, y] = [a[i] as string, b[i] as string]
    if (x !== y) return x < y ? -1 : 1
  }
  return a.length - b.length
}

/**
 * Makes random steps. Keys consist of a few different parts, so that steps often meet the same key. The random numbers
 * come from a linear congruential generator, so that a seed gives the same steps everywhere.
 */
export function randomSteps(seed: number, under: Key = []): StoreStep[] {
  let state = seed
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const parts = ["a", "a ", "a!", "aa", "b", "~", " ", "0"]
  const key = (length: number): Key => [...under, ...Array.from({ length }, () => parts[below(parts.length)] as string)]
  const value = (): Value => (below(2) ? `${below(4)}` : Uint8Array.of(48 + below(4)))
  const write = (): Write => [key(1 + below(3)), below(4) ? value() : undefined]
  return Array.from({ length: 60 }, (): StoreStep => {
    const kind = below(20)
    if (kind < 7) return { commit: Array.from({ length: below(6) }, write) }
    if (kind < 10) return { commit: [write()], expect: [[key(1), below(2) ? value() : undefined]] }
    if (kind < 12) return { get: key(1 + below(2)) }
    if (kind < 13) return { reopen: true }
    const list = key(below(3))
    return below(2) ? { list, limit: below(5) } : { list, after: key(1 + below(3)), limit: 1 + below(50) }
  })
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return a.length === b.length && a.every((x, i) => x === b[i])
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => same(x, b[i]))
  return a === b
}

export function equal(actual: unknown, expected: unknown): void {
  if (!same(actual, expected)) throw new Error(`expected ${show(expected)}, not ${show(actual)}`)
}

function show(value: unknown): string {
  const json = JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? `bytes ${part}` : part)) ?? "undefined"
  return json.length > 500 ? `${json.slice(0, 500)}…` : json
}

export const codeOf = (result: PromiseSettledResult<unknown>): Code | "fulfilled" | "another error" =>
  result.status === "fulfilled"
    ? "fulfilled"
    : result.reason instanceof HeadwaterError
      ? result.reason.code
      : "another error"

export async function fails(code: Code, call: () => Promise<unknown>): Promise<void> {
  const [result] = await Promise.allSettled([call()])
  equal(codeOf(result), code)
}
