import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, type HeadwaterError, openWorkspace, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { createRelay } from "headwater-relay"
import { afterEach, describe, expect, test } from "vitest"

// Tests what apps rely on: the names of the functions, the form of ids, and which arguments are accepted.
const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
const opened = async (options: object = {}): Promise<Workspace<{ notes: typeof notes }>> => {
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), ...options })
  ends.push(() => ws.close())
  return ws
}
const refusal = (code: string) => expect.objectContaining({ code })

test("every function works without its object, as after destructuring", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-contract-"))
  const relay = await createRelay({ port: 0, data: folder })
  ends.push(async () => {
    await relay.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const ws = await opened({ relay: { url: relay.url } })
  const { onStatus, whenStored, whenSynced, connect, disconnect, close } = ws
  const { newId, get, all, read, subscribe, create, update, delete: remove, restore } = ws.notes
  const heard: string[] = []
  const [offRows, offStatus] = [subscribe(() => heard.push("rows")), onStatus(() => heard.push("status"))]
  const { id } = await create({ title: "T", body: "b" }, { id: newId() })
  await update(id, (draft, { splice }) => {
    draft.title = "U"
    splice("body", 1, 0, "c")
  })
  expect([get(id)?.title, all().length, (await read(id))?.body]).toEqual(["U", 1, "bc"])
  await remove(id)
  expect(get(id)).toBeUndefined()
  await restore(id)
  await whenStored()
  await whenSynced()
  expect(ws.status).toMatchObject({ phase: "live", pending: 0 })
  disconnect()
  expect(ws.status.phase).toBe("offline")
  connect()
  await whenSynced()
  expect(new Set(heard)).toEqual(new Set(["rows", "status"]))
  offRows()
  offStatus()
  const before = heard.length
  await update(id, (draft) => void (draft.title = "V"))
  expect(heard.length).toBe(before)
  const dispose = ws[Symbol.asyncDispose]
  await close()
  await dispose.call(ws)
  await expect(create({})).rejects.toEqual(refusal("CLOSED"))
})

describe("an id", () => {
  const longest = "a-Z_9".padEnd(64, "x")
  const wrong = [`${longest}x`, "", "a b", "a/b", "é", "a\n", "a.b", 5, null]

  test("of an entity has 1 to 64 of the characters A-Z, a-z, 0-9, _ and -", async () => {
    const ws = await opened()
    expect((await ws.notes.create({ title: "T" }, { id: longest })).id).toBe(longest)
    expect((await ws.notes.create({ title: "T" }, { id: "a" })).id).toBe("a")
    const { pending } = ws.status
    for (const id of wrong.filter((id) => id !== null)) {
      await expect(ws.notes.create({ title: "T" }, { id: id as string })).rejects.toEqual(refusal("ID_INVALID"))
    }
    expect([ws.notes.all().length, ws.status.pending]).toEqual([2, pending])
  })

  test("of a workspace has the same form", async () => {
    expect((await opened({ id: longest })).id).toBe(longest)
    for (const id of wrong) await expect(opened({ id })).rejects.toEqual(refusal("ID_INVALID"))
  })

  test("of a collection has the same form", () => {
    expect(collection(longest, undefined).name).toBe(longest)
    for (const name of wrong.filter((name) => typeof name === "string")) {
      expect(() => collection(name, undefined)).toThrow(refusal("ID_INVALID"))
    }
  })

  test("from the app's idFactory is validated", async () => {
    const made = [...wrong, "good"]
    const ws = await opened({ idFactory: () => made.shift() })
    for (const _ of wrong) await expect(ws.notes.create({ title: "T" })).rejects.toEqual(refusal("ID_INVALID"))
    expect((await ws.notes.create({ title: "T" })).id).toBe("good")
    expect(ws.notes.all()).toHaveLength(1)
  })
})

test("the validator never sees an id, nor any metadata", async () => {
  const seen: unknown[] = []
  const spy = {
    "~standard": {
      version: 1 as const,
      vendor: "spy",
      validate: (value: unknown) => {
        seen.push(...Reflect.ownKeys(value as object))
        return { value: value as { title?: string; body?: string } }
      },
    },
  }
  const watched = collection("watched", spy, { fields: { body: text() } })
  const ws = await openWorkspace({ id: "w", collections: { watched }, store: memoryStore() })
  ends.push(() => ws.close())
  const { id } = await ws.watched.create({ title: "T", body: "b" }, { id: "a" })
  const given: string[] = []
  await ws.watched.update(id, (draft) => {
    given.push(...Object.keys(draft))
    draft.title = "U"
  })
  await ws.watched.create({ title: "T" })
  await expect(ws.watched.create({ id: "b" } as object)).rejects.toEqual(refusal("SCHEMA_ISSUES"))
  expect(new Set(seen)).toEqual(new Set(["title", "body"]))
  expect(given.sort()).toEqual(["body", "title"])
})

describe("a store", () => {
  test("is any object with the four functions, also one of a class", async () => {
    const real = memoryStore()
    class Mine {
      claim(...args: Parameters<typeof real.claim>) {
        return real.claim(...args)
      }
      get(...args: Parameters<typeof real.get>) {
        return real.get(...args)
      }
      list(...args: Parameters<typeof real.list>) {
        return real.list(...args)
      }
      commit(...args: Parameters<typeof real.commit>) {
        return real.commit(...args)
      }
    }
    const store: object = new Mine()
    const ws = await opened({ store })
    await ws.notes.create({ title: "T" }, { id: "a" })
    await ws.close()
    expect((await opened({ store: real })).notes.get("a")?.title).toBe("T")
  })

  test.each(["claim", "get", "list", "commit"])("without %s is refused by openWorkspace", async (missing) => {
    const store = { ...memoryStore(), [missing]: undefined }
    const refused = await openWorkspace({ id: "w", collections: { notes }, store }).catch((error: unknown) => error)
    expect(refused).toEqual(refusal("STORE_FAILED"))
    expect((refused as HeadwaterError).message).toContain(missing)
  })

  test("that is undefined is refused, too", async () => {
    await expect(opened({ store: undefined })).rejects.toEqual(refusal("STORE_FAILED"))
  })
})
