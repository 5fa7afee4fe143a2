/** Changes that no honest replica writes, and honest histories to which tests add them. */
import * as Automerge from "@automerge/automerge"
import { sha256 } from "@noble/hashes/sha2.js"
import { Entity } from "../../src/document/entity.ts"
import { ancestors } from "../../src/document/history/graph.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { actorOf, ID } from "./histories.ts"

export type Op = Record<string, unknown> & { action: string }
export const scalar = (value: string): Automerge.ImmutableString => new Automerge.ImmutableString(value)
export const hashes = (changes: Iterable<Change>): Set<Hash> => new Set([...changes].map(({ hash }) => hash))

/** A change with arbitrary fields, encoded by Automerge. */
export function forged(fields: Record<string, unknown>): Change {
  const base = { actor: "f".repeat(32), seq: 1, startOp: 1, time: 0, message: null, author: null, deps: [], ops: [] }
  return readChange(Automerge.encodeChange({ ...base, ...fields } as Parameters<typeof Automerge.encodeChange>[0]))
}

/** Random whole numbers below n, from a seed. */
export function random(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) | 0
    return ((state ^ (state >>> 13)) >>> 0) % n
  }
}

/** All changes of three replicas of one document. The document uses every feature of Automerge, as other tools may. */
export function honestHistory(seed: number): Change[] {
  const next = random(seed)
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  type Doc = Automerge.Doc<any>
  const begun = (n: number): Doc => Automerge.applyChanges(Automerge.init({ actor: actorOf(n) }), [genesis.chunk])[0]
  const first: Doc = Automerge.change(begun(1), { time: 1 }, (doc) => {
    doc.body = "some text"
    doc.steps = []
  })
  const docs = [first, Automerge.merge(begun(2), first), Automerge.merge(begun(3), first)] as [Doc, Doc, Doc]
  for (let i = 2; i < 24; i++) {
    const [r, q, what] = [next(3), next(9), next(9)] as [0 | 1 | 2, number, number]
    docs[r] = Automerge.change(docs[r], { time: i }, (doc) => {
      const { length } = doc.body
      if (what === 0) doc[`k${next(3)}`] = scalar(`v${i}`)
      else if (what === 1) Automerge.splice(doc, ["body"], next(length + 1), 0, "ab")
      else if (what === 2) doc.steps.push(scalar(`s${i}`))
      else if (what === 3 && length > 2) Automerge.splice(doc, ["body"], next(length - 1), 1)
      else if (what === 4) doc[`o${next(2)}`] = { a: i, b: [scalar("x"), 1.5] }
      else if (what === 5) delete doc[`k${next(3)}`]
      else if (what === 6 && length > 3) Automerge.mark(doc, ["body"], { start: 0, end: 2 }, "bold", true)
      else if (what === 7 && doc.steps.length > 0) Automerge.deleteAt(doc.steps, next(doc.steps.length))
      else if (doc.c) doc.c.increment(1)
      else doc.c = new Automerge.Counter(1)
    })
    if (q < 3 && q !== r) docs[r] = Automerge.merge(docs[r], docs[q as 0 | 1 | 2])
  }
  const full = Automerge.merge(Automerge.merge(Automerge.clone(docs[0]), docs[1]), docs[2])
  const changes = Automerge.getAllChanges(full).map((chunk) => readChange(chunk))
  for (const doc of [...docs, full]) Automerge.free(doc)
  return changes
}

export const placeOf = ({ actor, seq }: Change): string => `${actor} ${seq}`

/**
 * A copy of one of the changes in `all`, with some bytes replaced and a valid checksum, or with other operations.
 * Undefined when the copy cannot be read.
 */
export function mutant(all: readonly Change[], seed: number): Change | undefined {
  const next = random(seed)
  const source = all[next(all.length)] as Change
  const [how, a, b, c] = [next(2), next(9999), next(9999), next(9999)] as [number, number, number, number]
  try {
    if (how === 0) {
      const chunk = Uint8Array.from(source.chunk)
      for (const n of [a, b]) {
        const at = 10 + (n % (chunk.length - 10))
        chunk[at] = ((chunk[at] ?? 0) + 1 + (c % 3)) & 255
      }
      chunk.set(sha256(chunk.subarray(8)).subarray(0, 4), 4)
      return readChange(chunk)
    }
    const decoded = Automerge.decodeChange(source.chunk)
    const dep = all[a % all.length] as Change
    const ops: Op[] = decoded.ops.map((op) => ({ ...op }) as Op)
    const op = ops[b % ops.length]
    const lies: ((op: Op) => void)[] = [
      () => {},
      (op) => void (op["key"] = "q"),
      (op) => void (op.action = ["set", "del", "inc", "makeMap", "makeText", "makeList"][c % 6] as string),
      (op) => void (op["insert"] = !op["insert"]),
      (op) => void (op["value"] = [1, "x", null, true][c % 4]),
      (op) => void (op["pred"] = []),
    ]
    if (op !== undefined) lies[c % lies.length]?.(op)
    const actor = (a + 7 * b + 31 * c).toString(16).padStart(32, "e")
    return forged({ ...decoded, actor, seq: 1, deps: [dep.hash], startOp: dep.maxOp + 1, ops })
  } catch {
    return undefined
  }
}

export const put = (op: Record<string, unknown> = {}): Op => ({
  action: "set",
  obj: "_root",
  key: "z",
  value: 1,
  datatype: "int",
  pred: [],
  ...op,
})

/**
 * A history of four authors, mostly concurrent. Some changes are wrong: they have a wrong seq or startOp, name
 * operations that their author has not seen, use a seq again or create the entity a second time. Other changes depend
 * on wrong ones.
 */
export function wildHistory(seed: number, length: number): Change[] {
  const next = random(seed)
  const all: Change[] = [Entity.create(ID, "notes", actorOf(0)).genesis]
  const honest = [...all]
  const last = new Map<string, Change>()
  while (all.length < length) {
    if (next(60) === 0) {
      all.push(Entity.create(ID, `tasks${all.length}`, actorOf(0)).genesis)
      continue
    }
    const actor = actorOf(1 + next(4))
    const from = next(8) === 0 ? all : honest
    const seen = Array.from({ length: 1 + next(2) }, () => from[Math.max(0, from.length - 1 - next(12))] as Change)
    const mine = last.get(actor)
    if (mine !== undefined && next(20) > 0) seen.push(mine)
    const below = ancestors(
      all,
      seen.map(({ hash }) => hash),
    )
    const known = all.filter(({ hash }) => below.has(hash))
    const lie = next(40)
    const seq = known.filter((change) => change.actor === actor).length + 1 + (lie === 0 ? 1 : 0)
    const startOp = Math.max(...seen.map(({ maxOp }) => maxOp)) + (lie === 1 ? 0 : 1 + next(3))
    const named = (lie === 2 ? all : known)[next(lie === 2 ? all.length : known.length)] as Change
    const op = put({ key: `k${next(3)}`, value: next(99), pred: [`${named.maxOp}@${named.actor}`], insert: lie === 3 })
    const deps = [...hashes(seen)].sort()
    const change = forged({ actor, seq, startOp, deps, ops: next(2) === 0 ? [op] : [op, put()] })
    all.push(change)
    if (lie < 4 || from === all || (mine !== undefined && !seen.includes(mine))) continue
    honest.push(change)
    last.set(actor, change)
  }
  return all
}
