/** Change chunks as Automerge writes them, and damaged ones. */
import * as A from "@automerge/automerge"
import { hex } from "../../src/base/hash.ts"
import { dice } from "../support/dice.ts"
import { bodyOf, seal, uleb } from "../support/forged-chunk.ts"

export type Random = ReturnType<typeof random>

/** A source of random values with a seed, so that a failure can be repeated. */
export function random(seed: number) {
  const next = dice(seed)
  const below = (n: number) => Math.floor(next() * n)
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!
  const bytes = (n: number) => Uint8Array.from({ length: n }, () => below(256))
  const text = (most: number) => Array.from({ length: 1 + below(most) }, () => pick([..."abc de fgé…🙂\n"])).join("")
  const value = (depth: number): unknown => {
    const kind = below(depth > 0 ? 10 : 8)
    if (kind === 0) return below(2) === 0
    if (kind === 1) return below(2 ** 31) * pick([1, -1])
    if (kind === 2) return next() * 1e9
    if (kind === 3) return null
    if (kind === 4) return new Date(below(2 ** 31) * 1_000)
    if (kind === 5) return bytes(below(30))
    if (kind === 6) return new A.ImmutableString(text(30))
    if (kind === 7) return text(10)
    if (kind === 8) return Array.from({ length: below(4) }, () => value(depth - 1))
    return Object.fromEntries(Array.from({ length: below(4) }, (_, i) => [`k${i}`, value(depth - 1)]))
  }
  return { below, pick, bytes, text, value }
}

type Doc = A.Doc<Record<string, unknown>>
type Edit = (rng: Random, doc: Doc) => Doc

/** Yields changes for ever: three replicas edit one document, sometimes merge, and then begin a new document. */
export function* honestChanges(rng: Random, edits: readonly Edit[]): Generator<Uint8Array> {
  for (;;) {
    const docs: Doc[] = Array.from({ length: 3 }, () => A.init({ actor: hex(rng.bytes(16)) }))
    for (let step = 0; step < 60; step++) {
      const i = rng.below(docs.length)
      if (rng.below(4) === 0) docs[i] = A.merge(docs[i]!, docs[(i + 1 + rng.below(2)) % 3]!)
      const before = A.getHeads(docs[i]!)
      docs[i] = edits[rng.below(edits.length)]!(rng, docs[i]!)
      yield* A.getChangesSince(docs[i]!, before)
    }
    for (const doc of docs) A.free(doc)
  }
}

function changed(rng: Random, doc: Doc, f: (draft: Record<string, unknown>) => void): Doc {
  const message = rng.below(5) === 0 ? { message: rng.text(12) } : {}
  return A.change(doc, { time: rng.below(3) * rng.below(2 ** 31), ...message }, f)
}

const textOf = (draft: Record<string, unknown>) => (typeof draft["body"] === "string" ? draft["body"] : undefined)
const keys = ["a", "title", "due", "a rather long name of a field", "ключ"]

export const smallEdits: readonly Edit[] = [
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      const text = textOf(draft)
      if (text === undefined) draft["body"] = rng.text(40)
      else A.splice(draft, ["body"], rng.below(text.length + 1), 0, rng.text(60))
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      const text = textOf(draft)
      if (text !== undefined) A.splice(draft, ["body"], 0, Math.min(text.length, rng.below(8)))
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      const end = textOf(draft)?.length ?? 0
      if (end > 2) A.mark(draft, ["body"], { start: 0, end: 1 + rng.below(end - 1), expand: "both" }, "bold", true)
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      draft[rng.pick(keys)] = rng.value(2)
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      delete draft[rng.pick(keys)]
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      if (draft["count"] instanceof A.Counter) draft["count"].increment(rng.below(100) - 50)
      else draft["count"] = new A.Counter(rng.below(10))
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      if (!Array.isArray(draft["list"])) draft["list"] = [rng.value(1)]
      else if (draft["list"].length > 0 && rng.below(3) === 0)
        A.deleteAt(draft["list"], rng.below(draft["list"].length))
      else A.insertAt(draft["list"], rng.below(draft["list"].length + 1), rng.value(1))
    }),
  (rng, doc) => A.emptyChange(doc, { time: rng.below(2 ** 31), message: rng.text(5) }),
]

export const largeEdits: readonly Edit[] = [
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      draft["body"] = rng.text(20_000)
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      const text = textOf(draft)
      if (text !== undefined) A.splice(draft, ["body"], 0, text.length >> 1, rng.text(10_000))
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      draft["list"] = Array.from({ length: 500 }, () => rng.value(2))
    }),
  (rng, doc) =>
    changed(rng, doc, (draft) => {
      draft["bytes"] = rng.bytes(100_000)
    }),
]

const monsters = [
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  uleb(2 ** 40),
  [0x80, 0],
  [0x80, 0x80, 1],
  [0x7f],
]

/** An honest chunk with bytes changed, removed, inserted or repeated. Nine in ten have a valid checksum. */
export function mutate(rng: Random, honest: readonly Uint8Array[]): Uint8Array {
  const whole = rng.below(10) === 0
  const chunk = rng.pick(honest)
  let bytes = [...(whole ? chunk : bodyOf(chunk))]
  for (let n = 1 + rng.below(3); n > 0; n--) {
    const at = rng.below(bytes.length)
    const kind = rng.below(8)
    if (kind === 0) bytes[at] = bytes[at]! ^ (1 << rng.below(8))
    else if (kind === 1) bytes[at] = rng.below(256)
    else if (kind === 2) bytes.splice(at, 1 + rng.below(4))
    else if (kind === 3) bytes.splice(at, 0, ...rng.bytes(1 + rng.below(4)))
    else if (kind === 4) bytes.splice(at, 1, ...rng.pick(monsters))
    else if (kind === 5) bytes = bytes.slice(0, at)
    else if (kind === 6) bytes.push(...bytes.slice(at))
    else bytes = [...bytes.slice(0, at), ...rng.pick(honest).subarray(at)]
    if (bytes.length === 0) bytes = [0]
  }
  return whole ? Uint8Array.from(bytes) : seal([1, ...uleb(bytes.length), ...bytes])
}
