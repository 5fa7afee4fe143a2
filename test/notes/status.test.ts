import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { openWorkspace, type Status } from "headwater"
import { memoryStore } from "headwater/memory"
import { createRelay } from "headwater-relay"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { describe as inWords } from "../../examples/notes/connection.ts"
import { notes as definition } from "../../examples/notes/notes.ts"
import { countUnsent } from "../../examples/notes/unsent.ts"
import { untilPasses } from "../support/until.ts"

const status = (of: Partial<Status>) => ({ phase: "live", pending: 0, progress: null, error: null, ...of }) as Status

describe("the status in words", () => {
  it.each([
    [{}, 0, "Online · all stored"],
    [{ pending: 9 }, 1, "Online · 1 note to send"],
    [{ pending: 9 }, 3, "Online · 3 notes to send"],
    [{ pending: 2, phase: "offline" }, undefined, "Offline · changes to send"],
    [{ phase: "syncing", progress: { done: 50, total: 200, toShow: 7 } }, 0, "Syncing 25 %"],
    [{ phase: "syncing", progress: { done: 200, total: 200, toShow: 2000 } }, 0, "Syncing · 2000 notes to show"],
    [
      { phase: "syncing", progress: { done: 0, total: 0, toShow: 1 }, pending: 3 },
      2,
      "Syncing · 1 note to show · 2 notes to send",
    ],
    [{ phase: "offline", progress: { done: 0, total: 0, toShow: 3 } }, 0, "Offline · 3 notes to show"],
    [{ progress: { done: 200, total: 200, toShow: 0 } }, 0, "Syncing"],
  ] as const)("of %j with %s unsent notes", (of, unsent, words) => {
    expect(inWords(status(of), false, unsent)).toBe(words)
  })

  it("says first that something is not saved", () => {
    expect(inWords(status({}), true, 0)).toBe("Online · not saved yet")
  })
})

describe("the number of unsent notes", () => {
  let folder: string
  const open = () => openWorkspace({ id: "notes", collections: { notes: definition }, store: memoryStore() })
  let ws: Awaited<ReturnType<typeof open>>
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "headwater-unsent-"))
    ws = await open()
  })
  afterEach(async () => {
    await ws.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it("leaves out a deletion that was sent, even if other changes are still unsent", async () => {
    let changes = 0
    const unsent = countUnsent(ws.notes, () => changes++)
    const count = () => unsent(ws.status.pending)
    for (const id of ["n1", "n2", "n3"]) await ws.notes.create({ title: id, body: "" }, { id })
    const relay = await createRelay({ port: 0, data: folder })
    ws.connect({ url: relay.url })
    await ws.whenStored()
    for (const id of ["n2", "n3"]) await ws.notes.delete(id)
    expect(count()).toBe(2)
    await ws.whenStored()
    ws.disconnect()
    for (let n = 0; n < 5; n++) await ws.notes.update("n1", (draft) => void (draft.title = `n1 ${n}`))
    expect(ws.status.pending).toBe(5)
    await untilPasses(() => expect([count(), changes]).toEqual([1, 2]))
    // a deletion that is not sent stays counted
    await ws.notes.restore("n3")
    await ws.notes.delete("n3")
    for (let n = 0; n < 5; n++) await ws.notes.update("n1", (draft) => void (draft.title = `again ${n}`))
    expect(count()).toBe(2)
    await relay.close()
  })

  it("counts notes, not changes, and counts deleted notes, too", async () => {
    const unsent = countUnsent(ws.notes)
    const count = () => unsent(ws.status.pending)
    expect(count()).toBe(0)
    for (const id of ["n1", "n2", "n3"]) await ws.notes.create({ title: id, body: "" }, { id })
    for (let n = 0; n < 6; n++) await ws.notes.update("n1", (draft) => void (draft.title = `n1 ${n}`))
    expect(ws.status.pending).toBeGreaterThan(9)
    expect(count()).toBe(3)
    await ws.notes.delete("n3")
    expect(count()).toBe(3)
    await ws.notes.restore("n3")
    expect(count()).toBe(3)
    expect(countUnsent(ws.notes)(ws.status.pending)).toBe(3) // a new count, as after a reload

    const relay = await createRelay({ port: 0, data: folder })
    ws.connect({ url: relay.url })
    await ws.whenStored()
    await untilPasses(() => expect([ws.status.pending, count()]).toEqual([0, 0]))
    ws.disconnect()
    await ws.notes.delete("n3")
    expect(count()).toBe(1)
    await ws.notes.update("n1", (draft) => void (draft.title = "again"))
    expect(count()).toBe(2)
    // a deleted note has no row, so a page that was reloaded does not know how many notes were deleted
    await ws.notes.delete("n1")
    expect(countUnsent(ws.notes)(ws.status.pending)).toBe(undefined)
    await relay.close()
  })
})
