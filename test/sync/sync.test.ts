import { describe, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { usualSizes } from "../../src/base/replica-sizes.ts"
import { type Entry, encodeItem } from "../../src/wire/protocol.ts"
import { noise } from "../support/changes.ts"
import { at, first, w } from "../support/foreign.ts"
import { ack, elsewhere, hashes, level, pushed, relay, reopen, useToldWorkspace, ws } from "../support/told.ts"

// Dialling a connection, and pulling and pushing over it. Each test says what the relay sends.
useToldWorkspace()

describe("a connection", () => {
  test("begins with one pull: from the beginning first, from cursor and reach later", async () => {
    expect(relay.heard).toEqual([{ t: "pull", w, cursor: null, credit: usualSizes.firstCredit }])
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
    expect(relay.last("pull")).toEqual({ t: "pull", w, cursor: at(3), reach: at(9), credit: usualSizes.firstCredit })
  })

  // Makes dials fail until the client waits a minute before the next one. The relay accepts that dial.
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

  test.each([0.75, 0.25, 0.01])("waits the part of that time which a random number of %f asks for", async (luck) => {
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
  ])("that brought %s after many failed dials is followed by a short wait only for entries", async (_, bring, wait) => {
    await climb()
    bring()
    await relay.settle()
    expect(await nextWait()).toBe(wait)
  })

  test("is not counted as good because of entries that this version does not know", async () => {
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

  test("brings entries of others even if this device's clock is set back", async () => {
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

  test("is dialled at once when the network or the page comes back, and again a second later", async () => {
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

  test("that is half open is given up", async () => {
    level(0) // the client gives up sooner a relay that has sent nothing on this connection
    await relay.settle()
    await relay.pass(15_000)
    expect(relay.count("ping")).toBe(1)
    await relay.pass(10_000)
    expect(ws.status).toMatchObject({ connected: false, error: { code: "RELAY_UNREACHABLE" } })
    await relay.pass(2_000)
    expect(relay.dials.length).toBe(2)
  })

  test("that answers its pings stays open", async () => {
    level(0)
    await relay.settle()
    for (let i = 0; i < 4; i++) {
      await relay.pass(15_000)
      relay.say({ t: "pong" })
      await relay.pass(10_000)
    }
    expect(relay.dials.length).toBe(1)
  })

  test("that sends nonsense is ended and dialled again", async () => {
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

  test("that ends right after a notice has the notice's code as its error, and only then", async () => {
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

  test("on which the relay refuses this workspace for now asks again, later each time or after retryIn", async () => {
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

  test("on which a later notice names another time asks at that time, which the status shows", async () => {
    const asked = () => relay.heard.filter((message) => message.t === "pull" && "cursor" in message).length
    const before = asked()
    relay.say({ t: "notice", w, code: "RATE", retryIn: 8_000 }, { t: "notice", w, code: "QUOTA", retryIn: 2_000 })
    await relay.settle()
    expect(ws.status.error).toMatchObject({ code: "QUOTA", retryAt: relay.now + 2_000 })
    await relay.pass(2_000)
    expect(asked()).toBe(before + 1)
    relay.say({ t: "notice", w, code: "RATE", retryIn: 1_000 }, { t: "notice", w, code: "RATE", retryIn: 4_000 })
    await relay.pass(3_999)
    expect(asked()).toBe(before + 1)
    await relay.pass(1)
    expect(asked()).toBe(before + 2)
  })

  test("grants the bytes of committed items again as credit, once for each item", async () => {
    const [entry] = await elsewhere((other) =>
      other.notes.create({ body: Buffer.from(noise(150_000)).toString("base64") }),
    )
    const items = [{ entry: entry as Entry }]
    const weight = encodeItem(items[0]!).length
    const granted = () =>
      relay.heard.flatMap((message) => (message.t === "pull" && !("cursor" in message) ? [message.credit] : []))
    for (let i = 1; i <= 20; i++) {
      relay.say({ t: "entries", w, items, cursor: at(i) })
      await relay.pass(100)
    }
    const grants = granted()
    expect(grants.length).toBeGreaterThan(1)
    const ahead = usualSizes.firstCredit + grants.reduce((sum, grant) => sum + grant) - 20 * weight
    expect(ahead).toBeGreaterThan(usualSizes.leastCredit / 2)
    expect(ahead).toBeLessThanOrEqual(usualSizes.credit)
  })
})

test("nothing is pushed before the relay has named the connection's principal", async () => {
  await ws.notes.create({ title: "T" })
  await relay.settle()
  expect(relay.count("push")).toBe(0)
  level(0)
  await relay.settle()
  expect(relay.count("push")).toBe(1)
})

test("own changes are pushed without `by`, because the relay stamps it", async () => {
  level(0)
  await ws.notes.create({ title: "T" })
  await relay.settle()
  expect(pushed().entries.map(({ by, adopted }) => [by, adopted])).toEqual([[undefined, undefined]])
  expect("adopt" in pushed()).toBe(false)
})

test("changes that another principal left in the outbox wait, and are counted", async () => {
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
  let stored = false
  void ws.whenStored().then(() => (stored = true))
  await relay.settle()
  expect(stored).toBe(false)
  ack(pushed(), 2)
  await relay.settle()
  expect([stored, ws.status.pending]).toEqual([true, 2]) // whenStored does not wait for what ann left
})

describe("whenSynced", () => {
  const pulls = () => relay.heard.filter((message) => message.t === "pull" && "cursor" in message)
  const outcome = (promise: Promise<void>) => {
    const state = { resolved: false }
    void promise.then(() => (state.resolved = true))
    return state
  }

  test("asks the relay what it has now, even if the workspace was level before", async () => {
    level(1)
    await relay.settle()
    const entries = await elsewhere((other) => other.notes.create({ title: "just stored" }, { id: "a" }))
    const synced = outcome(ws.whenSynced())
    const too = outcome(ws.whenSynced())
    await relay.settle()
    expect(pulls()).toHaveLength(2)
    expect(pulls().at(-1)).toMatchObject({ cursor: at(1) })
    expect([synced.resolved, ws.status.phase]).toEqual([false, "live"])
    // This message was under way when the pull was sent.
    relay.say({ t: "entries", w, items: [], cursor: at(1), level: true })
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

  test("is not answered by an earlier pull, but is by the first pull of a later connection", async () => {
    const synced = outcome(ws.whenSynced()) // the first pull was sent before this call, so its answer may be older
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

  test("does not restart a heal that is under way", async () => {
    level(1)
    await relay.settle()
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    const synced = outcome(ws.whenSynced())
    await relay.settle()
    expect([relay.count("have"), relay.count("pull"), synced.resolved]).toEqual([1, 1, false])
    relay.say({ t: "want", w, page: [] })
    level(0) // ends the heal, but may have been under way before whenSynced was called
    await relay.settle()
    expect([relay.count("pull"), synced.resolved]).toEqual([2, false])
    level(0)
    await relay.settle()
    expect(synced.resolved).toBe(true)
  })

  test("waits for the end of a heal", async () => {
    level(1)
    await relay.settle()
    const synced = outcome(ws.whenSynced())
    await relay.settle()
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    // Entries without a cursor are not the end of the heal.
    relay.say({ t: "entries", w, items: [], ...first, level: true }, { t: "want", w, page: [] })
    await relay.pass(100)
    expect(synced.resolved).toBe(false)
    level(0)
    await relay.settle()
    expect([synced.resolved, pulls().length]).toEqual([true, 2])
  })
})

describe("an ack", () => {
  test("removes its changes from the outbox, and does not move the cursor", async () => {
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

  test("that never comes makes the same changes be pushed again", async () => {
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

  test("resolves whenStored for what was saved before the call, even while writing goes on", async () => {
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
