import { runInNewContext } from "node:vm"
import { collection, openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, describe, expect, test, vi } from "vitest"
import { systemEnv } from "../../src/sync/system.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// Tests the events of a page to which the library listens.
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

  test("the listener hears when the network or the page comes back, until it is removed", async () => {
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
    "a dial that the page's security policy forbids ends at once when the browser reports %s",
    (uri) => {
      const page = new EventTarget()
      vi.stubGlobal("addEventListener", page.addEventListener.bind(page))
      vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page))
      const violate = (effectiveDirective: string, blockedURI: string, disposition = "enforce") => {
        const event = new Event("securitypolicyviolation")
        page.dispatchEvent(Object.assign(event, { effectiveDirective, blockedURI, disposition }))
      }
      const socket = systemEnv.dial("ws://127.0.0.1:9", [])
      const ends: string[] = []
      socket.onclose = (code, reason) => ends.push(`${code} ${reason}`)
      violate("connect-src", uri, "report") // a policy that only reports does not prevent the dial
      violate("img-src", uri)
      violate("connect-src", "https://elsewhere.example/")
      expect(ends).toEqual([])
      violate("connect-src", uri)
      violate("connect-src", uri)
      expect(ends).toEqual([expect.stringMatching(/^1006 .*Content-Security-Policy.*connect-src/)])
      socket.close()
    },
  )

  test("a workspace dials its relay when the network comes back, and listens to nothing once closed", async () => {
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

test("without a page the library listens to nothing, and nothing breaks", async () => {
  expect(globalThis.window).toBeUndefined()
  systemEnv.onWake(() => {})()
})

test("a frame is received whose bytes were made in another realm, as the socket of a test's page makes them", async () => {
  class WebSocket {
    readonly onmessage = (_: { data: unknown }): void => {}
    constructor() {
      queueMicrotask(() => this.onmessage({ data: runInNewContext("new Uint8Array([1, 2, 3]).buffer") }))
    }
  }
  vi.resetModules()
  vi.doMock("#websocket", () => ({ WebSocket, causeOf: () => "" }))
  const frames: Uint8Array[] = []
  const { systemEnv: env } = await import("../../src/sync/system.ts")
  env.dial("ws://relay", []).onmessage = (frame) => frames.push(frame)
  await Promise.resolve()
  vi.doUnmock("#websocket")
  expect(frames).toEqual([Uint8Array.of(1, 2, 3)])
})
