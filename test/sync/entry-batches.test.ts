import { expect, test } from "vitest"
import { type Batch, EntryBatches } from "../../src/sync/entry-batches.ts"
import type { Entries } from "../../src/wire/protocol.ts"

/** A clock that only `pass` moves. A test fires its timers itself. */
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

/** A message with an entry of another device. */
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
  const acks: number[] = []
  const box = new EntryBatches(clock, (batch) => {
    if (batch.messages.length > 0) batches.push(named(batch))
    acks.push(batch.acks.length)
  })
  return { box, timers, batches, acks, pass }
}
/** Resolves at the end of this turn of the event loop, when the messages of the turn are handed on. */
const endOfTurn = () => Promise.resolve()
const ack = { stored: [], at: undefined }

test("what comes in one turn makes one batch, and what comes during its commit the next one", async () => {
  const { box, timers, batches, acks } = received()
  for (const entity of ["a", "b"]) box.add(entries(entity), 100)
  box.addAck(ack)
  expect(batches).toEqual([])
  await endOfTurn()
  expect([batches, acks]).toEqual([[["a", "b"]], [1]])
  for (const entity of ["c", "d"]) {
    box.add(entries(entity), 100)
    box.addAck(ack)
    await endOfTurn()
  }
  expect([batches, acks]).toEqual([[["a", "b"]], [1]])
  box.committed(0)
  box.handOnWhenDue()
  await endOfTurn()
  expect([batches, acks]).toEqual([
    [
      ["a", "b"],
      ["c", "d"],
    ],
    [1, 2],
  ])
  expect(timers).toEqual([])
})

test("an ack that comes alone is handed on at the end of its turn, and delays no entries", async () => {
  const { box, batches, acks } = received()
  box.addAck(ack)
  await endOfTurn()
  expect(acks).toEqual([1])
  box.add(entries("a"), 100)
  await endOfTurn()
  expect(batches).toEqual([["a"]])
})

test("another message hands on what has come before it, but entries that must wait stay", async () => {
  const { box, batches, acks } = received()
  box.add(entries("a"), 100)
  box.handOnEarlier()
  expect(batches).toEqual([["a"]])
  box.add(entries("b"), 100)
  box.addAck(ack)
  box.handOnEarlier()
  expect([batches, acks]).toEqual([[["a"]], [0, 1]])
})

test.each([
  { tookMs: 4, applyingMs: 0, pause: 4 },
  { tookMs: 300, applyingMs: 2, pause: 25 },
  { tookMs: 300, applyingMs: 80, pause: 80 },
  { tookMs: 5000, applyingMs: 4000, pause: 500 },
])(
  "after a commit of $tookMs ms, of which applying took $applyingMs ms, entries are collected for $pause ms",
  async ({ tookMs, applyingMs, pause }) => {
    const { box, timers, batches, pass } = received()
    box.add(entries("a"), 100)
    await endOfTurn()
    pass(tookMs)
    box.committed(applyingMs)
    for (const entity of ["b", "c"]) box.add(entries(entity), 100)
    await endOfTurn()
    expect(batches).toEqual([["a"]])
    expect(timers.map(({ ms }) => ms)).toEqual([pause])
    timers[0]?.fire()
    await endOfTurn()
    expect(batches).toEqual([["a"], ["b", "c"]])
  },
)

test("a pause whose timer is late makes the next pauses longer", async () => {
  const { box, timers, pass } = received()
  const pauses: number[] = []
  for (const lateMs of [0, 90, 0, 0, 0]) {
    box.add(entries("a"), 100)
    await endOfTurn()
    pass(300)
    box.committed(0)
    const timer = timers.pop()!
    pauses.push(timer.ms)
    pass(timer.ms + lateMs)
    timer.fire()
    await endOfTurn()
  }
  expect(pauses).toEqual([25, 25, 90, 45, 25])
})
