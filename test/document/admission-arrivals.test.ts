import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import type { Code } from "../../src/base/errors.ts"
import { Admission, admitted } from "../../src/document/admission.ts"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { ancestors, causalOrder, headsOf } from "../../src/document/history/graph.ts"
import { History } from "../../src/document/history/history.ts"
import { fault } from "../../src/document/operation-faults.ts"
import type { Change } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { actorOf, ID, runs } from "../support/histories.ts"
import { forged, hashes, honestHistory, mutant, placeOf, put, random, wildHistory } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

interface Verdict {
  readonly sound: Set<Hash>
  readonly bad: Map<Hash, Code>
  readonly waiting: Set<Hash>
}

const isGenesis = (change: Change): boolean => {
  if (change.deps.length > 0) return false
  try {
    const [op] = Automerge.decodeChange(change.chunk).ops
    return Entity.create(ID, String(op?.value), actorOf(0)).genesis.hash === change.hash
  } catch {
    return false // Automerge cannot decode this chunk
  }
}

/**
 * The model: judges changes by the rules as they are written. Each rule looks at the whole set of a change's ancestors.
 */
function told(trusted: readonly Change[], arrived: readonly Change[]): Verdict {
  const sound = new Map(trusted.map((change) => [change.hash, change]))
  const bad = new Map<Hash, Code>()
  for (const change of causalOrder([...trusted, ...arrived])) {
    if (sound.has(change.hash) || !change.deps.every((dep) => sound.has(dep))) continue
    const hashesBelow = ancestors(sound.values(), change.deps)
    const below = [...sound.values()].filter(({ hash }) => hashesBelow.has(hash))
    const code = codeOf(change, below, [...sound.values()])
    if (code === undefined) sound.set(change.hash, change)
    else bad.set(change.hash, code)
  }
  const waiting = hashes(arrived.filter(({ hash }) => !sound.has(hash) && !bad.has(hash)))
  return { sound: new Set(sound.keys()), bad, waiting }
}

function codeOf(change: Change, below: readonly Change[], sound: readonly Change[]): Code | undefined {
  if (change.seq !== below.filter(({ actor }) => actor === change.actor).length + 1) return "SEQ_GAP"
  const maxOp = Math.max(0, ...below.map((one) => one.maxOp))
  if (change.startOp <= maxOp || change.startOp > maxOp + 2 ** 20) return "START_OP"
  const exists = (counter: number, author: string) =>
    below.some(({ actor, startOp, maxOp }) => actor === author && startOp <= counter && counter <= maxOp)
  const root = change.deps.length === 0
  const code = root ? undefined : fault(change, exists)
  if (code !== undefined) return code
  if (root && !isGenesis(change)) return "CHUNK_BAD"
  if (sound.some((one) => placeOf(one) === placeOf(change))) return "SEQ_TAKEN"
  return isGenesis(change) && sound.some(isGenesis) ? "COLLECTION_MISMATCH" : undefined
}

/** Returns a wild history. For every fourth seed, returns an honest history with mutants of its changes instead. */
function material(seed: number): Change[] {
  if (seed % 4 > 0) return wildHistory(seed, 50)
  const all = new Map(honestHistory(seed).map((change) => [change.hash, change]))
  for (let n = 0; n < 16; n++) {
    const made = mutant([...all.values()], seed + n)
    if (made !== undefined) all.set(made.hash, made)
  }
  return [...all.values()]
}

function shuffled(changes: readonly Change[], next: (n: number) => number): Change[] {
  const left = [...changes]
  return changes.map(() => left.splice(next(left.length), 1)[0] as Change)
}

/**
 * Whether no two changes have the same actor and seq, and there is only one genesis. Otherwise the verdicts depend on
 * the order of arrival: the change that comes first is sound.
 */
function undisputed(changes: readonly Change[]): boolean {
  return new Set(changes.map(placeOf)).size === changes.length && changes.filter(isGenesis).length < 2
}

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 })

test("arriving changes get the verdicts that judging all changes again would give, in any order and batches", () => {
  const seen = new Map<string, number>()
  const count = (what: string, n = 1) => void seen.set(what, (seen.get(what) ?? 0) + n)
  const property = fc.property(seeds, (seed) => {
    const next = random(seed)
    const packing = random(seed + 1)
    let all = material(seed)
    const places = new Set<string>()
    if (next(2) === 0) all = all.filter((change) => !places.has(placeOf(change)) && places.add(placeOf(change)))

    const { sound } = told([], all)
    const order = causalOrder(all).filter(({ hash }) => sound.has(hash))
    const trusted = order.slice(0, next(order.length + 1))
    const history = History.of(trusted)
    const admission = new Admission(ID, history)
    const arrivals = shuffled(
      all.filter(({ hash }) => !history.changes.has(hash)),
      next,
    )
    const bad = new Map<Hash, Code>()
    let waiting: readonly Change[] = []
    const pace = 1 + next(arrivals.length + 1)
    for (let at = 0; at < arrivals.length; ) {
      const batch = [...waiting, ...arrivals.slice(at, (at += 1 + next(pace)))]
      const held = [...history.order]
      const verdicts = admission.judge(shuffled(batch, next))
      const expected = told(held, batch)
      expect(new Set(history.changes.keys())).toEqual(expected.sound)
      expect(hashes(verdicts.order)).toEqual(hashes(batch.filter(({ hash }) => expected.sound.has(hash))))
      expect(causalOrder(verdicts.order, new Map(held.map((change) => [change.hash, change])))).toEqual(verdicts.order)
      expect(verdicts.bad).toEqual(expected.bad)
      expect(hashes(verdicts.waiting)).toEqual(expected.waiting)
      for (const [hash, code] of verdicts.bad) bad.set(hash, code)
      count("freed", verdicts.order.filter((change) => waiting.includes(change)).length)
      waiting = verdicts.waiting
      if (packing(2) === 0) history.pack(packing(8))
      if (next(4) === 0 && history.order.length > 0) {
        const own = written(history)
        history.add(own)
        trusted.push(own)
      }
    }

    for (const code of bad.values()) count(code)
    count("waiting", waiting.length)
    if (!undisputed(arrivals)) return count("disputed")
    count("undisputed")
    const whole = admitted(ID, [...shuffled(all, next), ...trusted], hashes(arrivals))
    expect(hashes(history.order)).toEqual(hashes(whole.order))
    expect(bad).toEqual(whole.bad)
    expect(hashes(waiting)).toEqual(hashes(whole.waiting))
  })
  fc.assert(property, { numRuns: runs(100, 5000) })
  const codes: Code[] = ["SEQ_GAP", "SEQ_TAKEN", "START_OP", "OP_REFERENCE", "CHUNK_BAD", "COLLECTION_MISMATCH"]
  for (const what of ["freed", "waiting", "disputed", "undisputed", ...codes]) {
    expect(seen.get(what), what).toBeGreaterThan(0)
  }
})

/** Makes a change of this device that depends on all heads. */
function written({ order: held }: History): Change {
  const actor = "0".repeat(32)
  const seq = held.filter((change) => change.actor === actor).length + 1
  const startOp = Math.max(...held.map(({ maxOp }) => maxOp)) + 1
  return forged({ actor, seq, startOp, deps: headsOf(held), ops: [put()] })
}

/** Makes a genesis and then changes of one actor, each depending on the one before: `length` changes in all. */
function chain(length: number): Change[] {
  const changes = [Entity.create(ID, "notes", actorOf(0)).genesis]
  while (changes.length < length) {
    changes.push(after(changes.at(-1) as Change, actorOf(1), changes.length, changes.length))
  }
  return changes
}

/**
 * Makes a change that sets a key. Its hash is `number` in hexadecimal, because nothing here compares the hash with the
 * chunk.
 */
function after(dep: Change, actor: string, seq: number, number: number): Change {
  const hash = number.toString(16).padStart(64, "0")
  const { chunk } = forged({ ops: [put()] })
  return { ...dep, chunk, hash, actor, seq, deps: [dep.hash], startOp: dep.maxOp + 1, maxOp: dep.maxOp + 1 }
}

test("the cost of judging a change at the head does not grow with the length of the history", () => {
  /** Returns the ms that 500 arrivals on a history of this length take. */
  const arrivals = (length: number): number => {
    const changes = chain(length)
    const history = History.of(changes)
    const admission = new Admission(ID, history)
    let head = changes.at(-1) as Change
    const started = performance.now()
    for (let n = 0; n < 500; n++) {
      const own = after(head, actorOf(1), length + n, 100_000 + n)
      history.add(own)
      head = after(own, actorOf(2), n + 1, 200_000 + n)
      if (admission.judge([head]).order[0] !== head) throw new Error("not admitted")
    }
    return performance.now() - started
  }
  const ratios = [1, 2, 3].map(() => arrivals(20_000) / arrivals(200))
  expect(Math.min(...ratios)).toBeLessThan(10)
})

test("judging many changes that depend on old changes costs little more than judging the history itself", () => {
  const changes = chain(20_000)
  const late = changes.slice(0, 10_000).map((change, n) => after(change, n.toString(16).padStart(32), 1, 100_000 + n))
  const ratios = [1, 2, 3].map(() => {
    const started = performance.now()
    const admission = new Admission(ID, new History())
    expect(admission.judge(changes).order).toHaveLength(20_000)
    const taken = performance.now()
    expect(admission.judge(late).order).toHaveLength(10_000)
    return (performance.now() - taken) / (taken - started)
  })
  expect(Math.min(...ratios)).toBeLessThan(10)
})
