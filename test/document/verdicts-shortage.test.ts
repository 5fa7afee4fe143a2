/**
 * Automerge fails on every document above some size, as it does when WebAssembly has no memory left. Such a failure
 * must not become a verdict on a change.
 */
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { HeadwaterError } from "../../src/base/errors.ts"
import { type Handle, loadAutomerge, newHandle } from "../../src/document/automerge.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { verdicts } from "../../src/document/verdicts.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { failAt } from "../support/failing-automerge.ts"
import { next } from "../support/foreign.ts"
import { put } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

const ID = "e"
type Size = (changes: readonly Change[]) => number
const sizes: Record<string, Size> = {
  changes: (changes) => changes.length,
  bytes: (changes) => changes.reduce((sum, { chunk }) => sum + chunk.length, 0),
  operations: (changes) => changes.reduce((sum, { ops }) => sum + ops, 0),
}

/** From now on, `applyChanges` throws if it makes a document larger than `most`. Returns a function that ends this. */
function failBeyond(size: Size, most: number): () => void {
  const prototype: Handle = Object.getPrototypeOf(newHandle())
  const real = prototype.applyChanges
  prototype.applyChanges = function (changes) {
    real.call(this, changes)
    if (size(this.getChanges([]).map((chunk) => readChange(chunk))) > most) {
      throw new WebAssembly.RuntimeError("unreachable")
    }
  }
  return () => {
    prototype.applyChanges = real
  }
}

/** Makes a chain of honest changes. Each has more bytes and operations than the change before it. */
function chain(): Change[] {
  const changes = [genesisOf(ID, "notes")]
  for (let i = 1; i <= 7; i++) {
    const ops = Array.from({ length: i }, (_, n) =>
      put({ key: `k${n}`, value: `${i} ${n} `.repeat(20), datatype: undefined }),
    )
    changes.push(next(changes.at(-1)!, i, { seq: i, ops }))
  }
  return changes
}

describe.each(Object.entries(sizes))("a shortage that depends on how many %s a document has", (_, size) => {
  let all: Change[]
  beforeEach(() => {
    all = chain()
  })

  test.each([
    ["all at once", (all: Change[]) => all],
    ["the last one alone", (all: Change[]) => all.slice(-1)],
    ["all but the first", (all: Change[]) => all.slice(1)],
  ])("gives no verdict on a change, with these suspects: %s", (_, of) => {
    const suspects = new Set(of(all).map(({ hash }) => hash))
    for (let held = 1; held < all.length; held++) {
      const restore = failBeyond(size, size(all.slice(0, held)))
      try {
        expect(() => verdicts(ID, all, suspects)).toThrow("DOCUMENT_FAILED")
      } finally {
        restore()
      }
    }
    expect(verdicts(ID, all, suspects).bad.size).toBe(0)
  })
})

test.each([
  ["all at once", 0],
  ["the last one alone", -1],
])("a failure at any one call of Automerge gives no verdict on a change, with these suspects: %s", (_, from) => {
  const all = chain()
  const suspects = new Set(all.slice(from).map(({ hash }) => hash))
  const count = failAt(Number.POSITIVE_INFINITY, false)
  verdicts(ID, all, suspects)
  count.restore()
  expect(count.calls).toBeGreaterThan(5)
  const outcomes: string[] = []
  for (let nth = 1; nth <= count.calls; nth++) {
    const fault = failAt(nth, false)
    try {
      outcomes.push(verdicts(ID, all, suspects).bad.size === 0 ? "none is bad" : `a verdict, at call ${nth}`)
    } catch (error) {
      outcomes.push((error as HeadwaterError).code)
    } finally {
      fault.restore()
    }
  }
  expect(new Set(outcomes)).toEqual(new Set(["none is bad", "DOCUMENT_FAILED"]))
})
