/** A bug that was found by reviewing the code. `beforeAll` runs the scenario. */
import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, describe, expect, it } from "vitest"

const notes = collection("notes", shape<{ title?: string }>())

describe("a subscriber that unsubscribes and subscribes again whenever it is called", () => {
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

  // A listener that subscribes during a call must not be called again for the same commit.
  it("is called once for a commit", () => {
    expect(calls).toBe(1)
  })
})
