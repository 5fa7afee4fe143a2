import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, expect, test, vi } from "vitest"
import { startRelay } from "../support/relay.ts"

const notes = collection("notes", shape<{ title: string; tags: string[]; body: string }>(), {
  fields: { body: text() },
})
const open = (url: string) => openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay: { url } })

afterEach(() => void vi.restoreAllMocks())

// This file imports nothing of Automerge, so that only the library could compile WebAssembly.
test("notes are created on one device and shown on another one, and neither compiles WebAssembly", async () => {
  const compiling = (["compile", "instantiate", "Module", "Instance"] as const).map((name) =>
    vi.spyOn(WebAssembly, name),
  )
  await using relay = await startRelay()
  const writer = await open(relay.url)
  const bodies = ["", "short", "é😀".repeat(40), "long ".repeat(2000)]
  for (let i = 0; i < 40; i++) {
    await writer.notes.create({ title: `note ${i}`, tags: ["a", `b${i}`], body: bodies[i % 4] as string })
  }
  await writer.whenStored()
  const reader = await open(relay.url)
  await reader.whenSynced()
  await vi.waitFor(() => expect(reader.status.phase).toBe("live"))
  const shown = (ws: typeof reader) =>
    ws.notes.all().map(({ id, title, tags, body, $long, $stale }) => [id, title, tags, body, $long, $stale])
  expect(reader.notes.all()).toHaveLength(40)
  expect(shown(reader)).toEqual(shown(writer))
  await reader.close()
  await writer.close()
  for (const spy of compiling) expect(spy).not.toHaveBeenCalled()
})
