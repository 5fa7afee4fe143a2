/** The cost of a note thousands of whose changes wait for a missing change. */
import { expect, test, vi } from "vitest"
import type { Authorship } from "../../src/replica/authorship.ts"
import { emptyState, type StaleRecord } from "../../src/replica/disk/records.ts"
import { markWaiting, oweFreed } from "../../src/replica/live-documents.ts"
import { type Below, Transaction } from "../../src/replica/transaction.ts"
import type { Change } from "../../src/wire/chunk.ts"

const COUNT = 2000
const hashes = Array.from({ length: COUNT }, (_, i) => String(i).padStart(64, "0"))
const changes = hashes.map((hash) => ({ hash }) as Change)
const mark: StaleRecord = { suspects: hashes, waiting: true, unnamed: hashes }

function transaction(): Transaction {
  const outbox = { get: () => undefined }
  const rows = { collectionOf: () => undefined }
  const below: Below = {
    state: emptyState(),
    stale: new Map([["e", mark]]),
    bad: new Map(),
    rejected: new Map(),
    outbox,
    rows,
  }
  return new Transaction("w", below)
}

/** Runs `work`. Returns the sum of the lengths of the arrays that it searched with `includes`. */
function searched(work: () => void): number {
  let elements = 0
  const includes = Array.prototype.includes
  const spy = vi.spyOn(Array.prototype, "includes").mockImplementation(function (this: unknown[], ...args) {
    elements += this.length
    return includes.apply(this, args)
  })
  work()
  spy.mockRestore()
  return elements
}

test("a mark with thousands of waiting changes is made without searching through them for each of them", () => {
  const tx = transaction()
  const waiting = changes.map((change) => ({ change, collection: "notes" }))
  expect(searched(() => markWaiting(tx, "e", waiting))).toBeLessThan(10 * COUNT)
  expect(tx.staleOf("e")).toEqual(mark)
})

test("thousands of changes that waited are owed without searching through them for each of them", () => {
  const owed: string[] = []
  const giveBack = (_entity: string, { hash }: Change) => void owed.push(hash)
  const authorship = { giveBack } as unknown as Authorship
  expect(searched(() => oweFreed(authorship, "e", changes, hashes, transaction()))).toBeLessThan(10 * COUNT)
  expect(owed).toEqual(hashes)
})
