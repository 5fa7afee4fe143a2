import { headsOf } from "headwater/testing"
import { beforeEach, describe, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Entry, Push } from "../../src/wire/protocol.ts"
import { at, first, w } from "../support/foreign.ts"
import { ack, elsewhere, hashes, level, pushed, relay, reopen, useToldWorkspace, ws } from "../support/told.ts"

// Refusals, and a heal with a relay that has lost its log. Each test says what the relay sends.
useToldWorkspace()

describe("a refusal", () => {
  beforeEach(async () => {
    level(1)
    await ws.notes.create({ title: "kept" }, { id: "a" })
    await relay.settle()
    ack(pushed(), 2)
    await relay.settle()
  })

  test("for good sets the change and its descendants aside, and the row becomes what others see", async () => {
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

  test("that comes after the ack is ignored, because the change is stored", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "stored"))
    await relay.settle()
    const push = pushed()
    ack(push, 3)
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "SEQ_TAKEN" })
    await relay.settle()
    expect(ws.notes.get("a")?.title).toBe("stored")
    expect(replicaOf(ws).rejected.size).toBe(0)
  })

  test("is undone when the change arrives through the log", async () => {
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

  // Found by the convergence property (seed 2, path 146). Its draws have changed since, so that run shows nothing now.
  test("for which five haves did not help is tried once more when entries of its entity arrive", async () => {
    const theirs = await elsewhere((other) => other.notes.create({ title: "T" }, { id: "b" }))
    await ws.notes.create({ title: "mine" }, { id: "b" })
    await relay.settle()
    for (let pushes = 0; pushes < relay.count("push"); ) {
      pushes = relay.count("push")
      const haves = relay.count("have")
      const push = pushed()
      for (const hash of hashes(push)) {
        relay.say({ t: "reject", w, id: push.id, entity: "b", hash, code: "DEPS_UNKNOWN" })
      }
      ack(push, 3)
      await relay.settle()
      if (relay.count("have") > haves) relay.say({ t: "want", w, page: [["b", []]] })
      await relay.settle()
    }
    const before = relay.count("push")
    expect(relay.count("have")).toBe(5)
    expect(ws.status.error).toMatchObject({ code: "DEPS_UNKNOWN", entity: "b" })
    level(
      4,
      theirs.map((entry) => ({ entry })),
    )
    await relay.pass(100)
    expect(relay.count("push")).toBe(before + 1)
    ack(pushed(), 5)
    await relay.settle()
    expect(ws.status).toMatchObject({ pending: 0, error: null })
  })

  test("is shown in the status with its own message after an earlier one is undone", async () => {
    await ws.notes.update("a", (draft) => void (draft.title = "refused"))
    await relay.settle()
    const push = pushed()
    await ws.notes.update("a", (draft) => void (draft.title = "after it"))
    level(2) // the clock stands still until the entries below, so `lastSyncedAt` does not change
    await relay.settle()
    relay.say({ t: "reject", w, id: push.id, entity: "a", hash: hashes(push)[0]!, code: "CHUNK_BAD" })
    await relay.settle()
    expect(ws.status.error?.message).toContain("CHUNK_BAD")
    const before = ws.status
    level(
      3,
      push.entries.map((entry) => ({ entry: { ...entry, by: "ann" } })),
    )
    await relay.settle()
    expect(ws.status.error?.message).toContain("DEPS_UNKNOWN")
    expect({ ...ws.status, error: null }).toEqual({ ...before, error: null })
  })

  test("for now keeps the change in the outbox, and the change is pushed again", async () => {
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
    "%s for now makes the changes that depend on the refused one wait, and follow it",
    async (code) => {
      await ws.notes.update("a", (draft) => void (draft.title = "one"))
      await relay.settle()
      const one = pushed()
      // The push of this change is under way when the first one is refused.
      await ws.notes.update("a", (draft) => void (draft.title = "two"))
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

  test("for now is not shown any more once the change is set aside with one that is refused for good", async () => {
    await ws.notes.create({ title: "T" }, { id: "b" })
    await relay.settle()
    const push = pushed()
    const [genesis, content] = hashes(push)
    const refused = { t: "reject", w, id: push.id, entity: "b" } as const
    relay.say({ ...refused, hash: content!, code: "RATE", retryIn: 60_000 })
    await relay.settle()
    expect(ws.status.error?.code).toBe("RATE")
    relay.say({ ...refused, hash: genesis!, code: "COLLECTION_MISMATCH" }, { t: "ack", w, id: push.id })
    await relay.settle()
    expect(ws.status).toMatchObject({ pending: 0, error: { code: "REJECTED", entity: "b" } })
  })

  test("for missing deps makes it ask what the relay has, push what is missing, then the change again", async () => {
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
    expect(again.every(({ adopt }) => adopt === undefined)).toBe(true) // all were made in this session
  })

  test("with ACTOR_BOUND makes it push the same changes as adopt, and write with a fresh actor", async () => {
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

  test("is told what this device has, and is pushed what it lacks, others' changes as adopt", async () => {
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
    expect(pushes.map(({ adopt }) => adopt)).toEqual([true]) // none was made in this session
    expect(pushes.flatMap(({ entries }) => entries.map(({ entity }) => entity)).sort()).toEqual(["a", "b"])
    expect(pushes[0]!.entries.find(({ entity }) => entity === "b")?.by).toBe("bob")
    expect(replicaOf(ws).state).toMatchObject({ heal: false })
  })

  test("is healed over the next connection when this one breaks, even after a restart", async () => {
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    await ws.close()
    const pulls = relay.count("pull")
    await reopen()
    expect(relay.heard.slice(-2).map((message) => message.t)).toEqual(["pull", "have"])
    expect(relay.count("pull")).toBe(pulls + 1)
    expect("cursor" in relay.last("pull")).toBe(false)
  })

  test("does not count as healed because of entries of its old log that still wait to be committed", async () => {
    const theirs = await elsewhere(async (other) => {
      for (const id of ["c", "d"]) await other.notes.create({ title: id }, { id })
    })
    const say = (entry: Entry, position: number) =>
      relay.say({ t: "entries", w, items: [{ entry }], cursor: at(position), ...first })
    say(theirs[0]!, 7)
    await relay.settle()
    say(theirs[1]!, 8) // waits to be committed together with the entries that come meanwhile
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.pass(100)
    expect(replicaOf(ws).state).toMatchObject({ heal: true, cursor: Buffer.from(at(8)).toString("hex") })
    expect(relay.count("have")).toBe(1)
  })

  test.each([
    ["behind it", 1],
    ["beyond it", 9],
  ])("leaves the old reach on the disk until the new cursor is committed, though an ack lies %s", async (_, place) => {
    const { reach } = replicaOf(ws).state
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "entries", w, items: [], ...first }, { t: "want", w, page: [["a", []]] })
    await relay.settle()
    ack(pushed(), place)
    await relay.settle()
    expect(replicaOf(ws).state.reach).toBe(reach)
    relay.say({ t: "entries", w, items: [], cursor: at(0), ...first })
    await relay.settle()
    expect(replicaOf(ws).state.reach).toBe(Buffer.from(at(place)).toString("hex"))
  })
})
