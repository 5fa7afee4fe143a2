/**
 * The tests that every implementation of the relay's log (`contract.ts`) must pass. A runner gives each case an empty
 * folder in which to open logs. A case that fails throws (node:assert).
 */
import assert from "node:assert/strict"
import { type Cursor, cursorOf, type Entry, encodeEntry, position } from "../../src/wire/protocol.ts"
import type { Log, Logs, Page } from "./contract.ts"
import { actorOf, pages, type Sample, type SampleOptions, sample } from "./samples.ts"

export interface LogConformanceCase {
  readonly name: string
  /** `open` opens the same logs each time. A case must close what it has opened before it calls `open` again. */
  run(open: () => Promise<Logs>): Promise<void>
}

/** Appends samples, each depending on the one before it, and waits until they are flushed. */
async function fill(log: Log, count: number, options: SampleOptions = {}): Promise<Sample[]> {
  const samples: Sample[] = []
  for (let seq = 1; seq <= count; seq++) {
    const deps = samples.at(-1)?.changes.map(({ hash }) => hash) ?? []
    samples.push(sample(`${options.entity ?? "note"} ${seq}`, { ...options, seq, deps }))
  }
  const positions = samples.map(({ entry, changes }) => log.append(entry, changes))
  if (positions.length > 0) await log.flushed(positions.at(-1)!)
  return samples
}

const entriesOf = (read: readonly Page[]): Entry[] => read.flatMap(({ entries }) => entries.map(({ entry }) => entry))
const sameCursor = (a: Cursor, b: Cursor) => assert.deepEqual([...a], [...b])

async function within(open: () => Promise<Logs>, work: (log: Log, logs: Logs) => Promise<void>): Promise<void> {
  const logs = await open()
  try {
    await work(await logs.open("workspace"), logs)
  } finally {
    await logs.close()
  }
}

// The cases -----------------------------------------------------------------------------------------------------------

const empty: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    assert.equal(position(log.end), 0)
    assert.equal(log.appended, 0)
    assert.equal(log.bytesAfter(0), 0)
    assert.equal(await log.holds(log.end), true)
    sameCursor(await log.flushed(0), log.end)
    const page = await log.since(0, 1000)
    assert.equal(page.entries.length, 0)
    sameCursor(page.cursor, log.end)
    assert.equal(await log.entity("note"), undefined)
    assert.equal(await log.known("note", "0".repeat(64)), undefined)
    assert.equal(await log.tail("note", actorOf("alice")), undefined)
    assert.equal(await log.binding(actorOf("alice")), undefined)
  })

const visible: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    const { entry, changes } = sample("a", { binds: true, seq: 3, deps: ["11".repeat(32), "22".repeat(32)] })
    const [change] = changes
    const at = log.append(entry, changes)
    assert.equal(log.appended, at)
    assert.equal(position(log.end), 0)
    const { actor, seq, startOp, maxOp, deps } = change!
    assert.deepEqual(await log.known("note", change!.hash), { actor, seq, startOp, maxOp, deps, position: at })
    assert.deepEqual(await log.tail("note", actor), { hash: change!.hash, seq, maxOp })
    assert.deepEqual(await log.entity("note"), { collection: "notes", heads: [change!.hash] })
    assert.equal(await log.binding(actor), "alice")
    assert.equal(await log.known("other", change!.hash), undefined)
    assert.equal(await log.tail("other", actor), undefined)
    assert.equal(position(await log.flushed(at)), at)
  })

const served: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    const samples = await fill(log, 3)
    const page = await log.since(0, 100_000)
    assert.deepEqual(
      page.entries.map(({ entry }) => entry),
      samples.map(({ entry }) => entry),
    )
    for (const [i, { bytes, key, position: at }] of page.entries.entries()) {
      assert.equal(key, log.key(samples[i]!.entry.entity))
      assert.notEqual(key, log.key("another"))
      assert.deepEqual(Buffer.from(bytes), Buffer.from(encodeEntry(samples[i]!.entry)))
      assert.equal(position(await log.flushed(at)), at)
    }
    sameCursor(page.cursor, log.end)
    assert.equal(page.entries.at(-1)!.position, position(log.end))
    const { entry, changes } = sample("given bytes", { entity: "given" })
    await log.flushed(log.append(entry, changes, encodeEntry(entry)))
    assert.deepEqual((await log.since(position(page.cursor), 1)).entries[0]!.entry, entry)
  })

const onlyFlushed: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    for (let i = 0; i < 50; i++) {
      const { entry, changes } = sample(`e${i}`, { entity: `e${i}` })
      const at = log.append(entry, changes)
      const end = position(log.end)
      assert.ok(end < at, "the end comes before every entry that is not flushed")
      const reading = log.since(end, 1000)
      if (i % 3 === 0) await log.flushed(at)
      const page = await reading
      assert.ok(position(page.cursor) <= position(log.end))
    }
  })

const paged: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    const samples: Sample[] = []
    for (let i = 0; i < 200; i++) {
      const one = sample(`e${i}`, { entity: `e${i}`, size: 20 + ((i * 37) % 400) })
      samples.push(one)
      log.append(one.entry, one.changes)
    }
    await log.flushed(log.appended)
    for (const bytes of [0, 1, 500, 5_000, 1_000_000]) {
      const read = await pages(log, 0, bytes)
      assert.deepEqual(
        entriesOf(read),
        samples.map(({ entry }) => entry),
      )
      const sizes = read.map(({ entries }) => entries.map((entry) => entry.bytes.length))
      for (const [i, page] of sizes.entries()) {
        const sum = page.reduce((a, b) => a + b, 0)
        assert.ok(page.length === 1 || sum <= bytes, "a page has no more bytes than were asked for")
        assert.ok(i === sizes.length - 1 || sum + sizes[i + 1]![0]! > bytes, "a page has as many entries as fit")
      }
      for (const { cursor } of read) assert.equal(await log.holds(cursor), true)
    }
    let left = Infinity
    for (const { cursor } of await pages(log, 0, 5_000)) {
      assert.ok(log.bytesAfter(position(cursor)) < left)
      left = log.bytesAfter(position(cursor))
    }
    assert.equal(left, 0)
  })

const cursors: LogConformanceCase["run"] = async (open) => {
  const held: Cursor[] = []
  await within(open, async (log, logs) => {
    await fill(log, 20)
    const other = await logs.open("another")
    await fill(other, 20)
    for (const { cursor } of await pages(log, 0, 1)) {
      held.push(cursor)
      assert.equal(await log.holds(cursor), true)
      assert.equal(await other.holds(cursor), false)
      for (const byte of [6, 8, 15]) {
        const wrong = cursor.slice()
        wrong[byte]! ^= 1
        assert.equal(await log.holds(wrong), false)
      }
    }
    assert.equal(await log.holds(cursorOf(21, held.at(-1)!.subarray(8))), false)
    const { entry, changes } = sample("unflushed", { entity: "u" })
    assert.equal(position(await log.flushed(log.append(entry, changes))), log.appended)
  })
  await within(open, async (log) => {
    for (const cursor of held) assert.equal(await log.holds(cursor), true)
    sameCursor(await log.flushed(20), held.at(-1)!)
  })
}

const reopened: LogConformanceCase["run"] = async (open) => {
  let samples: Sample[] = []
  let end: Cursor
  await within(open, async (log) => {
    samples = await fill(log, 30, { binds: true })
    end = log.end
  })
  for (let times = 0; times < 2; times++) {
    await within(open, async (log) => {
      sameCursor(log.end, end)
      assert.equal(log.appended, position(end))
      const last = samples.at(-1)!.changes[0]!
      assert.deepEqual(await log.entity("note"), { collection: "notes", heads: [last.hash] })
      assert.deepEqual(await log.tail("note", last.actor), { hash: last.hash, seq: last.seq, maxOp: last.maxOp })
      assert.equal(await log.binding(last.actor), "alice")
      for (const [i, { changes }] of samples.entries()) {
        const { hash, binds: _, ...change } = changes[0]!
        assert.deepEqual(await log.known("note", hash), { ...change, position: i + 1 })
      }
      assert.deepEqual(
        entriesOf(await pages(log, 0, 1000)),
        samples.map(({ entry }) => entry),
      )
    })
  }
}

const states: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    const add = (name: string, options: SampleOptions) => {
      const { entry, changes } = sample(name, options)
      log.append(entry, changes)
      return changes[0]!.hash
    }
    const heads = async () => [...(await log.entity("note"))!.heads].sort()
    const root = add("root", {})
    const left = add("left", { actor: "bob", by: "bob", binds: true, deps: [root] })
    const right = add("right", { actor: "carol", by: "carol", deps: [root] })
    assert.deepEqual(await heads(), [left, right].sort())
    const merge = add("merge", { actor: "bob", seq: 2, deps: [left, right].sort() })
    assert.deepEqual(await heads(), [merge])
    assert.equal((await log.tail("note", actorOf("bob")))!.hash, merge)
    assert.equal((await log.tail("note", actorOf("carol")))!.hash, right)
    assert.equal(await log.binding(actorOf("bob")), "bob")
    assert.equal(await log.binding(actorOf("carol")), undefined)

    const several = [sample("x", { entity: "both" }), sample("y", { entity: "both", seq: 2 })]
    const changes = several.flatMap(({ changes }) => changes)
    const chunks = several.flatMap(({ entry }) => entry.chunks)
    const at = log.append({ ...several[0]!.entry, chunks }, [changes[0]!, { ...changes[1]!, deps: [changes[0]!.hash] }])
    assert.deepEqual((await log.entity("both"))!.heads, [changes[1]!.hash])
    assert.equal((await log.known("both", changes[0]!.hash))!.position, at)

    const tombstone: Entry = { entity: "note", collection: "notes", kind: "tombstone", chunks: [], by: "root" }
    const purged = log.append(tombstone, [])
    assert.equal((await log.entity("note"))!.purged, purged)
    await log.flushed(purged)
  })

const told: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    let flushes = 0
    let seen = 0
    const off = log.onFlush(() => {
      flushes++
      seen = position(log.end)
    })
    await fill(log, 5)
    assert.ok(flushes >= 1)
    assert.equal(seen, 5)
    off()
    const before = flushes
    await fill(log, 1, { entity: "later" })
    assert.equal(flushes, before)
  })

const several: LogConformanceCase["run"] = (open) =>
  within(open, async (log, logs) => {
    assert.equal(await logs.open("workspace"), log)
    const other = await logs.open("Workspace")
    await Promise.all([fill(log, 3), fill(other, 2)])
    assert.equal(position(log.end), 3)
    assert.equal(position(other.end), 2)
    await log.close()
    await log.close()
    const again = await logs.open("workspace")
    assert.equal((await again.since(0, 10_000)).entries.length, 3)
  })

const duplicates: LogConformanceCase["run"] = (open) =>
  within(open, async (log) => {
    const { entry, changes } = sample("a")
    const at = log.append(entry, changes)
    const known = (await log.known("note", changes[0]!.hash))!
    assert.equal(known.position, at)
    sameCursor(await log.flushed(known.position), log.end)
  })

const shut: LogConformanceCase["run"] = async (open) => {
  const logs = await open()
  const log = await logs.open("workspace")
  const { entry, changes } = sample("a")
  const at = log.append(entry, changes)
  const flushed = log.flushed(at)
  flushed.catch(() => {})
  await logs.close()
  assert.equal(position(await flushed), at)
  assert.throws(() => log.append(entry, changes), { code: "CLOSED" })
  await assert.rejects(log.since(0, 1), { code: "CLOSED" })
  await assert.rejects(logs.open("workspace"), { code: "CLOSED" })
  await within(open, async (reopened) => assert.equal(position(reopened.end), at))
}

/** Compares a long random history with a plain model of it: changes of many entities, with forks and merges. */
const modelled: LogConformanceCase["run"] = async (open) => {
  const model = new Model()
  for (let round = 0; round < 4; round++) {
    await within(open, async (log) => {
      for (let i = 0; i < 150; i++) {
        model.append(log)
        if (i % 10 === 0) await log.flushed(log.appended)
        if (i % 25 === 0) await model.check(log, 5)
      }
      await log.flushed(log.appended)
      await model.check(log, Infinity)
    })
  }
}

/** Holds the right answers to all look-ups in plain maps and lists. */
class Model {
  readonly #samples: { sample: Sample; position: number }[] = []
  readonly #heads = new Map<string, string[]>()
  readonly #seqs = new Map<string, number>()
  #random = 1

  append(log: Log): void {
    const n = this.#samples.length
    const entity = `e${this.#below(40)}`
    const actor = `actor ${this.#below(12)}`
    const heads = this.#heads.get(entity) ?? []
    const deps = heads.filter(() => this.#below(3) > 0).sort()
    const seq = (this.#seqs.get(`${entity} ${actor}`) ?? 0) + 1
    const one = sample(`change ${n}`, {
      entity,
      actor,
      by: actor,
      deps,
      seq,
      binds: this.#below(2) === 0,
      size: 10 + this.#below(300),
    })
    this.#samples.push({ sample: one, position: log.append(one.entry, one.changes) })
    this.#seqs.set(`${entity} ${actor}`, seq)
    this.#heads.set(entity, [...heads.filter((head) => !deps.includes(head)), one.changes[0]!.hash])
  }

  /** Checks the newest `count` samples and everything they touch. */
  async check(log: Log, count: number): Promise<void> {
    for (const { sample, position } of this.#samples.slice(-Math.min(count, this.#samples.length))) {
      const { hash, binds: _, ...change } = sample.changes[0]!
      const { entity } = sample.entry
      assert.deepEqual(await log.known(entity, hash), { ...change, position })
      assert.equal(await log.known(`${entity}x`, hash), undefined)
      assert.deepEqual([...(await log.entity(entity))!.heads].sort(), [...this.#heads.get(entity)!].sort())
      const of = (other: { sample: Sample }) => other.sample.changes[0]!.actor === change.actor
      const tail = this.#samples.findLast((other) => of(other) && other.sample.entry.entity === entity)!.sample
        .changes[0]!
      const found = (await log.tail(entity, change.actor))!
      assert.deepEqual(found, { hash: tail.hash, seq: tail.seq, maxOp: tail.maxOp })
      const bound = this.#samples.find((other) => of(other) && other.sample.changes[0]!.binds)
      assert.equal(await log.binding(change.actor), bound?.sample.entry.by)
    }
    if (count < Infinity) return
    const read = await pages(log, 0, 2000)
    assert.deepEqual(
      read.flatMap(({ entries }) => entries.map(({ entry, position }) => [entry, position])),
      this.#samples.map(({ sample, position }) => [sample.entry, position]),
    )
    for (const { cursor } of read) assert.equal(await log.holds(cursor), true)
  }

  #below(n: number): number {
    this.#random = (this.#random * 48271) % 2147483647
    return this.#random % n
  }
}

export const logConformance: readonly LogConformanceCase[] = [
  { name: "an empty log has an end cursor and nothing else", run: empty },
  { name: "look-ups see an entry at once, before it is flushed", run: visible },
  { name: "flushed entries are served with their bytes and the cursor after the last one", run: served },
  { name: "entries that are not flushed are never served", run: onlyFlushed },
  { name: "a page has as many entries as fit, and at least one", run: paged },
  { name: "a log holds the cursors that it gave, and no others, even after it was opened again", run: cursors },
  { name: "a log has the same content after it was opened again", run: reopened },
  { name: "heads, tails, bindings and tombstones follow the entries", run: states },
  { name: "listeners are called after flushes until they unsubscribe", run: told },
  { name: "every workspace has a log of its own", run: several },
  { name: "the position of a known change tells which flush to wait for", run: duplicates },
  { name: "closing flushes the log, and every later call fails with CLOSED", run: shut },
  { name: "look-ups answer rightly for a long random history, also after each reopening", run: modelled },
]
