import { collection, openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, describe, expect, test, vi } from "vitest"
import { systemEnv } from "../../src/sync/system.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// The events of a page that the library listens to.
afterEach(() => vi.unstubAllGlobals())

class Page extends EventTarget {
  visibilityState = "visible"
}
const happen = (target: EventTarget, ...names: string[]) => {
  for (const name of names) target.dispatchEvent(new Event(name))
}

describe("on a page", () => {
  const stub = () => {
    const [window, document] = [new EventTarget(), new Page()]
    vi.stubGlobal("window", window)
    vi.stubGlobal("document", document)
    return { window, document }
  }

  test("the network and the page coming back are heard of, until nobody listens", async () => {
    const { window, document } = stub()
    let woken = 0
    const off = systemEnv.onWake(() => woken++)
    happen(window, "online")
    expect(woken).toBe(1)
    happen(window, "pageshow")
    expect(woken).toBe(2)
    happen(document, "visibilitychange")
    expect(woken).toBe(3)
    document.visibilityState = "hidden"
    happen(document, "visibilitychange")
    happen(window, "offline", "pagehide")
    expect(woken).toBe(3)
    document.visibilityState = "visible"
    off()
    happen(window, "online", "pageshow")
    happen(document, "visibilitychange")
    expect(woken).toBe(3)
  })

  test.each(["ws://127.0.0.1:9/", "ws"])(
    "a dial that the page's policy forbids ends at once, reported as of %s",
    (uri) => {
      const page = new EventTarget()
      vi.stubGlobal("addEventListener", page.addEventListener.bind(page))
      vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page))
      const violate = (effectiveDirective: string, blockedURI: string) => {
        const event = new Event("securitypolicyviolation")
        page.dispatchEvent(Object.assign(event, { effectiveDirective, blockedURI }))
      }
      const socket = systemEnv.dial("ws://127.0.0.1:9", [])
      const ends: string[] = []
      socket.onclose = (code, reason) => ends.push(`${code} ${reason}`)
      violate("img-src", uri)
      violate("connect-src", "https://elsewhere.example/")
      expect(ends).toEqual([])
      violate("connect-src", uri)
      violate("connect-src", uri)
      expect(ends).toEqual([expect.stringMatching(/^1006 .*Content-Security-Policy.*connect-src/)])
      socket.close()
    },
  )

  test("a workspace that waits for its relay dials it when they do, and lets go of the page when it is closed", async () => {
    const { window, document } = stub()
    const listened = [window, document].flatMap((target) => [
      vi.spyOn(target, "addEventListener"),
      vi.spyOn(target, "removeEventListener"),
    ])
    const relay = new ScriptedRelay()
    relay.up = false
    const ws = await openWorkspace({
      id: "w",
      collections: { notes: collection("notes", undefined) },
      store: memoryStore(),
      relay: { url: "ws://relay" },
      env: { ...relay.env, onWake: systemEnv.onWake },
    })
    await relay.settle()
    expect([ws.status.phase, relay.dials.length]).toEqual(["offline", 1])
    happen(window, "online")
    await relay.settle()
    expect(relay.dials.length).toBe(2)
    await ws.close()
    expect(listened.map(({ mock }) => mock.calls.length)).toEqual([2, 2, 1, 1])
  })
})

test("without a page nothing is listened to, and nothing breaks", async () => {
  expect(globalThis.window).toBeUndefined()
  systemEnv.onWake(() => {})()
})
