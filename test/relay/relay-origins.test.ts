import { describe, expect, it } from "vitest"
import { Origins } from "../../relay/serve/origins.ts"
import { startRelay } from "../support/relay.ts"
import { Wire } from "../support/wire.ts"

/** Whether a page of this origin can open a socket. */
async function connects(url: string, origin: string): Promise<boolean> {
  try {
    const wire = await Wire.dial(url, { origin })
    wire.close()
    return true
  } catch {
    return false
  }
}

describe("an upgrade", () => {
  it.each([
    ["https://notes.example/", "https://notes.example"],
    ["https://Notes.example:443", "https://notes.example"],
    ["http://notes.example:8080/app?x#y", "http://notes.example:8080"],
    ["app://obsidian.md/", "app://obsidian.md"],
    ["file://", "file://"],
    ["file:///", "file://"],
    ["null", "null"],
  ])("lets a page connect when its origin is allowed in another spelling: %s", async (origin, sent) => {
    await using relay = await startRelay({ origins: [origin] })
    expect(await connects(relay.url, sent)).toBe(true)
    expect(await connects(relay.url, "https://other.example")).toBe(false)
  })

  it.each(["notes.example", "https//x", "", "https:// x"])("cannot be allowed for what is no origin: %j", (origin) => {
    expect(() => new Origins([origin], () => {})).toThrow(expect.objectContaining({ code: "URL_INVALID" }))
  })

  it.each([
    ["wss://notes.example", "the page's own begins with https://"],
    ["ws://localhost:8080", "the page's own begins with http://"],
    ["WSS://notes.example/", "the page's own begins with https://"],
    ["https://*.notes.example", "a host may have no *"],
    ["app://*", "a host may have no *"],
    ["https://a.example,https://b.example", "name each origin by itself"],
    ["https://a.example, https://b.example", "name each origin by itself"],
    ["https://a.example/x,y", "name each origin by itself"],
  ])("cannot be allowed for an origin that no browser ever sends: %s", (origin, why) => {
    const error = { code: "URL_INVALID", message: expect.stringContaining(why) }
    expect(() => new Origins([origin], () => {})).toThrow(expect.objectContaining(error))
  })

  it.each(["tauri://localhost", "http://tauri.localhost", "capacitor://localhost", "https://localhost"])(
    "lets the page of a packaged app connect: %s",
    async (origin) => {
      await using relay = await startRelay()
      expect(await connects(relay.url, origin)).toBe(true)
    },
  )

  it("of a refused origin is reported once, with the option that allows it, and for 100 origins at most", () => {
    const lines: unknown[] = []
    const origins = new Origins([], (level, event, details) => lines.push({ level, event, ...details }))
    const refused = (origin: string) => expect(origins.allows(origin)).toBe(false)
    for (let times = 0; times < 3; times++) refused("app://obsidian.md")
    const line = { level: "warn", event: "origin refused", origin: "app://obsidian.md" }
    expect(lines).toEqual([{ ...line, allow: "--origin app://obsidian.md" }])
    for (let i = 0; i < 1000; i++) refused(`https://${i}.example`)
    expect(lines).toHaveLength(101)
    expect(lines.at(-1)).toEqual({ level: "warn", event: "more origins refused", named: 100 })
    refused("x".repeat(10_000))
    expect(lines).toHaveLength(101)
  })
})
