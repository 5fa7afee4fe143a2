import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { Log, Logs } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import { judge, OP_GAP } from "../../relay/serve/admission-rules.ts"
import { admitEntry, JudgingBudget } from "../../relay/serve/admit-entry.ts"
import { type ServeSizes, usualServeSizes } from "../../relay/serve/serve-sizes.ts"
import { run } from "../../relay/serve/work.ts"
import { type Change, deriveChange, isDerived, readChange } from "../../src/wire/chunk.ts"
import { textContainer } from "../../src/wire/named-changes.ts"
import { type Entry, limits } from "../../src/wire/protocol.ts"
import { actorOf, change, type Draft, genesis } from "../support/changes.ts"

const folder = mkdtempSync(path.join(tmpdir(), "headwater-admission-"))
let logs: Logs
let log: Log
let workspaces = 0
beforeAll(async () => {
  logs = await openLogs({ folder, disk: nodeDisk, clock: nodeClock, report() {} })
})
beforeEach(async () => {
  log = await logs.open(`w${workspaces++}`)
})
afterAll(async () => {
  await logs.close()
  rmSync(folder, { recursive: true })
})

const first = genesis("e")
const A = actorOf(1)
const B = actorOf(2)
const C = actorOf(3)

const after = (previous: Change, more: Partial<Draft> = {}): Change =>
  change({ actor: A, seq: previous.seq + 1, startOp: previous.maxOp + 1, deps: [previous.hash], ...more })
const entry = (...changes: readonly (Change | Uint8Array)[]): Entry => ({
  entity: "e",
  collection: "notes",
  kind: "change",
  chunks: changes.map((one) => (one instanceof Uint8Array ? one : one.chunk)),
})

type Options = { principal?: string; adopt?: boolean } & Partial<ServeSizes>

/** Judges one pushed entry: returns what of it is admitted, and the refusals. */
function admit(pushed: Entry, { principal = "local", adopt = false, ...sizes }: Options = {}) {
  const budget = new JudgingBudget({ ...usualServeSizes, ...sizes }, () => Promise.resolve())
  return run(admitEntry(log, pushed, { principal, adopt }, budget))
}

/** Pushes one entry, appends the changes that are admitted, and returns the codes of those that are refused. */
async function push(pushed: Entry, options: Options = {}): Promise<string[]> {
  const { principal = "local" } = options
  const { chunks, changes, refusals } = await admit(pushed, options)
  expect(chunks.map((chunk) => readChange(chunk).hash)).toEqual(changes.map(({ hash }) => hash))
  if (chunks.length > 0) log.append({ ...pushed, chunks, by: principal }, changes)
  return refusals.map(({ code }) => code)
}

/**
 * Pushes `length` changes of one actor, each in an entry of its own. Each depends on the one before, and the first
 * depends on `from`. Returns the changes.
 */
async function chain(actor: string, from: Change, length: number): Promise<Change[]> {
  const changes: Change[] = []
  for (let last = from; changes.length < length; ) {
    const seq = changes.length + 1
    last = change({ actor, seq, startOp: last.maxOp + 1, deps: [last.hash] })
    expect(await push(entry(last))).toEqual([])
    changes.push(last)
  }
  return changes
}

describe("a change is admitted", () => {
  it("when it creates an entity, and when it follows other changes, all in one entry", async () => {
    const one = after(first, { seq: 1 })
    expect(await push(entry(first, one, after(one), after(after(one))))).toEqual([])
    expect((await log.entity("e"))?.heads).toEqual([after(after(one)).hash])
  })

  it("beside a concurrent one", async () => {
    const [one, two] = [after(first, { seq: 1 }), after(first, { seq: 1, actor: B })]
    expect(await push(entry(first, one, two))).toEqual([])
    expect((await log.entity("e"))?.heads.toSorted()).toEqual([one.hash, two.hash].toSorted())
  })

  it("once, however often it is pushed, alone and within other entries", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one))
    const again = await admit(entry(first, one, one, after(one), after(one)))
    expect(again).toMatchObject({ refusals: [], known: 1, changes: [{ hash: after(one).hash }] })
  })
})

describe("a change is refused", () => {
  it.each([
    ["CHUNK_BAD", "whose checksum is wrong", flip(first.chunk, 5)],
    ["CHUNK_BAD", "that is no change", new Uint8Array(40)],
    ["TOO_LARGE", "beyond the size of a chunk", new Uint8Array(limits.chunk + 1)],
  ])("%s: one %s, by the hash that its pusher knows it by", async (code, _what, chunk) => {
    const { refusals } = await admit(entry(chunk))
    const hash = Buffer.from(await crypto.subtle.digest("SHA-256", chunk.slice(8))).toString("hex")
    expect(refusals).toEqual([{ entity: "e", hash, code }])
  })

  it("DEPS_UNKNOWN: one that depends on a change that nobody pushed, and those that depend on it", async () => {
    const missing = after(first, { seq: 1 })
    const codes = await push(entry(first, after(missing), after(after(missing))))
    expect(codes).toEqual(["DEPS_UNKNOWN", "DEPS_UNKNOWN"])
    expect((await log.entity("e"))?.heads).toEqual([first.hash])
  })

  it("DEPS_UNKNOWN: one that depends on a refused change of its push, while the others are admitted", async () => {
    const bad = change({ actor: A, startOp: OP_GAP * 2, deps: [first.hash] })
    const fine = after(first, { seq: 1, actor: B })
    expect(await push(entry(first, bad, after(bad), fine))).toEqual(["START_OP", "DEPS_UNKNOWN"])
    expect((await log.entity("e"))?.heads).toEqual([fine.hash])
  })

  it("DEPS_UNKNOWN: one that depends on a change of another entity", async () => {
    const other = genesis("f")
    await push({ ...entry(other), entity: "f" })
    expect(await push(entry(first, change({ actor: A, startOp: 2, deps: [other.hash] })))).toEqual(["DEPS_UNKNOWN"])
  })

  it("SEQ_TAKEN: another change with a seq that its actor has used", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one))
    expect(await push(entry(after(first, { seq: 1, value: "other" })))).toEqual(["SEQ_TAKEN"])
    expect(await push(entry(after(one), after(one, { value: "other" })))).toEqual(["SEQ_TAKEN"])
  })

  it("SEQ_GAP: one that leaves out a seq of its actor", async () => {
    const one = after(first, { seq: 1 })
    expect(await push(entry(first, one, after(one, { seq: 3 })))).toEqual(["SEQ_GAP"])
    expect(await push(entry(after(first, { seq: 2, actor: B })))).toEqual(["SEQ_GAP"])
  })

  it("CHUNK_BAD: one that does not follow its own author's last change", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one, after(first, { seq: 1, actor: B })))
    expect(await push(entry(change({ actor: A, seq: 2, startOp: 9, deps: [first.hash] })))).toEqual(["CHUNK_BAD"])
  })

  it.each([1, OP_GAP + 2])("START_OP: one with startOp %i in an entity of one operation", async (startOp) => {
    expect(await push(entry(first, change({ actor: A, startOp, deps: [first.hash] })))).toEqual(["START_OP"])
  })

  it("not for the largest startOp that a fork may have", async () => {
    expect(await push(entry(first, change({ actor: A, startOp: OP_GAP + 1, deps: [first.hash] })))).toEqual([])
  })

  it("COLLECTION_MISMATCH: one for an entity of another collection, and a second genesis", async () => {
    await push(entry(first))
    expect(await push({ ...entry(after(first, { seq: 1 })), collection: "tasks" })).toEqual(["COLLECTION_MISMATCH"])
    expect(await push(entry(genesis("e", "tasks")))).toEqual(["COLLECTION_MISMATCH"])
    expect(await push(entry(change({ actor: A })))).toEqual(["COLLECTION_MISMATCH"])
    expect(await push(entry(first))).toEqual([])
  })

  it("CHUNK_BAD: an entity made by anything but its genesis", async () => {
    expect(await push(entry(change({ actor: A })))).toEqual(["CHUNK_BAD"])
    expect(await push(entry(genesis("f")))).toEqual(["CHUNK_BAD"])
    expect(await log.entity("e")).toBeUndefined()
  })

  it("CHUNK_BAD: a derived change without deps that is not the genesis, byte for byte", async () => {
    const squat = readChange(deriveChange("e", change({ actor: "00".repeat(16), value: "notes" }).chunk))
    expect(isDerived("e", squat)).toBe(true)
    expect(await push(entry(squat))).toEqual(["CHUNK_BAD"])
    expect(await push(entry(genesis("e", "tasks")))).toEqual(["CHUNK_BAD"])
    expect(await push(entry(first))).toEqual([])
  })

  it("CHUNK_BAD: a derived change in place of a text's container that is none", async () => {
    const draft = { actor: "00".repeat(16), startOp: 2, deps: [first.hash] }
    const other = readChange(deriveChange("e", change(draft).chunk))
    const container = textContainer("e", first, "body")
    expect([isDerived("e", other), isDerived("e", container)]).toEqual([true, true])
    expect(await push(entry(first, other))).toEqual(["CHUNK_BAD"])
    expect(await push(entry(container))).toEqual([])
  })

  it("ACTOR_BOUND: one of another principal's session actor, unless it is pushed as adopt", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one), { principal: "ann" })
    expect(await push(entry(after(one)), { principal: "bob" })).toEqual(["ACTOR_BOUND"])
    expect(await push(entry(after(one)), { principal: "bob", adopt: true })).toEqual([])
    expect(await push(entry(after(after(one))), { principal: "ann" })).toEqual([])
  })

  it("not because somebody else adopted its actor: adopting binds no actor", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one), { principal: "bob", adopt: true })
    expect(await push(entry(after(one)), { principal: "ann" })).toEqual([])
    expect(await push(entry(after(after(one))), { principal: "bob" })).toEqual(["ACTOR_BOUND"])
  })

  it("not when its actor is derived: two principals may push the same derived change", async () => {
    await push(entry(first), { principal: "ann" })
    expect(await log.binding(first.actor)).toBeUndefined()
    expect(await push(entry(first), { principal: "bob" })).toEqual([])
  })

  it("FORBIDDEN: snapshots, tombstones, and entries of a kind that this version does not know", async () => {
    for (const kind of ["snapshot", "move"]) expect(await push({ ...entry(first), kind })).toEqual(["FORBIDDEN"])
    const { refusals } = await admit({ ...entry(), kind: "tombstone" })
    expect(refusals).toEqual([{ entity: "e", hash: "0".repeat(64), code: "FORBIDDEN" }])
  })

  it("TOO_LARGE: those of an entry that no frame could carry to a replica", async () => {
    const chunks = Array.from({ length: 5 }, () => new Uint8Array(limits.chunk - 1000))
    expect(await push(entry(...chunks))).toEqual(Array(5).fill("TOO_LARGE"))
  })

  it("QUOTA: one that would give its entity more heads than allowed", async () => {
    const forks = Array.from({ length: limits.heads }, (_, n) => after(first, { seq: 1, actor: actorOf(n + 10) }))
    expect(await push(entry(first))).toEqual([])
    expect(await push(entry(...forks))).toEqual([])
    expect(await push(entry(after(first, { seq: 1 })))).toEqual(["QUOTA"])
    expect(await push(entry(after(forks[0]!, { actor: actorOf(10) })))).toEqual([])
  })
})

describe("an entry with `if`, which names the heads that it expects", () => {
  const derived = genesis("e")

  it("is admitted at these heads, and known when it is pushed again", async () => {
    expect(await push({ ...entry(derived), if: [] })).toEqual([])
    expect(await push({ ...entry(derived), if: [] })).toEqual([])
  })

  it("HEADS_MOVED: is refused at other heads", async () => {
    expect(await push({ ...entry(derived), if: ["ab".repeat(32)] })).toEqual(["HEADS_MOVED"])
  })

  it("FORBIDDEN: is refused for a session actor", async () => {
    await push(entry(first))
    expect(await push({ ...entry(after(first, { seq: 1 })), if: [first.hash] })).toEqual(["FORBIDDEN"])
  })
})

describe("the walk to the author's last change", () => {
  it("finds that change behind 50 changes of another actor", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one))
    const others = await chain(B, one, 50)
    // This change adds a head. The next change of A does not depend on all heads then, so its check needs a walk.
    await push(entry(after(first, { seq: 1, actor: C })))
    const deps = [others.at(-1)!.hash]
    expect(await push(entry(change({ actor: A, seq: 2, startOp: others.at(-1)!.maxOp + 1, deps })))).toEqual([])
  })

  it("does not go below that change", async () => {
    await push(entry(first))
    const others = await chain(B, first, 50)
    const one = change({ actor: A, startOp: 1000, deps: [others.at(-1)!.hash] })
    await push(entry(one))
    const lookups: string[] = []
    const known = log.known.bind(log)
    log.known = (entity, hash) => {
      lookups.push(hash)
      return known(entity, hash)
    }
    const astray = change({ actor: A, seq: 2, startOp: 2000, deps: [others.at(-1)!.hash] })
    expect(await push(entry(astray))).toEqual(["CHUNK_BAD"])
    expect(lookups.length).toBeLessThan(5)
  })

  it("gives up after 1,000 look-ups and lets the change through: replicas look again", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one))
    const others = await chain(B, first, 1100) // all have a higher startOp than `one`, and none depends on it
    const lost = change({ actor: A, seq: 2, startOp: 3000, deps: [others[1050]!.hash] })
    expect(await push(entry(lost))).toEqual([])
    expect(await push(entry(change({ actor: C, startOp: 3000, deps: [others[1050]!.hash] })))).toEqual([])
  })

  it("gives up once all walks of the push have used up its look-ups", async () => {
    const one = after(first, { seq: 1 })
    await push(entry(first, one))
    const others = await chain(B, first, 30)
    const astray = change({ actor: A, seq: 2, startOp: 3000, deps: [others[20]!.hash] })
    // A walk looks up 22 changes: the 21 of B that `astray` depends on, and the genesis, where it ends.
    const codes = async (sizes: Options) => (await admit(entry(astray), sizes)).refusals.map(({ code }) => code)
    for (const size of ["walkLookUps", "pushLookUps"] as const) {
      expect(await codes({ [size]: 22 }), size).toEqual(["CHUNK_BAD"])
      expect(await codes({ [size]: 21 }), size).toEqual([])
    }
    // All walks of a push share `pushLookUps`. After the first walk of 22 look-ups, 21 of the 43 are left, which is one
    // too few for the second walk.
    const second = change({ actor: A, seq: 2, startOp: 3001, deps: [others[20]!.hash] })
    const budget = new JudgingBudget({ ...usualServeSizes, pushLookUps: 43 }, () => Promise.resolve())
    const judged = await run(admitEntry(log, entry(astray, second), { principal: "local", adopt: false }, budget))
    expect(judged.refusals).toMatchObject([{ hash: astray.hash, code: "CHUNK_BAD" }])
  })
})

it("answers a replay as it did the first time, even when the entity is purged", () => {
  const offer = {
    hash: first.hash,
    change: first,
    forged: false,
    collection: "notes",
    derived: true,
    adopt: false,
    principal: "local",
  }
  const purged = { collection: "notes", heads: [], purged: 7 }
  const facts = { known: undefined, state: purged, deps: [], tail: undefined, follows: true, bound: undefined }
  expect(judge(offer, facts)).toBe("ENTITY_PURGED")
  expect(judge({ ...offer, change: "CHUNK_BAD" }, facts)).toBe("ENTITY_PURGED")
  expect(judge(offer, { ...facts, known: 3 })).toBe("KNOWN")
})

function flip(chunk: Uint8Array, at: number): Uint8Array {
  const copy = chunk.slice()
  copy[at]! ^= 1
  return copy
}
