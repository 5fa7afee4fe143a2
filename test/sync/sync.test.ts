import { sha256 } from "@noble/hashes/sha2.js"
import { collection, openWorkspace, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { headsOf } from "headwater/testing"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { keys } from "../../src/replica/records.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { cursorOf, type Entry, type Item, limits, type Push } from "../../src/wire/protocol.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// The client's side of the wire, told what a relay would say, message by message.
const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
type Notes = Workspace<{ notes: typeof notes }>
const w = "w"
const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const

let relay: ScriptedRelay
let store: ReturnType<typeof memoryStore>
let ws: Notes
const reopen = async (from = store) => {
  store = from
  ws = await openWorkspace({ id: w, collections: { notes }, store, relay: { url: "ws://relay" }, env: relay.env })
  await relay.settle()
  return ws
}
beforeEach(async () => {
  relay = new ScriptedRelay()
  await reopen(memoryStore())
})
afterEach(() => ws.close())
const level = (position: number, items: readonly Item[] = []) =>
  relay.say({ t: "entries", w, items, cursor: at(position), level: true, ...first })
const pushed = () => relay.last("push")
const ack = (push: Push, position: number) => relay.say({ t: "ack", w, id: push.id, at: at(position) })
const hashes = (push: Push) => push.entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))
/** What another device would have pushed. */
const elsewhere = async (write: (other: Notes) => Promise<unknown>, time: number = first.time): Promise<Entry[]> => {
  const relayOfOther = new ScriptedRelay()
  const other = await openWorkspace({
    id: w,
    collections: { notes },
    store: memoryStore(),
    relay: { url: "ws://o" },
    env: relayOfOther.env,
  })
  await relayOfOther.settle()
  relayOfOther.say({ t: "entries", w, items: [], cursor: at(0), level: true, ...first, principal: "bob", time })
  await relayOfOther.settle()
  await write(other)
  await relayOfOther.settle()
  const entries = relayOfOther.heard.flatMap((message) => (message.t === "push" ? message.entries : []))
  await other.close()
  return entries.map((entry) => ({ ...entry, by: "bob" }))
}

describe("a connection", () => {
  test("begins with one pull: from the beginning first, from cursor and reach later", async () => {
    expect(relay.heard).toEqual([{ t: "pull", w, cursor: null, credit: limits.credit }])
    level(3)
    await relay.settle()
    expect(ws.status).toMatchObject({ phase: "live", complete: true, principal: "ann", access: "write" })
    const n = await ws.notes.create({ title: "T" })
    await relay.settle()
    ack(pushed(), 9)
    await relay.settle()
    expect(n.$sync).toBe("saved")
    expect(ws.notes.get(n.id)?.$sync).toBe("stored")
    relay.hangUp()
    await relay.pass(1000)
    expect(relay.last("pull")).toEqual({ t: "pull", w, cursor: at(3), reach: at(9), credit: limits.credit })
  })

  // Lets the wait climb to a minute; the last dial is taken, a minute later, without anybody waking anything.
  const climb = async () => {
    relay.up = false
    relay.hangUp()
    await relay.pass(100_000)
    relay.up = true
    await relay.pass(30_000)
    expect(ws.status.connected).toBe(true)
  }
  const nextWait = async () => {
    const hungUp = relay.now
    relay.hangUp()
    const dials = relay.dials.length
    while (relay.dials.length === dials && relay.now - hungUp < 600_000) await relay.pass(500)
    return relay.dials.at(-1)! - hungUp
  }

  test("is dialled again after waits that double from one second to five minutes", async () => {
    relay.up = false
    const since = relay.now
    relay.hangUp()
    await relay.pass(30 * 60_000)
    const dials = [since, ...relay.dials.slice(1)]
    const waits = dials.slice(1).map((dial, i) => (dial - dials[i]!) / 1000)
    expect(waits.slice(0, 12)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300])
  })

  test.each([0.75, 0.25, 0.01])("waits any part of that, as a throw of %f says", async (luck) => {
    relay.luck = luck
    relay.up = false
    const since = relay.now
    relay.hangUp()
    await relay.pass(30 * 60_000)
    const dials = [since, ...relay.dials.slice(1)]
    const most = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((seconds) => seconds * 1000)
    for (const [i, cap] of most.entries()) {
      const part = (dials[i + 1]! - dials[i]!) / cap
      expect(Math.abs(part - luck)).toBeLessThan(0.02)
    }
  })

  test.each([
    ["its first entries", () => level(0), 1000],
    ["nothing", () => {}, 128_000],
    ["no more than a pong", () => relay.say({ t: "pong" }), 128_000],
  ])("that brought %s, after many that failed, is followed by the wait it deserves", async (_, bring, wait) => {
    await climb()
    bring()
    await relay.settle()
    expect(await nextWait()).toBe(wait)
  })

  test("is not called good for entries that cannot be saved, or that this version does not know", async () => {
    const entry = { entity: "x", collection: "notes", kind: "tombstone", chunks: [], by: "bob" } as const
    const begun = relay.now
    for (let pulls = 0; relay.now < begun + 10 * 60_000; await relay.pass(100)) {
      if (relay.count("pull") === pulls) continue
      pulls = relay.count("pull")
      level(1, [{ entry }])
    }
    expect(relay.dials.length).toBeLessThan(15)
    expect(ws.status.error?.code).toBe("PROTOCOL_VERSION")
  })

  test("brings what others write although this device's clock is set back", async () => {
    level(0)
    const [one, two] = [
      await elsewhere((other) => other.notes.create({ title: "one" }, { id: "a" })),
      await elsewhere((other) => other.notes.create({ title: "two" }, { id: "b" })),
    ]
    level(
      1,
      one.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    relay.setClock(-3_600_000)
    level(
      2,
      two.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    expect(replicaOf(ws).rows.collectionOf("b")).toBe("notes")
    const dials = relay.dials.length
    for (let pings = 0; pings < 3; await relay.pass(1000)) {
      if (relay.count("ping") === pings) continue
      pings = relay.count("ping")
      relay.say({ t: "pong" })
    }
    expect(relay.dials.length).toBe(dials)
  })

  test("that is waited for is dialled at once when the network or the page comes back, and soon after that", async () => {
    relay.up = false
    relay.hangUp()
    await relay.pass(100_000)
    const dials = relay.dials.length
    relay.wake()
    await relay.settle()
    expect(relay.dials.slice(dials)).toEqual([relay.now])
    await relay.pass(1000)
    expect(relay.dials.slice(dials)).toEqual([relay.now - 1000, relay.now])
  })

  test("that is half open is noticed and given up", async () => {
    await relay.pass(15_000)
    expect(relay.count("ping")).toBe(1)
    await relay.pass(10_000)
    expect(ws.status).toMatchObject({ connected: false, error: { code: "RELAY_UNREACHABLE" } })
    await relay.pass(2_000)
    expect(relay.dials.length).toBe(2)
  })

  test("that answers its pings stays", async () => {
    for (let i = 0; i < 4; i++) {
      await relay.pass(15_000)
      relay.say({ t: "pong" })
      await relay.pass(10_000)
    }
    expect(relay.dials.length).toBe(1)
  })

  test("that sends nonsense is dropped and dialled again", async () => {
    relay.sayRaw(new Uint8Array([0xff, 0, 1]))
    expect(ws.status).toMatchObject({ connected: false, error: { code: "MESSAGE_BAD" } })
    await relay.pass(1000)
    expect(relay.dials.length).toBe(2)
  })

  test.each([
    [4401, "TOKEN_EXPIRED"],
    [4403, "FORBIDDEN"],
    [4406, "PROTOCOL_VERSION"],
    [4400, "MESSAGE_BAD"],
    [1009, "TOO_LARGE"],
    [1011, "LOG_FAILED"],
    [1001, "RELAY_UNREACHABLE"],
  ])("that the relay closes with %i ends with %s, and is dialled again", async (close, code) => {
    level(0)
    await relay.settle()
    relay.hangUp(close)
    expect(ws.status).toMatchObject({ connected: false, error: { code }, retryAt: expect.any(Number) })
    await relay.pass(1000)
    expect(relay.dials.length).toBe(2)
  })

  test("whose end a notice explains ends with the notice's code, and only then", async () => {
    level(0)
    relay.say({ t: "notice", code: "QUOTA" })
    await relay.settle()
    relay.hangUp()
    expect(ws.status).toMatchObject({ connected: false, error: { code: "QUOTA" } })
    await relay.pass(1000)
    relay.say({ t: "notice", code: "QUOTA" }, { t: "pong" })
    relay.hangUp()
    expect(ws.status.error?.code).toBe("RELAY_UNREACHABLE")
  })

  test("on which the relay does not serve this workspace now asks again, later each time, and soon when told so", async () => {
    const asked = () => relay.heard.filter((message) => message.t === "pull" && "cursor" in message).length
    relay.say({ t: "notice", w, code: "RATE" }, { t: "pong" })
    await relay.settle()
    expect(ws.status.error).toMatchObject({ code: "RATE", retryAt: relay.now + 30_000 })
    const waits: number[] = []
    for (let n = 0; n < 6; n++) {
      const [before, since] = [asked(), relay.now]
      while (asked() === before && relay.now - since < 10 * 60_000) {
        relay.say({ t: "pong" })
        await relay.pass(5000)
      }
      waits.push(Math.round((relay.now - since) / 30_000))
      relay.say({ t: "notice", w, code: "RATE", ...(n === 4 && { retryIn: 2000 }) })
      await relay.settle()
    }
    expect(waits).toEqual([1, 2, 4, 8, 10, 0])
    expect(relay.dials.length).toBe(1)
    await ws.notes.create({ title: "waits" }, { id: "a" })
    level(0)
    await relay.settle()
    expect(ws.status).toMatchObject({ phase: "live", error: null })
    expect(relay.count("push")).toBe(1)
  })

  test("gives credit back for what it has committed", async () => {
    const [entry] = await elsewhere((other) => other.notes.create({ body: "x".repeat(200_000) }))
    for (let i = 1; i <= 8; i++) relay.say({ t: "entries", w, items: [{ entry: entry as Entry }], cursor: at(i) })
    await relay.pass(100)
    expect(relay.last("pull")).toMatchObject({ w, credit: expect.any(Number) })
    expect("cursor" in relay.last("pull")).toBe(false)
  })
})

test("nothing is pushed before the relay has said whose connection this is", async () => {
  await ws.notes.create({ title: "T" })
  await relay.settle()
  expect(relay.count("push")).toBe(0)
  level(0)
  await relay.settle()
  expect(relay.count("push")).toBe(1)
})

test("what another principal left in the outbox waits, and is counted", async () => {
  level(1)
  await ws.notes.create({ title: "ann's" })
  await relay.settle()
  await ws.close()
  await reopen()
  const before = relay.count("push")
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await relay.settle()
  expect(relay.count("push")).toBe(before)
  expect(ws.status).toMatchObject({ pending: 2, principal: "bob", others: [{ principal: "ann", pending: 2 }] })
  await ws.notes.create({ title: "bob's" })
  await relay.settle()
  expect(relay.count("push")).toBe(before + 1)
})

describe("whenSynced", () => {
  const pulls = () => relay.heard.filter((message) => message.t === "pull" && "cursor" in message)
  const outcome = (promise: Promise<void>) => {
    const state = { resolved: false }
    void promise.then(() => (state.resolved = true))
    return state
  }

  test("asks the relay what it has now, however level we were before", async () => {
    level(1)
    await relay.settle()
    const entries = await elsewhere((other) => other.notes.create({ title: "just stored" }, { id: "a" }))
    const synced = outcome(ws.whenSynced())
    const too = outcome(ws.whenSynced())
    await relay.settle()
    expect(pulls()).toHaveLength(2)
    expect(pulls().at(-1)).toMatchObject({ cursor: at(1) })
    expect([synced.resolved, ws.status.phase]).toEqual([false, "live"])
    relay.say({ t: "entries", w, items: [], cursor: at(1), level: true }) // was on its way when the question came
    await relay.settle()
    expect(synced.resolved).toBe(false)
    const [one, ...more] = entries.flatMap((entry) =>
      entry.chunks.map((chunk) => ({ entry: { ...entry, chunks: [chunk] } })),
    )
    relay.say({ t: "entries", w, items: [one!], cursor: at(2), ...first })
    await relay.pass(100)
    expect(synced.resolved).toBe(false)
    relay.say({ t: "entries", w, items: more, cursor: at(3), level: true })
    await relay.pass(100)
    expect([synced.resolved, too.resolved, ws.notes.get("a")?.title]).toEqual([true, true, "just stored"])
  })

  test("takes nothing for an answer that was asked for before, and the first pull of a connection for one", async () => {
    const synced = outcome(ws.whenSynced()) // the pull is out, and the relay has perhaps answered it
    level(1)
    await relay.settle()
    expect([synced.resolved, pulls().length]).toEqual([false, 2])
    relay.hangUp()
    await relay.pass(1000)
    expect(pulls()).toHaveLength(3)
    level(1)
    await relay.settle()
    expect([synced.resolved, pulls().length]).toEqual([true, 3])
  })

  test("waits for the end of a heal", async () => {
    level(1)
    await relay.settle()
    const synced = outcome(ws.whenSynced())
    await relay.settle()
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    relay.say({ t: "entries", w, items: [], ...first }, { t: "want", w, page: [] })
    await relay.pass(100)
    expect(synced.resolved).toBe(false)
    level(0)
    await relay.settle()
    expect([synced.resolved, pulls().length]).toEqual([true, 2])
  })
})

describe("an ack", () => {
  test("takes its changes out of the outbox and leaves the cursor where it is", async () => {
    level(1)
    await ws.notes.create({ title: "T" })
    await relay.settle()
    expect(ws.status.pending).toBeGreaterThan(0)
    ack(pushed(), 5)
    await relay.settle()
    expect(ws.status.pending).toBe(0)
    expect(replicaOf(ws).state.cursor).not.toBe(replicaOf(ws).state.reach)
    relay.hangUp()
    await relay.pass(1000)
    expect(relay.last("pull")).toMatchObject({ cursor: at(1), reach: at(5) })
  })

  test("that never came makes the same changes go out again", async () => {
    level(1)
    await ws.notes.create({ title: "T" })
    await relay.settle()
    const before = hashes(pushed())
    relay.hangUp()
    await relay.pass(1000)
    level(1)
    await relay.settle()
    expect(relay.count("push")).toBe(2)
    expect(hashes(pushed())).toEqual(before)
  })

  test("resolves whenStored for what was saved before the call, under steady writing", async () => {
    level(1)
    await ws.notes.create({ title: "T" }, { id: "a" })
    await relay.settle()
    const mine = pushed()
    const stored = ws.whenStored()
    await ws.notes.create({ title: "later" })
    await relay.settle()
    ack(mine, 2)
    await stored
    expect(ws.status.pending).toBeGreaterThan(0)
  })
})

describe("subscribers", () => {
  test("hear of every change of all() and of nothing else, and a row that looks as before is the same object", async () => {
    level(1)
    for (const id of ["a", "b"]) await ws.notes.create({ title: id }, { id })
    await relay.settle()
    for (const push of relay.heard) if (push.t === "push") ack(push, 2)
    await relay.settle()
    let heard = 0
    let shown = ws.notes.all()
    const changes = () => {
      const [before, told] = [shown, heard]
      shown = ws.notes.all()
      heard = 0
      expect(told > 0).toBe(shown !== before)
      return told
    }
    ws.notes.subscribe(() => void heard++)
    for (const title of ["1", "2"]) {
      await ws.notes.update("a", (draft) => void (draft.title = title))
      await relay.settle()
    }
    expect(changes()).toBe(2)
    const pushes = relay.heard.filter((message): message is Push => message.t === "push").slice(-2)
    const row = ws.notes.get("a")
    ack(pushes[0]!, 3) // the title is dirty all the same
    await relay.settle()
    expect([changes(), ws.notes.get("a")]).toEqual([0, row])
    expect(ws.notes.get("a")).toBe(row)
    ack(pushes[1]!, 4)
    await relay.settle()
    expect(changes()).toBe(1)
    await ws.notes.delete("b")
    await relay.settle()
    expect(changes()).toBe(1)
    ack(pushed(), 5) // of what nobody sees
    await relay.settle()
    expect([changes(), ws.status.pending]).toEqual([0, 0])
  })

  test("are told row by row what was written here and what came from the relay, in one commit too", async () => {
    level(1)
    await relay.settle()
    await ws.notes.create({ title: "open" }, { id: "both" })
    await ws.notes.create({ title: "mine" }, { id: "mine" })
    const theirs = await elsewhere((other) => other.notes.create({ title: "theirs" }, { id: "theirs" }))
    const both = await elsewhere((other) => other.notes.create({ title: "theirs too" }, { id: "both" }))
    const heard: unknown[] = []
    ws.notes.subscribe((_, { from, added, changed, removed }) =>
      heard.push({ from, rows: [...added, ...changed], removed }),
    )
    await relay.pass(100)
    level(
      2,
      [...both, ...theirs].map((entry) => ({ entry })),
    )
    const writes = ["mine", "both"].map((id) => ws.notes.update(id, (draft) => void (draft.title = "again")))
    await Promise.all(writes)
    expect(heard).toEqual([
      { from: "here", rows: ["mine"], removed: [] },
      { from: "relay", rows: ["both"], removed: [] },
    ])
    await relay.pass(100)
    expect(heard.slice(2)).toEqual([{ from: "relay", rows: ["theirs"], removed: [] }])
  })
})

describe("entries", () => {
  test("are committed with their cursor and shown with their principal", async () => {
    const entries = await elsewhere((other) => other.notes.create({ title: "theirs", body: "b" }, { id: "a" }))
    level(
      entries.length,
      entries.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    expect(ws.notes.get("a")).toMatchObject({
      title: "theirs",
      body: "b",
      $createdBy: "bob",
      $updatedBy: "bob",
      $sync: "stored",
    })
    await ws.close()
    await reopen()
    expect(ws.notes.get("a")?.title).toBe("theirs")
    expect(relay.last("pull").cursor).toEqual(at(entries.length))
  })

  test("from a clock that is ahead are not shown in time to come, now or after a restart", async () => {
    const hour = 3_600_000
    const entries = await elsewhere(async (other) => {
      await other.notes.create({ title: "T" }, { id: "a" })
      await other.notes.create({ title: "T" }, { id: "b" })
    }, first.time + hour)
    level(
      1,
      entries.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    expect(ws.notes.get("a")).toMatchObject({ $createdAt: first.time, $updatedAt: first.time })
    const row = await ws.notes.update("a", (draft) => void (draft.title = "U"))
    expect(row.$updatedAt).toBe(first.time)
    await ws.close()
    await relay.pass(1000)
    await reopen()
    expect(ws.notes.get("a")?.$updatedAt).toBe(first.time + 1000)
    expect(ws.notes.get("b")).toMatchObject({ $createdAt: first.time + 1000, $updatedAt: first.time + 1000 })
    const heard: string[] = []
    ws.notes.subscribe((_, { changed }) => heard.push(...changed))
    await relay.pass(hour - 2000)
    expect(heard).toEqual([])
    await relay.pass(1000)
    expect(heard.sort()).toEqual(["a", "b"])
    expect(ws.notes.get("b")).toMatchObject({ $createdAt: first.time + hour, $updatedAt: first.time + hour })
  })

  test("show the relay's time on a device whose clock is slow, after a restart without the relay too", async () => {
    relay.now -= 3_600_000
    level(0)
    await relay.settle()
    await ws.notes.create({ title: "T" }, { id: "a" })
    expect(ws.notes.get("a")?.$updatedAt).toBe(first.time)
    await ws.close()
    relay.up = false
    await reopen()
    expect(ws.notes.get("a")?.$updatedAt).toBe(first.time)
  })

  test("of an entity that was created empty say when and by whom", async () => {
    const entries = await elsewhere(async (other) => {
      const made = [await other.notes.create({ body: "" }, { id: "a" }), await other.notes.create({}, { id: "b" })]
      for (const { $createdAt, $updatedAt } of made) expect([$createdAt, $updatedAt]).toEqual([first.time, first.time])
      await other.notes.update("a", (draft) => void (draft.body = "text"))
      await other.notes.delete("b")
      await other.notes.restore("b")
    })
    level(
      1,
      entries.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    expect([ws.notes.get("a")?.body, replicaOf(ws).bad.size]).toEqual(["text", 0])
    for (const id of ["a", "b"]) {
      expect(ws.notes.get(id)).toMatchObject({ $createdAt: first.time, $createdBy: "bob", $updatedBy: "bob" })
    }
  })

  test("that come twice have the effect of one", async () => {
    const entries = await elsewhere(async (other) => {
      await other.notes.create({ body: "once" }, { id: "a" })
      await other.notes.update("a", (_, edit) => edit.splice("body", 4, 0, "!"))
    })
    for (let i = 0; i < 3; i++) {
      level(
        entries.length,
        entries.map((entry) => ({ entry })),
      )
      await relay.pass(100)
    }
    expect(ws.notes.get("a")?.body).toBe("once!")
  })

  test("wait when they depend on what has not come, and show when it comes", async () => {
    const entries = await elsewhere(async (other) => {
      await other.notes.create({ title: "1" }, { id: "a" })
      await other.notes.update("a", (draft) => void (draft.title = "2"))
    })
    const [, ...chunks] = entries.flatMap((entry) => entry.chunks)
    const genesis = { ...entries[0]!, chunks: entries[0]!.chunks.slice(0, 1) }
    level(1, [{ entry: { ...entries[0]!, chunks } }])
    await relay.pass(100)
    expect(ws.notes.get("a")).toBeUndefined()
    level(2, [{ entry: genesis }])
    await relay.pass(100)
    expect(ws.notes.get("a")?.title).toBe("2")
  })

  test("with a bad chunk set it aside and go on", async () => {
    const good = await elsewhere((other) => other.notes.create({ title: "good" }, { id: "a" }))
    const torn = Uint8Array.from(good[0]!.chunks[0]!)
    torn[torn.length - 1]! ^= 1
    level(2, [{ entry: { ...good[0]!, entity: "b", chunks: [torn] } }, ...good.map((entry) => ({ entry }))])
    await relay.pass(100)
    expect(ws.notes.get("a")?.title).toBe("good")
    expect([...replicaOf(ws).bad.keys()]).toEqual(["b"])
    expect(ws.status).toMatchObject({ phase: "live", error: { code: "CHUNK_BAD", entity: "b" } })
    await ws.close()
    await reopen()
    expect(relay.last("pull").cursor).toEqual(at(2))
    expect(ws.status.error).toMatchObject({ code: "CHUNK_BAD", entity: "b" })
    expect([...replicaOf(ws).bad.get("b")!.values()][0]!.code).toBe("CHUNK_BAD")
  })

  test("that Automerge cannot apply leave the row as every replica sees it", async () => {
    const good = await elsewhere((other) => other.notes.create({ title: "good", body: "text" }, { id: "a" }))
    const last = good.at(-1)!.chunks.at(-1)!
    const forged = Uint8Array.from(last)
    forged[forged.length - 3]! ^= 0x55 // an operation that makes no sense, under a right checksum
    forged.set(sha256(forged.subarray(8)).subarray(0, 4), 4)
    level(
      1,
      good.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    const row = ws.notes.get("a")
    expect(ws.status.error).toBeNull()
    const statuses: unknown[] = []
    ws.onStatus(({ error }) => statuses.push(error?.code))
    level(2, [{ entry: { ...good[0]!, chunks: [forged] } }])
    await relay.pass(100)
    expect(ws.notes.get("a")).toMatchObject({ title: row?.title, body: row?.body })
    const [verdict] = [...replicaOf(ws).bad.get("a")!.values()]
    expect(ws.status).toMatchObject({ phase: "live", error: { code: verdict!.code, entity: "a" } })
    expect(statuses).toContain(verdict!.code)
    await ws.notes.update("a", (draft) => void (draft.title = "still alive"))
    expect(ws.notes.get("a")?.title).toBe("still alive")
  })
})

test("what another build of Automerge has set aside is tried again by this one, with what waits for it", async () => {
  const entries = await elsewhere(async (other) => {
    await other.notes.create({ title: "1" }, { id: "a" })
    for (const title of ["2", "3"]) await other.notes.update("a", (draft) => void (draft.title = title))
  })
  const items = entries.map((entry) => ({ entry }))
  level(1, items)
  await relay.pass(100)
  await ws.close()
  // As an older build would have left it: the second title is bad, the third waits for it.
  const [, , two, three] = entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))
  const release = await store.claim("test")
  await store.commit([
    [keys.bad(w, "a", two!), JSON.stringify({ code: "CHUNK_BAD", automerge: "an older one", probed: true })],
    [keys.bad(w, "b", three!), JSON.stringify({ code: "CHUNK_BAD", automerge: "" })], // is no change, whoever judges
    [keys.stale(w, "a"), JSON.stringify({ collection: "notes", suspects: [three], waiting: true })],
  ])
  await release()
  await reopen()
  expect(ws.status.error).toMatchObject({ code: "CHUNK_BAD", entity: "a" })
  await ws.notes.create({ title: "anything that needs Automerge" })
  await relay.pass(100)
  expect(ws.notes.get("a")?.title).toBe("3")
  expect([...replicaOf(ws).bad.keys()]).toEqual(["b"])
  expect(ws.status.error).toMatchObject({ code: "CHUNK_BAD", entity: "b" })
  expect(await store.get(keys.bad(w, "a", two!))).toBeUndefined()
})

describe("a refusal", () => {
  beforeEach(async () => {
    level(1)
    await ws.notes.create({ title: "kept" }, { id: "a" })
    await relay.settle()
    ack(pushed(), 2)
    await relay.settle()
  })

  test("for good sets the change and its descendants aside, and the row is what others see", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "refused"))
    await relay.settle()
    const refused = pushed()
    await ws.notes.update("a", (draft) => void (draft.title = "after it"))
    await relay.settle()
    const [hash] = hashes(refused)
    const stored = expect(ws.whenStored()).rejects.toMatchObject({ code: "REJECTED" })
    relay.say({ t: "reject", w, id: refused.id, entity: "a", hash: hash!, code: "CHUNK_BAD" })
    await relay.settle()
    await stored
    expect(ws.notes.get("a")).toMatchObject({ title: "kept", $pending: false })
    expect(replicaOf(ws).rejected.get("a")?.size).toBe(2)
    expect(ws.status).toMatchObject({ pending: 0, error: { code: "REJECTED" } })
    await ws.close()
    await reopen()
    expect(replicaOf(ws).rejected.get("a")?.size).toBe(2)
    expect(ws.status.error).toMatchObject({ code: "REJECTED", entity: "a" })
    await ws.notes.update("a", (draft) => void (draft.title = "goes on"))
    expect(ws.notes.get("a")?.title).toBe("goes on")
  })

  test("of a create takes the row away", async () => {
    await ws.notes.create({ title: "no" }, { id: "b" })
    await relay.settle()
    const push = pushed()
    relay.say({ t: "reject", w, id: push.id, entity: "b", hash: hashes(push)[0]!, code: "COLLECTION_MISMATCH" })
    await relay.settle()
    expect(ws.notes.get("b")).toBeUndefined()
    await ws.close()
    await reopen()
    expect(ws.notes.all().map(({ id }) => id)).toEqual(["a"])
  })

  test("that is late is ignored: the change is stored", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "stored"))
    await relay.settle()
    const push = pushed()
    ack(push, 3)
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "SEQ_TAKEN" })
    await relay.settle()
    expect(ws.notes.get("a")?.title).toBe("stored")
    expect(replicaOf(ws).rejected.size).toBe(0)
  })

  test("is taken back when the change arrives through the log", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "back again"))
    await relay.settle()
    const push = pushed()
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "CHUNK_BAD" })
    await relay.settle()
    expect(ws.notes.get("a")?.title).toBe("kept")
    expect(ws.status.error).toMatchObject({ code: "REJECTED", entity: "a" })
    level(
      3,
      push.entries.map((entry) => ({ entry: { ...entry, by: "ann" } })),
    )
    await relay.pass(100)
    expect(ws.notes.get("a")?.title).toBe("back again")
    expect(replicaOf(ws).rejected.size).toBe(0)
    expect(ws.status.error).toBeNull()
  })

  test("for the time being keeps it in the outbox and tries again", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "later"))
    await relay.settle()
    const push = pushed()
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "RATE", retryIn: 5000 })
    relay.say({ t: "ack", w, id: push.id })
    await relay.settle()
    expect(ws.status).toMatchObject({ pending: 1, error: { code: "RATE" } })
    await relay.pass(4000)
    expect(pushed().id).toBe(push.id)
    await relay.pass(1100)
    expect(hashes(pushed())).toEqual(hashes(push))
    expect(pushed().id).not.toBe(push.id)
  })

  test.each(["QUOTA", "RATE", "LOG_FAILED", "FORBIDDEN"] as const)(
    "%s for the time being makes what was written on top of it wait and go after it",
    async (code) => {
      await ws.notes.update("a", (draft) => void (draft.title = "one"))
      await relay.settle()
      const one = pushed()
      await ws.notes.update("a", (draft) => void (draft.title = "two")) // under way when the first is refused
      await relay.settle()
      const two = pushed()
      relay.say({ t: "reject", w, id: one.id, entity: "a", hash: hashes(one)[0]!, code, retryIn: 5000 })
      relay.say({ t: "ack", w, id: one.id })
      relay.say({ t: "reject", w, id: two.id, entity: "a", hash: hashes(two)[0]!, code: "DEPS_UNKNOWN" })
      relay.say({ t: "ack", w, id: two.id })
      await relay.settle()
      const before = relay.count("push")
      await ws.notes.update("a", (draft) => void (draft.title = "three"))
      await ws.notes.create({ title: "of another" }, { id: "b" })
      await relay.settle()
      expect(pushed().entries.map(({ entity }) => entity)).toEqual(["b"])
      ack(pushed(), 3)
      await relay.pass(4000)
      expect([relay.count("push"), relay.count("have")]).toEqual([before + 1, 0])
      expect(replicaOf(ws).rejected.size).toBe(0)
      expect(ws.status).toMatchObject({ pending: 3, error: { code, retryAt: expect.any(Number) } })
      await relay.pass(1100)
      expect(relay.count("push")).toBe(before + 2)
      expect(hashes(pushed()).slice(0, 2)).toEqual([...hashes(one), ...hashes(two)])
      ack(pushed(), 6)
      await relay.settle()
      expect(ws.status).toMatchObject({ pending: 0, error: null })
      expect(ws.notes.get("a")?.title).toBe("three")
    },
  )

  test("for missing dependencies asks what the relay has, gives that first, then the same change again", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "U"))
    await relay.settle()
    const push = pushed()
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "DEPS_UNKNOWN" })
    relay.say({ t: "ack", w, id: push.id })
    await relay.settle()
    expect(relay.last("have")).toEqual({
      t: "have",
      w,
      page: [["a", (await headsOf(ws))["a"]]],
      more: false,
      single: true,
    })
    const before = relay.count("push")
    relay.say({ t: "want", w, page: [["a", []]] })
    await relay.settle()
    const again = relay.heard.filter((message): message is Push => message.t === "push").slice(before)
    const sent = again.flatMap(hashes)
    expect(sent.at(-1)).toBe(hashes(push)[0])
    expect(sent.length).toBe(3) // genesis, content, and the change
    expect(again.every(({ adopt }) => adopt === undefined)).toBe(true) // minted in this session
  })

  test("of a bound actor sends the same changes as adopted ones, under a fresh actor from here on", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "U"))
    await relay.settle()
    const push = pushed()
    const { actor } = replicaOf(ws)
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "ACTOR_BOUND" })
    relay.say({ t: "ack", w, id: push.id })
    await relay.settle()
    expect(pushed()).toMatchObject({ adopt: true })
    expect(hashes(pushed())).toEqual(hashes(push))
    expect(replicaOf(ws).actor).not.toBe(actor)
    await ws.notes.update("a", (draft) => void (draft.title = "V"))
    expect(ws.notes.get("a")?.title).toBe("V")
  })
})

describe("a relay that does not know the cursor", () => {
  beforeEach(async () => {
    level(4)
    await ws.notes.create({ title: "acked" }, { id: "a" })
    await relay.settle()
    ack(pushed(), 5)
    const theirs = await elsewhere((other) => other.notes.create({ title: "theirs" }, { id: "b" }))
    level(
      6,
      theirs.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    await ws.close()
    await reopen()
  })

  test("is told what this device has, and given what it lacks: others' changes as adopted", async () => {
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    expect(relay.last("have")).toMatchObject({ more: false, page: Object.entries(await headsOf(ws)) })
    relay.say({
      t: "want",
      w,
      page: [
        ["a", []],
        ["b", []],
      ],
    })
    relay.say({ t: "entries", w, items: [], cursor: at(0), level: true, ...first })
    await relay.pass(100)
    const pushes = relay.heard.filter((message): message is Push => message.t === "push").slice(-1)
    expect(pushes.map(({ adopt }) => adopt)).toEqual([true]) // none was minted in this session
    expect(pushes.flatMap(({ entries }) => entries.map(({ entity }) => entity)).sort()).toEqual(["a", "b"])
    expect(pushes[0]!.entries.find(({ entity }) => entity === "b")?.by).toBe("bob")
    expect(replicaOf(ws).state).toMatchObject({ heal: false })
  })

  test("is healed by the next connection when this one breaks, and even after a crash", async () => {
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    await ws.close()
    const pulls = relay.count("pull")
    await reopen()
    expect(relay.heard.slice(-2).map((message) => message.t)).toEqual(["pull", "have"])
    expect(relay.count("pull")).toBe(pulls + 1)
    expect("cursor" in relay.last("pull")).toBe(false)
  })

  test("leaves the old reach on the disk until the new cursor is committed", async () => {
    const { reach } = replicaOf(ws).state
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "entries", w, items: [], ...first }, { t: "want", w, page: [["a", []]] })
    await relay.settle()
    ack(pushed(), 1)
    await relay.settle()
    expect(replicaOf(ws).state.reach).toBe(reach)
    relay.say({ t: "entries", w, items: [], cursor: at(0), ...first })
    await relay.settle()
    expect(replicaOf(ws).state.reach).toMatch(/^0{15}1/)
  })
})
