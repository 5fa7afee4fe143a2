/** Entities on a screen: edits show at once, are saved behind that, and survive what happens to the disk. */
import { collection, type HeadwaterError, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { at, first, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { ack, level, pushed, relay, useToldWorkspace, ws } from "../support/told.ts"
import { untilPasses } from "../support/until.ts"

useToldWorkspace()
beforeAll(() => loadAutomerge())

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })

/** A workspace without a relay on a store whose commits fail as long as `disk.fails` is true. */
async function onDisk() {
  const store = memoryStore()
  const disk = { fails: false, commits: 0, hold: undefined as Promise<void> | undefined }
  const { commit } = store
  store.commit = async (...writes) => {
    disk.commits++
    const { fails } = disk
    await disk.hold
    if (fails) throw new Error("the disk is full")
    return commit(...writes)
  }
  const open = () => openWorkspace({ id: "w", collections: { notes }, store })
  const ws = await open()
  await ws.notes.create({ title: "T", body: "abc" }, { id: "a" })
  return { ws, disk, open }
}

test("an edit shows before it returns, and is saved behind that", async () => {
  const { ws, open } = await onDisk()
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  handle.update((draft) => void (draft.title = "U"))
  body.splice(3, 0, "d")
  expect([handle.row.title, body.value, handle.row.body]).toEqual(["U", "abcd", "abcd"])
  expect(ws.notes.get("a")).toMatchObject({ title: "T", body: "abc" })
  await handle.saved()
  expect(ws.notes.get("a")).toMatchObject({ title: "U", body: "abcd" })
  expect(handle.text("body")).toBe(body)
  await handle.close()
  await ws.close()
  const again = await open()
  expect(again.notes.get("a")).toMatchObject({ title: "U", body: "abcd" })
  await again.close()
})

test("the first key begins a commit, and the keys that are typed meanwhile are saved by the next one", async () => {
  const { ws, disk } = await onDisk()
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  const before = disk.commits
  let go = () => {}
  disk.hold = new Promise((resolve) => (go = resolve))
  body.splice(3, 0, "0")
  await untilPasses(() => expect(disk.commits - before).toBe(1))
  for (const letter of "123456789") body.splice(body.value.length, 0, letter)
  go()
  await handle.saved()
  expect(disk.commits - before).toBe(2)
  expect(ws.notes.get("a")?.body).toBe("abc0123456789")
  await ws.close()
})

test("what is typed while the disk fails stays on the screen, and is saved once when the disk is back", async () => {
  const { ws, disk, open } = await onDisk()
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  disk.fails = true
  body.splice(3, 0, "d")
  await expect(handle.saved()).rejects.toMatchObject({ code: "STORE_FAILED" })
  body.splice(4, 0, "e")
  expect([body.value, handle.unsaved]).toEqual(["abcde", []])
  disk.fails = false
  await handle.saved()
  body.splice(5, 0, "f")
  await handle.saved()
  expect(ws.notes.get("a")?.body).toBe("abcdef")
  await ws.close()
  const again = await open()
  expect(await again.notes.read("a")).toMatchObject({ body: "abcdef" })
  await again.close()
})

test("what is typed while the disk fails is saved some seconds later, without another key", async () => {
  level(1)
  await ws.notes.create({ title: "T", body: "abc" }, { id: "a" })
  const handle = await ws.notes.open("a")
  await relay.pass(100)
  const replica = replicaOf(ws)
  const { commit } = replica.store
  replica.store.commit = () => Promise.reject(new Error("the disk is full"))
  handle.text("body").splice(3, 0, "d")
  await relay.pass(100)
  replica.store.commit = commit
  expect(ws.notes.get("a")?.body).toBe("abc")
  await relay.pass(10_000)
  expect(ws.notes.get("a")?.body).toBe("abcd")
  await handle.saved()
})

test("edits of another device show as their splices, so that a caret keeps its place", async () => {
  level(1)
  const before = "first line\nmiddle here\nlast line"
  await ws.notes.create({ body: before }, { id: "a" })
  await relay.settle()
  const made = pushed()
  ack(made, 2)
  await relay.pass(100)

  const relayOfOther = new ScriptedRelay()
  const options = {
    id: w,
    collections: { notes },
    store: memoryStore(),
    relay: { url: "ws://o" },
    env: relayOfOther.env,
  }
  const other = await openWorkspace(options)
  await relayOfOther.settle()
  const items = made.entries.map((entry) => ({ entry: { ...entry, by: "ann" } }))
  relayOfOther.say({ t: "entries", w, items, cursor: at(2), level: true, ...first })
  await relayOfOther.pass(100)
  await other.notes.update("a", (_, edit) => {
    edit.splice("body", 0, 0, "# ")
    edit.splice("body", `# ${before}`.length, 0, "\nbye")
  })
  await relayOfOther.pass(100)
  const theirs = relayOfOther.last("push").entries.map((entry) => ({ entry: { ...entry, by: "bob" } }))
  await other.close()

  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  const heard: unknown[] = []
  body.subscribe((splices, from) => heard.push([from, splices]))
  body.splice("first line\nmiddle".length, 0, " X")
  relay.say({ t: "entries", w, items: theirs, cursor: at(3), level: true })
  await relay.pass(100)
  expect(body.value).toBe("# first line\nmiddle X here\nlast line\nbye")
  expect(heard).toEqual([
    ["here", [{ at: 17, remove: 0, insert: " X" }]],
    [
      "relay",
      [
        { at: 0, remove: 0, insert: "# " },
        { at: 36, remove: 0, insert: "\nbye" },
      ],
    ],
  ])
  expect(ws.notes.get("a")?.body).toBe(body.value)
})

test("what is typed by a principal that may not write any more leaves the screen, and is kept", async () => {
  level(1)
  await ws.notes.create({ body: "abc" }, { id: "a" })
  await relay.settle()
  ack(pushed(), 2)
  await relay.pass(100)
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  relay.say({ t: "notice", w, code: "FORBIDDEN", access: "read" })
  body.splice(3, 0, "d") // before the notice is read
  const saved = handle.saved()
  saved.catch(() => {})
  await relay.pass(100)
  await expect(saved).rejects.toMatchObject({ code: "READ_ONLY" })
  expect([body.value, ws.notes.get("a")?.body]).toEqual(["abc", "abc"])
  expect(handle.unsaved).toMatchObject([{ error: { code: "READ_ONLY" }, fields: { body: "abcd" } }])
  expect(() => body.splice(3, 0, "d")).toThrow(expect.objectContaining({ code: "READ_ONLY" }))
})

test("two handles of one entity show one document, and each hears what the other types", async () => {
  const { ws } = await onDisk()
  const [one, two] = await Promise.all([ws.notes.open("a"), ws.notes.open("a")])
  const heard: unknown[] = []
  two.text("body").subscribe((splices, from) => heard.push([from, splices]))
  one.text("body").splice(0, 1, "x")
  expect([two.text("body").value, heard]).toEqual(["xbc", [["here", [{ at: 0, remove: 1, insert: "x" }]]]])
  await one.close()
  expect(() => one.update(() => {})).toThrow(expect.objectContaining({ code: "CLOSED" }))
  two.text("body").splice(0, 0, "y")
  await two.close()
  expect(ws.notes.get("a")?.body).toBe("yxbc")
  await ws.close()
})

test("who subscribes inside a subscriber is not told of an edit that it sees already", async () => {
  const { ws } = await onDisk()
  const handle = await ws.notes.open("a")
  const body = handle.text("body")
  let copy = ""
  const unsubscribe = body.subscribe(() => {
    unsubscribe()
    body.splice(0, 0, "2") // nobody has heard of this edit when the next line subscribes
    copy = body.value
    body.subscribe((splices) => {
      for (const { at, remove, insert } of splices) copy = copy.slice(0, at) + insert + copy.slice(at + remove)
    })
  })
  body.subscribe(() => {})
  body.splice(0, 0, "1")
  body.splice(0, 0, "3")
  expect([body.value, copy]).toEqual(["321abc", "321abc"])
  await handle.close()
  await ws.close()
})

test("a note that is deleted while its last key is being saved stays deleted", async () => {
  const { ws } = await onDisk()
  const handle = await ws.notes.open("a")
  handle.text("body").splice(0, 0, "x")
  handle.text("body").splice(0, 0, "y")
  await ws.notes.delete("a")
  await handle.saved()
  expect([ws.notes.get("a"), (await ws.notes.read("a"))?.body]).toEqual([undefined, "yxabc"])
  await ws.close()
})

test("a workspace that is closed while the disk fails keeps what was typed in unsaved", async () => {
  const { ws, disk } = await onDisk()
  const handle = await ws.notes.open("a")
  disk.fails = true
  handle.text("body").splice(3, 0, "d")
  await ws.close()
  expect(handle.unsaved).toMatchObject([{ error: { code: "STORE_FAILED" }, fields: { body: "abcd" } }])
  await expect(ws.notes.open("a")).rejects.toMatchObject({ code: "CLOSED" })
})

test("a handle that is opened while another one closes has a document of its own time", async () => {
  const { ws, disk } = await onDisk()
  const one = await ws.notes.open("a")
  let release = () => {}
  disk.hold = new Promise((resolve) => {
    release = resolve
  })
  one.text("body").splice(0, 0, "x")
  const closing = one.close()
  const two = await Promise.race([ws.notes.open("a"), closing.then(() => undefined)])
  two?.text("body").splice(0, 0, "y")
  const closingTwo = two?.close()
  release()
  disk.hold = undefined
  await Promise.all([closing, closingTwo])
  const three = await ws.notes.open("a")
  three.text("body").splice(0, 0, "z")
  await three.close()
  expect(ws.notes.get("a")?.body).toBe("zyxabc")
  await ws.close()
})

test("one principal's unsaved edits are not saved as another's", async () => {
  level(1)
  await ws.notes.create({ body: "abc" }, { id: "a" })
  await relay.settle()
  ack(pushed(), 2)
  await relay.pass(100)
  const handle = await ws.notes.open("a")
  const replica = replicaOf(ws)
  const { commit } = replica.store
  replica.store.commit = () => Promise.reject(new Error("the disk is full"))
  handle.text("body").splice(3, 0, "d")
  await relay.pass(100)
  replica.store.commit = commit
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first, principal: "bob" })
  await relay.pass(100)
  handle.text("body").splice(4, 0, "e")
  await relay.pass(10_000)
  const owed = replica.outbox.of("a").map(({ principal }) => principal)
  expect([owed, handle.text("body").value]).toEqual([["ann", "bob"], "abcde"])
})

test("an actor from before the first connection writes for nobody but the first principal", async () => {
  await ws.notes.create({ body: "abc" }, { id: "a" })
  const handle = await ws.notes.open("a")
  handle.text("body").splice(3, 0, "d") // no principal has connected yet
  await handle.saved()
  level(1)
  await relay.pass(100)
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await relay.pass(100)
  handle.text("body").splice(4, 0, "e")
  await handle.saved()
  const { changes } = (await replicaOf(ws).step([], (tx) => replicaOf(ws).documents.live("a", tx)))!
  const edits = [...changes.values()].slice(-2)
  expect(new Set(edits.map(({ actor }) => actor)).size).toBe(2)
})

test("saved is not rejected by a commit that had begun to fail before it was called", async () => {
  const { ws, disk } = await onDisk()
  const handle = await ws.notes.open("a")
  let go = () => {}
  disk.hold = new Promise((resolve) => (go = resolve))
  disk.fails = true
  handle.text("body").splice(3, 0, "d")
  await untilPasses(() => expect(disk.commits).toBe(2)) // this commit will fail
  handle.text("body").splice(4, 0, "e")
  const saved = handle.saved()
  const failed = saved.catch((error: HeadwaterError) => error.code)
  disk.fails = false
  go()
  expect(await failed).toBe(undefined)
  expect(ws.notes.get("a")?.body).toBe("abcde")
  await ws.close()
})

test("an id that cannot be one is refused", async () => {
  const { ws } = await onDisk()
  await expect(ws.notes.open("no id")).rejects.toMatchObject({ code: "ID_INVALID" })
  await ws.close()
})

test("closing the workspace saves what is on a screen", async () => {
  const { ws, open } = await onDisk()
  const handle = await ws.notes.open("a")
  handle.text("body").splice(3, 0, "d")
  await ws.close()
  const again = await open()
  expect(again.notes.get("a")?.body).toBe("abcd")
  await again.close()
})

test("an entity that is not there cannot be opened, and a deleted one is not edited", async () => {
  const { ws } = await onDisk()
  await expect(ws.notes.open("b")).rejects.toMatchObject({ code: "ENTITY_NOT_FOUND" })
  const handle = await ws.notes.open("a")
  await ws.notes.delete("a")
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(handle.deleted).toBe(true)
  expect(() => handle.text("body").splice(0, 0, "x")).toThrow(expect.objectContaining({ code: "ENTITY_DELETED" }))
  await ws.notes.restore("a")
  await new Promise((resolve) => setTimeout(resolve, 20))
  handle.text("body").splice(0, 0, "x")
  await handle.close()
  expect(ws.notes.get("a")?.body).toBe("xabc")
  await ws.close()
})

test("a row of a handle is the same object until something changes", async () => {
  const { ws } = await onDisk()
  const handle = await ws.notes.open("a")
  let calls = 0
  handle.subscribe(() => calls++)
  const { row } = handle
  expect(handle.row).toBe(row)
  handle.update(() => {})
  await handle.saved()
  expect([handle.row === row, calls]).toEqual([true, 0])
  handle.update((draft) => void (draft.title = "U"))
  await handle.saved()
  expect(handle.row).toMatchObject({ title: "U", $sync: "saved" })
  expect(calls).toBeGreaterThan(0)
  await ws.close()
})
