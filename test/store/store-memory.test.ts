import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, test } from "vitest"
import { memoryStore } from "../../src/store/memory.ts"

describe("memoryStore", () => {
  test("keeps the order of commits, however long each one takes", async () => {
    let delay = 10
    const store = memoryStore({ step: (step) => (step === "commit" ? sleep(delay--) : undefined) })
    await store.claim("w")
    const commits = Array.from({ length: 8 }, (_, i) =>
      store.commit([[["w", "a"], `${i}`]], { expect: [[["w", "a"], i === 0 ? undefined : `${i - 1}`]] }),
    )
    await Promise.all(commits)
    expect(await store.get(["w", "a"])).toBe("7")
  })

  test("does nothing and settles no promise after it has crashed", async () => {
    let go = () => {}
    const gate = new Promise<void>((resolve) => (go = resolve))
    const store = memoryStore({ step: (step) => (step === "commit" ? gate : undefined) })
    await store.claim("w")
    const heard: string[] = []
    const say = (what: string) => () => void heard.push(what)
    void store.commit([[["w", "a"], "late"]]).then(say("committed"), say("failed"))
    await sleep(1)

    const next = store.crash({})
    const release = await next.claim("w")
    void store.get(["w", "a"]).then(say("read"), say("failed"))
    go()
    await sleep(1)
    expect(heard).toEqual([])
    expect(await next.get(["w", "a"])).toBeUndefined()
    await next.commit([[["w", "a"], "next"]])
    expect(await next.get(["w", "a"])).toBe("next")
    await release()
  })
})
