/** A fault that a reading found: what is played in `beforeAll` must come to its end. */
import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, describe, expect, it } from "vitest"

const notes = collection("notes", shape<{ title?: string }>())

describe("a subscriber that subscribes anew whenever it is called", () => {
  let calls = 0

  beforeAll(async () => {
    const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore() })
    let unsubscribe = () => {}
    const listener = () => {
      unsubscribe()
      if (++calls < 100) unsubscribe = ws.notes.subscribe(listener)
    }
    unsubscribe = ws.notes.subscribe(listener)
    await ws.notes.create({ title: "a" })
    await ws.close()
  })

  // Subscribers are told from the set that they are in, not from a copy of it.
  it("is called once for a commit", () => {
    expect(calls).toBe(1)
  })
})
