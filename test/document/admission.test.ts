import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import type { Code } from "../../src/base/errors.ts"
import { admitted } from "../../src/document/admission.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { ancestors, causalOrder, headsOf } from "../../src/document/history/graph.ts"
import { History } from "../../src/document/history/history.ts"
import { verdicts } from "../../src/document/verdicts.ts"
import { type Change, deriveChange, readChange } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { actorOf, ID, runs } from "../support/histories.ts"
import { forged, hashes, honestHistory, mutant, placeOf, put, scalar } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 })

test("no honest change is ever refused", () => {
  const property = fc.property(seeds, (seed) => {
    const changes = honestHistory(seed)
    const { order, bad, waiting } = verdicts(ID, changes, hashes(changes))
    expect({ bad: [...bad], waiting, held: order.length }).toEqual({ bad: [], waiting: [], held: changes.length })
  })
  fc.assert(property, { numRuns: runs(30, 1000) })
})

test("a hostile mutant with a valid hash gets the same verdict in any context, and the sound changes load", () => {
  const seen = { sound: 0, refused: 0 }
  const property = fc.property(seeds, (seed) => {
    const all = honestHistory(seed)
    const known = hashes(all)
    const mutants = new Map<Hash, Change>()
    for (let n = 0; n < 16; n++) {
      const made = mutant(all, seed + n)
      if (made !== undefined && !known.has(made.hash) && made.deps.every((dep) => known.has(dep)))
        mutants.set(made.hash, made)
    }
    // Here no two changes have the same actor and seq. Another test is about changes that do.
    const claimed = new Set(all.map(placeOf))
    const alone = [...mutants.values()].filter(
      (change) => !claimed.has(placeOf(change)) && claimed.add(placeOf(change)),
    )

    const verdict = new Map<Hash, Code | undefined>()
    for (const one of alone) {
      const below = ancestors([...all, one], [one.hash])
      const judged = verdicts(ID, [...all.filter(({ hash }) => below.has(hash)), one], new Set([one.hash]))
      verdict.set(one.hash, judged.bad.get(one.hash))
      for (const set of [known, new Set<Hash>()]) {
        const inContext = verdicts(ID, [...all, one], new Set([...set, one.hash]))
        expect([...inContext.bad]).toEqual([...judged.bad])
        expect(inContext.order).toHaveLength(all.length + 1 - judged.bad.size)
      }
    }
    const together = verdicts(ID, [...alone.reverse(), ...all.slice().reverse()], hashes([...all, ...alone]))
    for (const { hash } of alone) expect(together.bad.get(hash)).toBe(verdict.get(hash))
    expect(together.bad.size).toBe([...verdict.values()].filter((code) => code !== undefined).length)

    const entity = Entity.hydrate(ID, History.of(together.order), actorOf(5))
    const live = Entity.hydrate(ID, History.of(causalOrder(all)), actorOf(6))
    live.apply(together.order)
    expect(live.whole(undefined)).toEqual(entity.whole(undefined))
    const doc = Automerge.applyChanges(
      Automerge.init(),
      together.order.map(({ chunk }) => chunk),
    )[0]
    const loaded = Automerge.load(Automerge.save(doc))
    expect(Automerge.getHeads(loaded).sort()).toEqual([...entity.heads])
    for (const code of verdict.values()) code === undefined ? seen.sound++ : seen.refused++
    for (const one of [entity, live]) one.free()
    for (const one of [doc, loaded]) Automerge.free(one)
  })
  fc.assert(property, { numRuns: runs(40, 3000) })
  expect(seen.sound).toBeGreaterThan(runs(40, 3000))
  expect(seen.refused).toBeGreaterThan(runs(40, 3000))
})

/** Makes a genesis and two changes of one actor after it: the first writes a text, the second a register. */
function small() {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  let doc = Automerge.applyChanges(Automerge.init<any>({ actor: actorOf(1) }), [genesis.chunk])[0]
  const changes = [genesis]
  for (const write of [(d: any) => void (d.t = "text"), (d: any) => void (d.k = scalar("v"))]) {
    doc = Automerge.change(doc, { time: 1 }, write)
    changes.push(readChange(Automerge.getLastLocalChange(doc) as Uint8Array))
  }
  const [, texted, last] = changes as [Change, Change, Change]
  const text = `${texted.startOp}@${texted.actor}`
  return { genesis, changes, texted, last, text, after: { deps: [last.hash], startOp: last.maxOp + 1 } }
}

test("each kind of invalid change has its code", () => {
  const { genesis, changes, texted, last, text, after } = small()
  const nowhere = `999@${actorOf(1)}`
  const twice = [put(), put({ value: 2, pred: [`${last.maxOp + 1}@${"f".repeat(32)}`] })]
  const element = text.replace(/^\d+/, String(texted.startOp + 1))
  const map = { action: "makeMap", obj: "_root", key: "m", pred: [] }
  const inMap = { obj: `${last.maxOp + 1}@${"f".repeat(32)}`, key: "@type" }
  const cases: [string, Code | undefined, Record<string, unknown>][] = [
    ["an honest one", undefined, { ...after, ops: [put()] }],
    ["startOp within its deps", "START_OP", { ...after, startOp: last.maxOp, ops: [put()] }],
    ["startOp far ahead", "START_OP", { ...after, startOp: last.maxOp + 2 ** 20 + 1, ops: [put()] }],
    ["startOp as far ahead as may be", undefined, { ...after, startOp: last.maxOp + 2 ** 20, ops: [put()] }],
    ["a seq without the ones before", "SEQ_GAP", { ...after, seq: 2, ops: [put()] }],
    [
      "the next seq beside the last one",
      "SEQ_GAP",
      { actor: actorOf(1), seq: 3, deps: [texted.hash], startOp: 50, ops: [put()] },
    ],
    ["a seq that is taken", "SEQ_TAKEN", { actor: actorOf(1), seq: 2, deps: [texted.hash], startOp: 50, ops: [put()] }],
    ["an object that is not there", "OP_REFERENCE", { ...after, ops: [put({ obj: nowhere })] }],
    ["an object of an unknown actor", "OP_REFERENCE", { ...after, ops: [put({ obj: `3@${"c".repeat(32)}` })] }],
    ["a replaced operation that is not there", "OP_REFERENCE", { ...after, ops: [put({ pred: [nowhere] })] }],
    [
      "a replaced operation of a concurrent change",
      "OP_REFERENCE",
      { deps: [texted.hash], startOp: 50, ops: [put({ key: "k", pred: [`${last.startOp}@${last.actor}`] })] },
    ],
    [
      "an element that is not there",
      "OP_REFERENCE",
      { ...after, ops: [{ action: "set", obj: text, elemId: nowhere, insert: true, value: "x", pred: [] }] },
    ],
    [
      "an operation that replaces a later one",
      "OP_REFERENCE",
      { ...after, ops: [put({ pred: [`${last.maxOp + 2}@${"f".repeat(32)}`] }), put()] },
    ],
    [
      "an operation that replaces itself",
      "OP_REFERENCE",
      { ...after, ops: [put({ pred: [`${last.maxOp + 1}@${"f".repeat(32)}`] })] },
    ],
    ["an operation that replaces one of its own change", undefined, { ...after, ops: twice }],
    ["an insertion into a map", "CHUNK_BAD", { ...after, ops: [put({ insert: true })] }],
    ["a deletion of nothing", "CHUNK_BAD", { ...after, ops: [{ action: "del", obj: "_root", key: "t", pred: [] }] }],
    [
      "an increment of nothing",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "inc", obj: "_root", key: "t", value: 1, pred: [] }] },
    ],
    [
      "a list operation on the root",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "set", obj: "_root", elemId: "_head", insert: true, value: "x", pred: [] }] },
    ],
    [
      "the end of a mark alone",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "markEnd", obj: text, elemId: element, insert: true, expand: true, pred: [] }] },
    ],
    [
      "the beginning of a mark alone",
      "CHUNK_BAD",
      {
        ...after,
        ops: [
          {
            action: "markBegin",
            obj: text,
            elemId: element,
            insert: true,
            expand: true,
            name: "bold",
            value: true,
            pred: [],
          },
        ],
      },
    ],
    ["the key @type in a map of a field", undefined, { ...after, ops: [map, put(inMap)] }],
    [
      "another collection",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "set", obj: "_root", key: "@type", value: "tasks", pred: [] }] },
    ],
    [
      "another collection, among other things and beside the rest",
      "CHUNK_BAD",
      { deps: [genesis.hash], startOp: 50, ops: [put(), put({ key: "@type" })] },
    ],
    [
      "a collection as a text",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "makeText", obj: "_root", key: "@type", pred: [] }] },
    ],
    [
      "a collection that is taken away",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "del", obj: "_root", key: "@type", pred: [`1@${genesis.actor}`] }] },
    ],
    [
      "a collection that is counted up",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "inc", obj: "_root", key: "@type", value: 1, pred: [`1@${genesis.actor}`] }] },
    ],
    ["the key __proto__", "CHUNK_BAD", { ...after, ops: [put({ key: "__proto__" })] }],
    [
      "an increment of what is no counter",
      "CHUNK_BAD",
      { ...after, ops: [{ action: "inc", obj: "_root", key: "q", value: 1, pred: [`${last.startOp}@${last.actor}`] }] },
    ],
    ["a key in a text", "CHUNK_BAD", { ...after, ops: [put({ obj: text })] }],
  ]
  for (const [name, code, fields] of cases) {
    const change = forged(fields)
    const judged = verdicts(ID, [...changes, change], new Set([change.hash]))
    expect([name, judged.bad.get(change.hash)]).toEqual([name, code])
    expect(judged.order).toHaveLength(changes.length + (code === undefined ? 1 : 0))
    expect(judged.waiting).toEqual([])
  }
  expect(genesis.deps).toEqual([])
})

test("of two genesis changes one is refused, and among suspects the same one in any order", () => {
  const a = Entity.create(ID, "notes", actorOf(0)).genesis
  const b = Entity.create(ID, "tasks", actorOf(0)).genesis
  expect([...verdicts(ID, [a, b], new Set([b.hash])).bad]).toEqual([[b.hash, "COLLECTION_MISMATCH"]])
  expect([...verdicts(ID, [a, b], new Set([a.hash])).bad]).toEqual([[a.hash, "COLLECTION_MISMATCH"]])
  for (const order of [
    [a, b],
    [b, a],
  ]) {
    expect(verdicts(ID, order, hashes(order)).order).toEqual(causalOrder([a, b]).slice(0, 1))
  }
})

test("of two changes with the same actor and seq the trusted one stays, and a bad one never displaces another", () => {
  const { changes, texted, last } = small()
  const twin = { actor: last.actor, seq: last.seq, deps: [texted.hash], startOp: last.startOp }
  const honest = forged({ ...twin, ops: [put()] })
  expect([...verdicts(ID, [...changes, honest], new Set([honest.hash])).bad]).toEqual([[honest.hash, "SEQ_TAKEN"]])
  expect([...verdicts(ID, [...changes, honest], new Set([last.hash])).bad]).toEqual([[last.hash, "SEQ_TAKEN"]])
  const both = verdicts(ID, [...changes, honest], hashes([last, honest]))
  expect([...both.bad.values()]).toEqual(["SEQ_TAKEN"])
  expect(verdicts(ID, [honest, ...changes], hashes([last, honest])).bad).toEqual(both.bad)
  const lies = [
    { ...put({ insert: true }) },
    { action: "inc", obj: "_root", key: "q", value: 1, pred: [`1@${changes[0]?.actor}`] },
  ]
  for (const lie of lies) {
    for (const value of [1, 2, 3, 4, 5, 6]) {
      const bad = forged({ ...twin, ops: [{ ...lie, value }] })
      const { order, bad: refused } = verdicts(ID, [bad, ...changes], hashes([bad, last]))
      expect(order).toEqual(changes)
      expect([...refused.keys()]).toEqual([bad.hash])
    }
  }
})

test("a change that depends on a bad or a missing change waits", () => {
  const { changes, after } = small()
  const bad = forged({ ...after, ops: [put({ insert: true })] })
  const onBad = forged({ actor: "d".repeat(32), deps: [bad.hash], startOp: bad.maxOp + 1, ops: [put()] })
  const orphan = forged({ actor: "e".repeat(32), deps: ["ab".repeat(32)], startOp: 9, ops: [put()] })
  for (const judge of [admitted, verdicts]) {
    const { order, bad: refused, waiting } = judge(ID, [onBad, orphan, bad, ...changes], hashes([bad, onBad, orphan]))
    expect(order).toEqual(changes)
    expect([...refused]).toEqual([[bad.hash, "CHUNK_BAD"]])
    expect(hashes(waiting)).toEqual(hashes([onBad, orphan]))
  }
})

test("admission by reading misses a fault that only Automerge finds, and applying that change throws", () => {
  const { changes, last, after } = small()
  const bad = forged({
    ...after,
    ops: [{ action: "inc", obj: "_root", key: "q", value: 1, pred: [`${last.startOp}@${last.actor}`] }],
  })
  expect(admitted(ID, [...changes, bad], new Set([bad.hash])).bad.size).toBe(0)
  expect(() => Entity.hydrate(ID, History.of(changes), actorOf(2)).apply([bad])).toThrow("DOCUMENT_FAILED")
  expect(() => Entity.hydrate(ID, History.of([...changes, bad]), actorOf(2), new Set([bad.hash]))).toThrow(
    "DOCUMENT_FAILED",
  )
})

test("when changes that were trusted do not load, everything is judged again", () => {
  const { changes, last, after } = small()
  const rotten = forged({
    ...after,
    ops: [{ action: "inc", obj: "_root", key: "q", value: 1, pred: [`${last.startOp}@${last.actor}`] }],
  })
  const { order, bad } = verdicts(ID, [...changes, rotten], hashes(changes))
  expect(order).toEqual(changes)
  expect([...bad]).toEqual([[rotten.hash, "CHUNK_BAD"]])
})

test("causal order puts each change after its deps, whatever its startOp is, and depends only on the set", () => {
  const { changes, last } = small()
  const liar = forged({ deps: [last.hash], startOp: 1, ops: [put()] })
  const late = forged({ actor: "d".repeat(32), deps: [liar.hash], startOp: 1, ops: [put()] })
  const property = fc.property(fc.shuffledSubarray([...changes, liar, late], { minLength: 5 }), (given) => {
    expect(causalOrder(given)).toEqual([...changes, liar, late])
  })
  fc.assert(property, { numRuns: 50 })
  expect(causalOrder([late, ...changes])).toEqual(changes)
  expect(causalOrder([...changes, ...changes])).toEqual(changes)
})

test("heads are the changes that nothing depends on; ancestors include the head itself", () => {
  const { changes, texted, last, genesis } = small()
  const side = forged({ deps: [texted.hash], startOp: 9, ops: [put()] })
  expect(headsOf([...changes, side])).toEqual([last.hash, side.hash].sort())
  expect(headsOf([])).toEqual([])
  expect(ancestors([...changes, side], [side.hash])).toEqual(hashes([genesis, texted, side]))
  expect(ancestors(changes, [side.hash])).toEqual(new Set())
})

test("causal order of 20,000 changes is found quickly even if every startOp is wrong", () => {
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const chain: Change[] = [genesis]
  for (let i = 1; i < 20_000; i++) {
    const hash = i.toString(16).padStart(64, "0")
    chain.push({
      ...genesis,
      hash,
      deps: [(chain[i - 1] as Change).hash],
      actor: actorOf(1),
      seq: i,
      startOp: 50_000 - i,
      maxOp: 50_000 - i,
      ops: 1,
    })
  }
  const honest = chain.map((change, i) => ({ ...change, startOp: i + 1, maxOp: i + 1 }))
  const time = (changes: readonly Change[]): number => {
    const backwards = changes.toReversed()
    const started = performance.now()
    expect(causalOrder(backwards)).toHaveLength(20_000)
    return performance.now() - started
  }
  const ratios = [1, 2, 3].map(() => time(chain) / time(honest))
  expect(Math.min(...ratios)).toBeLessThan(12)
})

test("an entity begins with its genesis, byte for byte, and with nothing else", () => {
  const { genesis, changes } = small()
  const derived = (fields: Record<string, unknown>): Change =>
    readChange(deriveChange(ID, forged({ actor: "0".repeat(32), ...fields }).chunk))
  const type = { action: "set", obj: "_root", key: "@type", value: "notes", pred: [] }
  expect(derived({ ops: [type] }).hash).toBe(genesis.hash)
  const roots: [string, Change][] = [
    ["another entity's genesis", Entity.create("other", "notes", actorOf(0)).genesis],
    ["an actor of its own", forged({ ops: [type] })],
    ["nothing at all", derived({ ops: [] })],
    ["no @type", derived({ ops: [put()] })],
    ["more than @type", derived({ ops: [type, put()] })],
    ["@type twice", derived({ ops: [type, { ...type, pred: [] }] })],
    ["a time", derived({ ops: [type], time: 5 })],
    ["a message", derived({ ops: [type], message: "m" })],
    ["a later start", derived({ ops: [type], startOp: 2 })],
    ["a number", derived({ ops: [put({ key: "@type" })] })],
    ["a text object", derived({ ops: [{ action: "makeText", obj: "_root", key: "@type", pred: [] }] })],
    ["a list", derived({ ops: [{ action: "makeList", obj: "_root", key: "@type", pred: [] }] })],
    ["a map", derived({ ops: [{ action: "makeMap", obj: "_root", key: "@type", pred: [] }] })],
    ...["", "Büro", "a b", "a\n", "a".repeat(65), "a".repeat(300), "\u0001", "a/b"].map((name): [string, Change] => [
      `the name ${name}`,
      genesisOf(ID, name),
    ]),
  ]
  for (const [name, root] of roots) {
    const alone = verdicts(ID, [root], new Set([root.hash]))
    expect([name, alone.bad.get(root.hash), alone.order]).toEqual([name, "CHUNK_BAD", []])
    const beside = verdicts(ID, [...changes, root], new Set([root.hash]))
    expect([name, beside.bad.get(root.hash), beside.order.length]).toEqual([name, "CHUNK_BAD", changes.length])
  }
})
