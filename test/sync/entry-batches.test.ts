import { expect, test } from "vitest"
import { type Batch, EntryBatches } from "../../src/sync/entry-batches.ts"
import type { Entries } from "../../src/wire/protocol.ts"

/** A clock that stands still until a test sets it or lets its timers fire. */
function stoppedClock() {
  let now = 1000
  const timers: { readonly ms: number; readonly fire: () => void }[] = []
  return {
    timers,
    pass: (ms: number) => void (now += ms),
    clock: {
      now: () => now,
      random: (length: number) => new Uint8Array(length),
      after(ms: number, fire: () => void) {
        const timer = { ms, fire }
        timers.push(timer)
        return () => void timers.splice(timers.indexOf(timer), 1)
      },
    },
  }
}

/** A message with an entry of somebody else. */
const entries = (entity: string): Entries => ({
  t: "entries",
  w: "w",
  items: [{ entry: { entity, collection: "notes", kind: "change", chunks: [Uint8Array.of(1)] } }],
})
const named = ({ messages }: Batch) =>
  messages.flatMap(({ items }) => items.flatMap((item) => ("entry" in item ? [item.entry.entity] : [])))

function received() {
  const { clock, timers, pass } = stoppedClock()
  const batches: string[][] = []
  const box = new EntryBatches(clock, (batch) => void batches.push(named(batch)))
  return { box, timers, batches, pass }
}

test("what comes while a batch is committed makes the next batch, without a pause if the commit took no time", () => {
  const { box, timers, batches } = received()
  for (const entity of ["a", "b", "c"]) box.add(entries(entity), 100)
  expect(batches).toEqual([["a"]])
  box.committed(0)
  box.handOnWhenDue()
  expect(batches).toEqual([["a"], ["b", "c"]])
  expect(timers).toEqual([])
})

test("entries are collected for as long as the commit took; a wait for the disk counts for 25 ms at most", () => {
  for (const { tookMs, applyingMs, pause } of [
    { tookMs: 4, applyingMs: 0, pause: 4 },
    { tookMs: 300, applyingMs: 2, pause: 25 },
    { tookMs: 300, applyingMs: 80, pause: 80 },
    { tookMs: 5000, applyingMs: 4000, pause: 500 },
  ]) {
    const { box, timers, batches, pass } = received()
    box.add(entries("a"), 100)
    pass(tookMs)
    box.committed(applyingMs)
    box.handOnWhenDue()
    for (const entity of ["b", "c"]) box.add(entries(entity), 100)
    expect(batches).toEqual([["a"]])
    expect(timers.map(({ ms }) => ms)).toEqual([pause])
    timers[0]?.fire()
    expect(batches).toEqual([["a"], ["b", "c"]])
  }
})
