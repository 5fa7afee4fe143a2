import fc from "fast-check"
import { expect, test } from "vitest"
import { type StoredWait, StoredWaits } from "../../src/app/stored-waits.ts"
import { usualSizes } from "../../src/base/replica-sizes.ts"
import { Outbox, type OutboxChanges } from "../../src/replica/disk/outbox.ts"
import type { Owed } from "../../src/replica/disk/records.ts"
import type { Replica } from "../../src/replica/replica.ts"

const RUNS = process.env["HEADWATER_LONG"] === "1" ? 20_000 : 500

/** Makes `StoredWaits`, with the parts of a replica that it reads. */
function world() {
  const rejected = new Map<string, Map<string, object>>()
  const seen = { outbox: new Outbox("w", usualSizes), rejected, state: { principal: null, firstPrincipal: null } }
  const commit = (owed: readonly Owed[], removed: boolean) => {
    const changes: OutboxChanges = new Map(owed.map((one) => [one.hash, { owed: one, removed }]))
    seen.outbox.plan(changes).done()
  }
  return { seen, commit, waits: new StoredWaits(seen as unknown as Replica) }
}

const owedOf = (n: number, principal: string | null): Owed => ({
  ...{ entity: `e${n % 3}`, hash: `h${n}`, startOp: n + 1, bytes: 10, how: "own", principal, fields: [] },
})

function outcome(waits: StoredWaits, wait: StoredWait): string {
  try {
    return waits.isOver(wait) ? "over" : "waiting"
  } catch (error) {
    return (error as { code: string }).code
  }
}

const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("owe" as const), adopt: fc.boolean(), again: fc.nat(30) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("answer" as const), which: fc.nat(), refuse: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("connect" as const), as: fc.constantFrom("ann", "bob") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("readAgain" as const) }) },
)

test("a wait ends exactly when every change of its principal that was owed at its beginning is answered", () => {
  const seenOutcomes = new Set<string>()
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40, size: "max" }), (commands) => {
      const { seen, commit, waits } = world()
      const state = seen.state as { principal: string | null; firstPrincipal: string | null }
      let n = 0
      /** For each wait: the changes to which the relay has not answered yet (`left`), and how the wait has ended. */
      const model: {
        readonly wait: StoredWait
        readonly left: Set<string>
        refused: boolean
        end: string | undefined
      }[] = []
      const owed = () => [...seen.outbox]
      const isOther = (one: Owed) =>
        one.how !== "adopt" && state.principal !== null && (one.principal ?? state.firstPrincipal) !== state.principal
      const isBlocked = (hash: string) =>
        owed().some(
          (one) =>
            one.hash === hash && owed().some((o) => o.entity === one.entity && o.startOp <= one.startOp && isOther(o)),
        )
      for (const next of commands) {
        let recheck: typeof model = []
        if (next.do === "owe") {
          // This may replace an outbox record: a heal makes `adopt` of `own` in some records.
          const old = owed()[next.again]
          const one = old ?? owedOf(n++, state.principal)
          commit([{ ...one, how: next.adopt ? "adopt" : one.how }], false)
        } else if (next.do === "answer") {
          const all = owed()
          const one = all[next.which % Math.max(1, all.length)]
          if (one === undefined) continue
          if (next.refuse) seen.rejected.set(one.entity, new Map(seen.rejected.get(one.entity)).set(one.hash, {}))
          commit([one], true)
          for (const wait of model) {
            if (wait.end === undefined && wait.left.delete(one.hash) && next.refuse) wait.refused = true
          }
        } else if (next.do === "wait") {
          const left = new Set(
            owed()
              .filter((one) => !isOther(one))
              .map(({ hash }) => hash),
          )
          const one = {
            wait: waits.begin(),
            left,
            covered: new Set(left),
            refused: false,
            again: false,
            end: undefined,
          }
          model.push(one)
          recheck = [one]
        } else if (next.do === "leave") {
          const [gone] = model.splice(next.which % Math.max(1, model.length), 1)
          if (gone !== undefined) waits.leave(gone.wait)
        } else if (next.do === "connect") {
          if (state.principal !== next.as) recheck = model
          state.principal = next.as
          state.firstPrincipal ??= next.as
        } else {
          const again = new Outbox("w", usualSizes)
          again.plan(new Map(owed().map((one) => [one.hash, { owed: one, removed: false }]))).done()
          seen.outbox = again
        }
        for (const wait of recheck) {
          if (wait.end === undefined && [...wait.left].some(isBlocked)) wait.end = "PRINCIPAL_CHANGED"
        }
        for (const wait of model) {
          if (wait.end === undefined && wait.left.size === 0) wait.end = wait.refused ? "REJECTED" : "over"
          expect(outcome(waits, wait.wait)).toBe(wait.end ?? "waiting")
          seenOutcomes.add(wait.end ?? "waiting")
        }
      }
    }),
    { numRuns: RUNS },
  )
  expect([...seenOutcomes].sort()).toEqual(["PRINCIPAL_CHANGED", "REJECTED", "over", "waiting"])
})

test("all waits together note each change once, however many waits begin and are given up", () => {
  const { seen, commit, waits } = world()
  commit(
    Array.from({ length: 5000 }, (_, n) => owedOf(n, null)),
    false,
  )
  const all: StoredWait[] = []
  for (let n = 5000; n < 5500; n++) {
    commit([owedOf(n, null)], false)
    all.push(waits.begin())
    if (n % 3 === 0) waits.leave(all.pop() as StoredWait)
  }
  const noted = new Set(all.map(({ owed }) => owed))
  expect([...noted].reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(5500)
  expect(all.map((wait) => waits.isOver(wait))).not.toContain(true)
  commit([...seen.outbox], true)
  expect(all.map((wait) => waits.isOver(wait))).not.toContain(false)
})
