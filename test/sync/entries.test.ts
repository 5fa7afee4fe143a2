import { sha256 } from "@noble/hashes/sha2.js"
import { describe, expect, test, vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { automergeVersion, loadAutomerge } from "../../src/document/entity.ts"
import { keys, PROBE } from "../../src/replica/disk/records.ts"
import { readChange } from "../../src/wire/chunk.ts"
import type { Push } from "../../src/wire/protocol.ts"
import { at, first, next, w } from "../support/foreign.ts"
import { put } from "../support/hostile.ts"
import { jsonWrite } from "../support/record.ts"
import { ack, elsewhere, level, pushed, relay, reopen, store, useToldWorkspace, ws } from "../support/told.ts"

// Entries of other devices, and what the library tells subscribers of them. Each test says what the relay sends.
useToldWorkspace()

describe("subscribers", () => {
  test("hear of every change of all() and nothing else, and an unchanged row is the same object", async () => {
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
    ack(pushes[0]!, 3) // the row stays pending, because the change of the other push is not acknowledged
    await relay.settle()
    expect([changes(), ws.notes.get("a")]).toEqual([0, row])
    expect(ws.notes.get("a")).toBe(row)
    ack(pushes[1]!, 4)
    await relay.settle()
    expect(changes()).toBe(1)
    await ws.notes.delete("b")
    await relay.settle()
    expect(changes()).toBe(1)
    ack(pushed(), 5) // acknowledges the deletion; a deleted note is in no list of rows
    await relay.settle()
    expect([changes(), ws.status.pending]).toEqual([0, 0])
  })

  test("are told of each row whether it was written here or came from the relay, even in one commit", async () => {
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

  test("from a clock that is ahead are shown with no time in the future, also after a restart", async () => {
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

  test("show the relay's time on a device whose clock is slow, also after a restart without the relay", async () => {
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

  test("of an entity that was created empty say when it was created and by whom", async () => {
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

  test("wait when they depend on a change that has not come, and are shown when it comes", async () => {
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

  test("with a bad chunk are committed without it", async () => {
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

  test("that Automerge cannot apply leave the row as it was", async () => {
    const good = await elsewhere((other) => other.notes.create({ title: "good", body: "text" }, { id: "a" }))
    const last = good.at(-1)!.chunks.at(-1)!
    const forged = Uint8Array.from(last)
    forged[forged.length - 3]! ^= 0x55 // makes an operation impossible; the next line corrects the checksum
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

test("a change that another build of Automerge set aside is judged again, with those that wait for it", async () => {
  const entries = await elsewhere(async (other) => {
    await other.notes.create({ title: "1" }, { id: "a" })
    for (const title of ["2", "3"]) await other.notes.update("a", (draft) => void (draft.title = title))
  })
  const items = entries.map((entry) => ({ entry }))
  level(1, items)
  await relay.pass(100)
  await ws.close()
  // The records that an older build would have left: the second title is bad, and the third one waits for it.
  const [, , two, three] = entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))
  const release = await store.claim("test")
  await store.commit([
    jsonWrite(keys.bad(w, "a", two!), { code: "CHUNK_BAD", automerge: "an older one", probe: PROBE }),
    jsonWrite(keys.bad(w, "b", three!), { code: "CHUNK_BAD", automerge: "" }), // a verdict that stands for every build
    jsonWrite(keys.stale(w, "a"), { collection: "notes", suspects: [three], waiting: true }),
  ])
  await release()
  await reopen()
  expect(ws.status.error).toMatchObject({ code: "CHUNK_BAD", entity: "a" })
  const { id } = await ws.notes.create({ title: "anything" })
  await ws.notes.read(id) // loads Automerge
  await relay.pass(100)
  expect(ws.notes.get("a")?.title).toBe("3")
  expect([...replicaOf(ws).bad.keys()]).toEqual(["b"])
  expect(ws.status.error).toMatchObject({ code: "CHUNK_BAD", entity: "b" })
  expect(await store.get(keys.bad(w, "a", two!))).toBeUndefined()
})

test("a change set aside by an older version of this library is judged again when the workspace opens", async () => {
  const entries = await elsewhere(async (other) => {
    await other.notes.create({ title: "1" }, { id: "a" })
    for (const title of ["2", "3"]) await other.notes.update("a", (draft) => void (draft.title = title))
  })
  level(
    1,
    entries.map((entry) => ({ entry })),
  )
  await relay.pass(100)
  await ws.close()
  const [, , two, three] = entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))
  const release = await store.claim("test")
  const verdict = { code: "CHUNK_BAD", automerge: automergeVersion(), probed: true }
  await store.commit([
    jsonWrite(keys.bad(w, "a", two!), verdict),
    jsonWrite(keys.stale(w, "a"), { suspects: [three], waiting: true }),
  ])
  await release()
  await reopen()
  await relay.pass(100)
  expect([ws.status.error, replicaOf(ws).bad.size, ws.notes.get("a")?.title]).toEqual([null, 0, "3"])
})

test("a row that an older version of this library removed is made again, and changes are judged again only once", async () => {
  await loadAutomerge()
  const good = await elsewhere((other) => other.notes.create({ title: "sound" }, { id: "a" }))
  const other = await elsewhere((other) => other.notes.create({ title: "sound, too" }, { id: "b" }))
  const bad = next(readChange(other.at(-1)!.chunks.at(-1)!), 5, { ops: [put({ insert: true })] })
  level(
    1,
    [...good, ...other, { ...other[0]!, chunks: [bad.chunk] }].map((entry) => ({ entry })),
  )
  await relay.pass(100)
  expect(replicaOf(ws).bad.get("b")?.get(bad.hash)).toMatchObject({ code: "CHUNK_BAD" })
  await ws.close()
  // The records that an older version would have left: all changes are bad, and the row of the first note is removed.
  const verdict = JSON.stringify({ code: "CHUNK_BAD", automerge: automergeVersion(), probed: true })
  const hashes = good.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))
  const release = await store.claim("test")
  await store.commit([
    ...hashes.map((hash) => [keys.bad(w, "a", hash), verdict] as const),
    [keys.bad(w, "b", bad.hash), verdict],
    [keys.row(w, "notes", "a"), undefined],
  ])
  await release()
  await reopen()
  await relay.pass(100)
  expect(ws.notes.all().map(({ title }) => title)).toEqual(["sound", "sound, too"])
  expect([...replicaOf(ws).bad.keys()]).toEqual(["b"])
  await ws.close()
  const commit = vi.spyOn(store, "commit")
  await reopen()
  await relay.pass(100)
  const kinds = commit.mock.calls.flatMap(([writes]) => writes.map(([key]) => key[1]))
  expect(kinds.filter((kind) => kind === "bad" || kind === "stale" || kind === "row")).toEqual([])
})

test("an entity with a long history gets a document when a few changes come to it, and none when all come at once", async () => {
  const theirs = await elsewhere(async (other) => {
    await other.notes.create({ title: "0" }, { id: "long" })
    const retitle = (i: number) => other.notes.update("long", (draft) => void (draft.title = `${i}`))
    await Promise.all(Array.from({ length: 99 }, (_, i) => retitle(i + 1)))
    await retitle(100)
  })
  const items = theirs.map((entry) => ({ entry }))
  level(1, items.slice(0, -1))
  await relay.pass(2000)
  expect(ws.notes.get("long")?.title).toBe("99")
  expect(replicaOf(ws).documents.has("long")).toBe(false)
  level(2, items.slice(-1))
  await relay.pass(2000)
  expect(ws.notes.get("long")?.title).toBe("100")
  expect(replicaOf(ws).documents.has("long")).toBe(true)
})
