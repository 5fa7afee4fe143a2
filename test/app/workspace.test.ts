import { collection, HeadwaterError, openWorkspace, relayConnection, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, describe, expect, test } from "vitest"
import { z } from "zod"

const notes = collection(
  "notes",
  z.object({ title: z.string(), body: z.string().default(""), tags: z.array(z.string()).optional() }),
  {
    fields: { body: text() },
  },
)
type Notes = Workspace<{ notes: typeof notes }>
const open: Notes[] = []
const opened = async (store = memoryStore(), id = "w") => {
  const ws = await openWorkspace({ id, collections: { notes }, store })
  open.push(ws)
  return ws
}
afterEach(async () => {
  for (const ws of open.splice(0)) await ws.close()
})
const refusal = (code: string) => expect.objectContaining({ code })

describe("a collection", () => {
  test("resolves a create with the saved row, and shows it from then on", async () => {
    const ws = await opened()
    const row = await ws.notes.create({ title: "T", body: "hello" })
    expect(row).toMatchObject({
      title: "T",
      body: "hello",
      $workspace: "w",
      $sync: "saved",
      $pending: true,
      $createdBy: null,
      $conflicts: [],
    })
    expect(row.$dirtyFields).toEqual(["body", "title"])
    expect(Math.abs(row.$createdAt - Date.now())).toBeLessThan(5000)
    expect(ws.notes.get(row.id)).toBe(row)
    expect(ws.notes.all()).toEqual([row])
    expect(Object.isFrozen(row)).toBe(true)
  })

  test("writes what the validator returns on create, defaults included", async () => {
    const ws = await opened()
    expect((await ws.notes.create({ title: "T" })).body).toBe("")
    await expect(ws.notes.create({ title: 3 as unknown as string })).rejects.toEqual(refusal("SCHEMA_ISSUES"))
    expect(ws.notes.all()).toHaveLength(1)
  })

  test("edits a plain copy: assigning writes a register, a splice edits a text, undefined removes a field", async () => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "T", body: "hello", tags: ["a"] })
    const row = await ws.notes.update(id, (draft, edit) => {
      draft.title = "U"
      draft.tags = undefined
      edit.splice("body", 5, 0, " world")
    })
    expect(row).toMatchObject({ title: "U", body: "hello world" })
    expect("tags" in row).toBe(false)
  })

  test("counts splice positions in UTF-16 units", async () => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "T", body: "a😀b" })
    expect((await ws.notes.update(id, (_, edit) => edit.splice("body", 3, 1, "c"))).body).toBe("a😀c")
  })

  test.each([
    ["UPDATE_ASYNC", async () => {}],
    [
      "EDIT_MIXED",
      (draft: { body: string }, edit: { splice(k: "body", a: number, r: number, i: string): void }) => {
        draft.body = "x"
        edit.splice("body", 0, 0, "y")
      },
    ],
    [
      "SPLICE_RANGE",
      (_: unknown, edit: { splice(k: "body", a: number, r: number, i: string): void }) =>
        edit.splice("body", 99, 0, "y"),
    ],
    ["VALUE_UNSUPPORTED", (draft: { title: unknown }) => void (draft.title = Number.NaN)],
  ])("refuses an update with %s and leaves the entity as it was", async (code, f) => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "T", body: "b" })
    const before = ws.notes.get(id)
    await expect(ws.notes.update(id, f as never)).rejects.toEqual(refusal(code))
    expect(ws.notes.get(id)).toBe(before)
  })

  test("rejects with what the callback throws, and writes nothing", async () => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "T" })
    await expect(
      ws.notes.update(id, () => {
        throw new RangeError("mine")
      }),
    ).rejects.toThrow(RangeError)
    expect(ws.status.pending).toBeGreaterThan(0)
    expect(ws.notes.get(id)?.title).toBe("T")
  })

  test("refuses an id that is taken or malformed", async () => {
    const ws = await opened()
    await ws.notes.create({ title: "T" }, { id: "a" })
    await expect(ws.notes.create({ title: "T" }, { id: "a" })).rejects.toEqual(refusal("ENTITY_EXISTS"))
    await expect(ws.notes.create({ title: "T" }, { id: "a b" })).rejects.toEqual(refusal("ID_INVALID"))
    const twice = await Promise.allSettled([
      ws.notes.create({ title: "1" }, { id: "b" }),
      ws.notes.create({ title: "2" }, { id: "b" }),
    ])
    expect(twice.map(({ status }) => status)).toEqual(["fulfilled", "rejected"])
  })

  test("hides a deleted entity, refuses to write to it and restores it", async () => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "T", body: "b" })
    await ws.notes.delete(id)
    expect([ws.notes.get(id), ws.notes.all()]).toEqual([undefined, []])
    expect((await ws.notes.read(id))?.$deletedAt).toBeGreaterThan(0)
    await expect(ws.notes.update(id, () => {})).rejects.toEqual(refusal("ENTITY_DELETED"))
    await expect(ws.notes.create({ title: "T" }, { id })).rejects.toEqual(refusal("ENTITY_EXISTS"))
    const pending = ws.status.pending
    await ws.notes.delete(id)
    expect(ws.status.pending).toBe(pending)
    await ws.notes.restore(id)
    expect(ws.notes.get(id)).toMatchObject({ title: "T", body: "b" })
    await expect(ws.notes.delete("nobody")).rejects.toEqual(refusal("ENTITY_NOT_FOUND"))
  })

  test("orders all() by id and keeps its identity until something changes", async () => {
    const ws = await opened()
    for (const id of ["c", "a", "b"]) await ws.notes.create({ title: id }, { id })
    const all = ws.notes.all()
    expect(all.map(({ id }) => id)).toEqual(["a", "b", "c"])
    expect(ws.notes.all()).toBe(all)
    await ws.notes.update("b", (draft) => void (draft.title = "B"))
    expect(ws.notes.all()).not.toBe(all)
    expect(ws.notes.all()[0]).toBe(all[0])
  })

  test("calls subscribers after a change, not when they subscribe, and not after they unsubscribed", async () => {
    const ws = await opened()
    const heard: unknown[] = []
    const off = ws.notes.subscribe((rows, delta) => heard.push([rows.length, delta]))
    expect(heard).toEqual([])
    await ws.notes.create({ title: "T" }, { id: "a" })
    await ws.notes.delete("a")
    expect(heard).toEqual([
      [1, { added: ["a"], changed: [], removed: [], from: "here" }],
      [0, { added: [], changed: [], removed: ["a"], from: "here" }],
    ])
    off()
    await ws.notes.restore("a")
    expect(heard).toHaveLength(2)
  })

  test("calls a function twice that subscribed twice, and once after one of the two has unsubscribed", async () => {
    const ws = await opened()
    let told = 0
    const listener = () => void told++
    const off = ws.notes.subscribe(listener)
    ws.notes.subscribe(listener)
    await ws.notes.create({ title: "T" })
    expect(told).toBe(2)
    off()
    await ws.notes.create({ title: "T" })
    expect(told).toBe(3)
  })

  test("keeps a text over 4,096 bytes out of the row and reads it whole", async () => {
    const ws = await opened()
    const body = "x".repeat(5000)
    const row = await ws.notes.create({ title: "T", body })
    expect("body" in row).toBe(false)
    expect(row.$long?.["body"]?.length).toBe(5000)
    expect((await ws.notes.read(row.id))?.body).toBe(body)
  })

  test("saves writes that wait together in one commit, in order", async () => {
    const ws = await opened()
    const { id } = await ws.notes.create({ title: "0", body: "" })
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => ws.notes.update(id, (_, edit) => edit.splice("body", i, 0, String(i % 10)))),
    )
    expect(ws.notes.get(id)?.body).toBe("0123456789".repeat(5))
  })
})

describe("a workspace", () => {
  test("opens what an earlier session saved", async () => {
    const store = memoryStore()
    const first = await opened(store)
    const a = await first.notes.create({ title: "A", body: "one" })
    await first.notes.update(a.id, (_, edit) => edit.splice("body", 3, 0, " two"))
    const b = await first.notes.create({ title: "B" })
    await first.notes.delete(b.id)
    const rows = first.notes.all()
    await first.close()
    const second = await opened(store)
    expect(second.notes.all()).toEqual(rows)
    expect(second.notes.get(b.id)).toBeUndefined()
    await second.notes.update(a.id, (draft) => void (draft.title = "again"))
    expect(second.notes.get(a.id)).toMatchObject({ title: "again", body: "one two" })
  })

  test("can be open once per store, and close releases it", async () => {
    const store = memoryStore()
    const ws = await opened(store)
    await expect(openWorkspace({ id: "w", collections: { notes }, store })).rejects.toEqual(refusal("STORE_IN_USE"))
    const other = await opened(store, "other")
    await other.notes.create({ title: "elsewhere" })
    expect(ws.notes.all()).toEqual([])
    await ws.close()
    await (await opened(store)).close()
  })

  test("refuses a collection under another name and a malformed id", async () => {
    const wrong = { collections: { tasks: notes } as never, store: memoryStore() }
    await expect(openWorkspace({ id: "w", ...wrong })).rejects.toEqual(refusal("NAME_MISMATCH"))
    await expect(openWorkspace({ id: "a/b", collections: { notes }, store: memoryStore() })).rejects.toEqual(
      refusal("ID_INVALID"),
    )
  })

  test("gives access through `collections` to a collection whose name it uses itself", async () => {
    const status = collection("status", shape<{ a: number }>())
    const ws = await openWorkspace({ id: "w", collections: { status }, store: memoryStore() })
    await ws.collections.status.create({ a: 1 }, { id: "x" })
    expect([ws.status.phase, ws.collections.status.get("x")?.a]).toEqual(["local", 1])
    await ws.close()
  })

  test("without a relay has the phase local, and whenStored fails with NO_RELAY", async () => {
    const ws = await opened()
    expect(ws.status).toMatchObject({ phase: "local", connected: false, pending: 0, complete: false, access: null })
    await expect(ws.whenStored()).rejects.toEqual(refusal("NO_RELAY"))
    expect(() => ws.connect()).toThrow(HeadwaterError)
    await ws.close()
    await expect(ws.whenStored()).rejects.toEqual(refusal("CLOSED"))
    await expect(ws.notes.create({ title: "T" })).rejects.toEqual(refusal("CLOSED"))
    expect(() => ws.connect()).toThrow(HeadwaterError)
  })

  test("makes ids of version 7, which sort by time, or the app's own", async () => {
    const ws = await opened()
    expect(ws.notes.newId()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const own = await openWorkspace({ id: "v", collections: { notes }, store: memoryStore(), idFactory: () => "mine" })
    expect((await own.notes.create({ title: "T" })).id).toBe("mine")
    await own.close()
  })

  test("works when its functions are destructured", async () => {
    const { notes: bound, onStatus, close } = await opened()
    const { create, update, get } = bound
    const seen: number[] = []
    onStatus((status) => seen.push(status.pending))
    const { id } = await create({ title: "T" })
    await update(id, (draft) => void (draft.title = "U"))
    expect(get(id)?.title).toBe("U")
    expect(seen.length).toBeGreaterThan(0)
    await close()
  })
})

test("a second workspace of one id on a relay connection is refused, and the first goes on", async () => {
  const relay = relayConnection({ url: "ws://127.0.0.1:9" })
  const options = { id: "w", collections: { notes }, relay }
  const one = await openWorkspace({ ...options, store: memoryStore() })
  const store = memoryStore()
  await expect(openWorkspace({ ...options, store })).rejects.toMatchObject({
    code: "STORE_IN_USE",
    message: expect.stringContaining("this relay connection"),
  })
  await one.notes.create({ title: "T" })
  await one.close()
  const two = await openWorkspace({ ...options, store }) // the refused opening has released its claim
  await two.close()
  await relay.close()
})
