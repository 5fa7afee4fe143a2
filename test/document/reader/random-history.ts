/** Random histories of one entity, as Headwater and other tools write them with the real Automerge. */
import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { deletedValue } from "../../../src/document/deletion.ts"
import { textContainer } from "../../../src/document/derived-changes.ts"
import { Entity } from "../../../src/document/entity.ts"
import { type Change, readChange } from "../../../src/wire/chunk.ts"
import { actorOf, commands, ID, play } from "../../support/histories.ts"
import { random, scalar } from "../../support/hostile.ts"

type Doc = Automerge.Doc<any>
type Next = (n: number) => number

/** All changes of one entity. `seed` decides everything. */
export function randomHistory(seed: number): Change[] {
  return seed % 3 === 0 ? headwaterHistory(seed) : foreignHistory(seed)
}

/** The changes that Headwater makes on three devices. In some histories, another tool makes changes, too. */
function headwaterHistory(seed: number): Change[] {
  const [script] = fc.sample(commands(3, 20, seed % 2), { seed, numRuns: 1 })
  const replicas = play(3, script ?? [])
  const all = new Map(replicas.flatMap(({ changes }) => [...changes]))
  for (const replica of replicas) replica.free()
  return [...all.values()]
}

/** The changes that a tool without Headwater's rules makes with Automerge, on up to four devices. */
function foreignHistory(seed: number): Change[] {
  const next = random(seed)
  const { genesis } = Entity.create(ID, "notes", actorOf(0))
  const begin = [genesis.chunk]
  for (const key of ["body", "summary"]) if (next(3) > 0) begin.push(textContainer(ID, genesis, key).chunk)
  let docs = Array.from({ length: 1 + next(4) }, (_, n): Doc => {
    const given = begin.slice(0, n === 0 ? begin.length : 1 + next(begin.length))
    return Automerge.applyChanges(Automerge.init<any>({ actor: actorOf(n + 1 + next(2) * 40) }), given)[0]
  })
  docs = docs.filter((doc, n) => docs.findIndex((one) => Automerge.getActorId(one) === Automerge.getActorId(doc)) === n)
  for (let step = 0, steps = 2 + next(14); step < steps; step++) {
    const at = next(docs.length)
    docs[at] = edited(docs[at] as Doc, next, step)
    const from = next(docs.length * 2)
    if (from < docs.length && from !== at) docs[at] = Automerge.merge(docs[at] as Doc, docs[from] as Doc)
  }
  const all = new Map<string, Change>()
  for (const doc of docs) {
    for (const chunk of Automerge.getAllChanges(doc)) {
      const change = readChange(chunk)
      all.set(change.hash, change)
    }
    Automerge.free(doc)
  }
  return [...all.values()]
}

function edited(doc: Doc, next: Next, step: number): Doc {
  const time = next(8) === 0 ? 0 : 1000 + next(5) + step
  const options = { time, ...(next(10) === 0 && { message: "m" }) }
  const write = (draft: any) => {
    for (let left = 1 + next(3); left > 0; left--) one(draft, doc, next, step)
  }
  if (next(12) === 0) {
    const heads = Automerge.getHistory(doc).map(({ change }) => change.hash)
    const at = heads[next(heads.length)] as string
    const actor = (next(2 ** 30) * 1024 + step).toString(16).padStart(32, next(2) === 0 ? "c" : "0")
    const old: Doc = Automerge.clone(Automerge.view(doc, [at]), { actor })
    const both = Automerge.merge(doc, Automerge.change(old, options, write))
    Automerge.free(old)
    return both
  }
  if (next(300) === 0) return Automerge.emptyChange(doc, options)
  return Automerge.change(doc, options, write)
}

/** Makes one write somewhere in the document. */
function one(draft: any, doc: Doc, next: Next, step: number): void {
  const keys = ["body", "body", "summary", "tags", "meta", "title"]
  const rare = ["n", "id", "$x", "key é", "10", "constructor"]
  const key = (next(5) === 0 ? rare[next(6)] : keys[next(6)]) as string
  const there = draft[key]
  const what = next(20)
  // A string in the draft is a text object; a scalar string is an ImmutableString.
  if (what !== 8 && what !== 11 && typeof there === "string") editText(draft, [key], there, next)
  else if (what === 8) delete draft[key]
  else if (what === 9) draft["@deleted"] = scalar(deletedValue(Automerge.getHeads(doc)))
  else if (what === 10) delete draft["@deleted"]
  else if (what === 11) draft[key] = text(next)
  else if (what < 16 && there instanceof Automerge.Counter) there.increment(next(9) - 3)
  else if (what < 18 && isObject(there)) inside(there, doc, next, step)
  else draft[key] = value(next, 3, step)
}

const isObject = (value: unknown): value is any =>
  typeof value === "object" &&
  value !== null &&
  (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype)

/** Makes one write in a map or a list. */
function inside(object: any, doc: Doc, next: Next, step: number): void {
  if (Array.isArray(object)) {
    const at = next(object.length + 1)
    const item = object[at]
    if (item !== undefined && isObject(item) && next(2) === 0) return inside(item, doc, next, step)
    if (item instanceof Automerge.Counter) item.increment(1)
    else if (next(3) === 0 || item === undefined) object.splice(at, 0, value(next, 1, step), value(next, 1, step))
    else if (next(2) === 0) object[at] = value(next, 2, step)
    else Automerge.deleteAt(object, at, 1 + next(Math.min(2, object.length - at)))
    return
  }
  const keys = Object.keys(object)
  const key = next(3) === 0 || keys.length === 0 ? `k${next(3)}` : (keys[next(keys.length)] as string)
  if (isObject(object[key]) && next(2) === 0) return inside(object[key], doc, next, step)
  if (object[key] instanceof Automerge.Counter) object[key].increment(2)
  else if (next(4) === 0) delete object[key]
  else object[key] = value(next, 2, step)
}

function editText(draft: any, path: string[], there: string, next: Next): void {
  const characters = [...there]
  const from = next(characters.length + 1)
  const unit = characters.slice(0, from).join("").length
  const remove = next(3) === 0 ? 0 : next(Math.min(6, characters.length - from + 1))
  const removed = characters.slice(from, from + remove).join("").length
  const how = next(40)
  if (how < 6) Automerge.updateText(draft, path, text(next))
  else if (how < 12) {
    // Deletes backwards, as the backspace key does.
    for (let at = from - 1; at >= Math.max(0, from - 3); at--) {
      Automerge.splice(draft, path, characters.slice(0, at).join("").length, (characters[at] as string).length)
    }
  } else if (how === 12 && unit > 0) {
    Automerge.mark(draft, path, { start: 0, end: unit, expand: "both" }, "bold", true)
  } else Automerge.splice(draft, path, unit, removed, text(next))
}

const PARTS = [
  "",
  "a",
  "bc",
  "hello world ",
  "é",
  "e\u0301",
  "😀",
  "👩‍👩‍👧",
  "\u{10ffff}\u{10000}",
  "\ufeff",
  "\u0000",
  "\uffff",
  "日本語",
  "x".repeat(30),
]

const text = (next: Next): string => Array.from({ length: next(4) }, () => PARTS[next(PARTS.length)]).join("")

function value(next: Next, depth: number, step: number): unknown {
  switch (next(depth > 0 ? 18 : 15)) {
    case 0:
      return null
    case 1:
      return next(2) === 0
    case 2:
      return next(300) - 150
    case 3:
      return [0, -1, 2 ** 31, -(2 ** 31), 2 ** 48, -(2 ** 50), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER][
        next(8)
      ]
    case 4:
      return [0.5, -0.0, Number.NaN, 5e-324, new Automerge.Float64(3e9), 1.5][next(6)]
    case 5:
      return new Automerge.Int(next(100))
    case 6:
      return new Automerge.Uint([0, 1, 127, 128, 2 ** 40][next(5)] as number)
    case 7:
      return new Automerge.Float64(next(10))
    case 8:
      return new Date([0, 5, -5, 1_700_000_000_000, 8.64e15][next(5)] as number)
    case 9:
      return Uint8Array.from({ length: next(4) }, () => next(256))
    case 10:
      return new Automerge.Counter(next(20) - 10)
    case 11:
      return text(next)
    case 12:
      return new Automerge.Int(-next(10 ** 6) - step)
    case 13:
    case 14:
      return scalar(text(next))
    case 15:
    case 16:
      return Array.from({ length: next(4) }, () => value(next, depth - 1, step))
    default:
      return Object.fromEntries(
        Array.from({ length: next(4) }, () => [
          ["k0", "k1", "z", "é", "2", "B"][next(6)],
          value(next, depth - 1, step),
        ]),
      )
  }
}
