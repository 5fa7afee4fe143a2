import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { collection, openWorkspace, type Relay, type RelayOptions, relayConnection, shape, type Token } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { WebSocketServer } from "ws"
import type { Env } from "../../src/base/env.ts"
import { Connection } from "../../src/sync/connection/relay-connection.ts"
import { type ClientMessage, cursorOf, limits, type RelayMessage } from "../../src/wire/protocol.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

// Tests which relay a workspace dials, with which token, and over how many sockets (docs/protocol.md, section 1).
const notes = collection("notes", shape<{ title?: string }>())
const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const
const level = (w = "w"): RelayMessage => ({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })

interface Dialled {
  readonly url: string
  readonly protocols: readonly string[]
  closed: boolean
}
let relays: Record<string, ScriptedRelay>
let relay: ScriptedRelay
let dialled: Dialled[]
let env: Env
const open: { close(): Promise<void> }[] = []
beforeEach(() => {
  relay = new ScriptedRelay()
  relays = { "ws://relay": relay }
  dialled = []
  env = {
    ...relay.env,
    dial(url, protocols) {
      const dial: Dialled = { url, protocols, closed: false }
      dialled.push(dial)
      const socket = relays[url]!.env.dial(url, protocols)
      socket.close = () => void (dial.closed = true)
      return socket
    },
  }
})
afterEach(async () => {
  for (const { close } of open.splice(0)) await close()
})
const opened = async (to?: Relay | RelayOptions, id = "w") => {
  const ws = await openWorkspace({ id, collections: { notes }, store: memoryStore(), relay: to, env })
  open.push(ws)
  await relay.settle()
  return ws
}
const bearer = (token: string) => `bearer.${Buffer.from(token, "utf8").toString("base64url")}`

describe("a relay connection", () => {
  test("is one socket for all its workspaces, and each of these gets its own messages only", async () => {
    const shared = relayConnection({ url: "ws://relay" })
    const [one, two, three] = [await opened(shared, "one"), await opened(shared, "two"), await opened(shared, "three")]
    expect(dialled).toHaveLength(1)
    expect(relay.heard.map((message) => "w" in message && message.w)).toEqual(["one", "two", "three"])
    relay.say(level("one"), level("two"))
    await relay.settle()
    expect([one, two, three].map((ws) => ws.status.phase)).toEqual(["live", "live", "syncing"])
    await Promise.all([one, two].map((ws) => ws.notes.create({ title: "T" })))
    await relay.settle()
    expect(relay.heard.flatMap((message) => (message.t === "push" ? [message.w] : []))).toEqual(["one", "two"])
    relay.hangUp()
    expect([one, two, three].map((ws) => ws.status.phase)).toEqual(["offline", "offline", "offline"])
    await relay.pass(1000)
    expect(dialled).toHaveLength(2)
    await one.close()
    await two.close()
    expect(dialled.map(({ closed }) => closed)).toEqual([true, false])
    await three.close()
    expect(dialled.map(({ closed }) => closed)).toEqual([true, true])
  })

  test("that is being dialled when a second workspace comes is dialled once, and both are connecting", async () => {
    relay.silent = true
    const shared = relayConnection({ url: "ws://relay" })
    const [one, two] = [await opened(shared, "one"), await opened(shared, "two")]
    expect([one, two].map((ws) => ws.status.phase)).toEqual(["connecting", "connecting"])
    expect(dialled).toHaveLength(1)
  })

  test("ends for all its workspaces when it is closed", async () => {
    const shared = relayConnection({ url: "ws://relay" })
    const [one, two] = [await opened(shared, "one"), await opened(shared, "two")]
    await shared.close()
    expect(dialled.map(({ closed }) => closed)).toEqual([true])
    expect([one, two].map((ws) => ws.status.phase)).toEqual(["offline", "offline"])
    await relay.pass(10 * 60_000)
    expect(dialled).toHaveLength(1)
    expect(() => one.connect()).toThrow(expect.objectContaining({ code: "CLOSED" }))
  })

  test("closes, and tells all who wait for that, though a listener of its end throws", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {})
    const connection = new Connection({ url: "ws://relay" })
    const thrown = new Error("a defect")
    let told = 0
    connection.onClose(() => {
      throw thrown
    })
    connection.onClose(() => told++)
    await connection.close()
    expect([told, error.mock.calls]).toEqual([1, [[thrown]]])
    error.mockRestore()
  })

  test("has one dial under way at a time, and is dialled at once when the network or the page comes back", async () => {
    relay.up = false
    await opened({ url: "ws://relay" })
    await relay.pass(60_000)
    relay.silent = true
    const before = dialled.length
    for (let i = 0; i < 3; i++) relay.wake()
    await relay.settle()
    expect(dialled.length).toBe(before + 1)
  })
})

describe("the wait before a dial", () => {
  test("is short again after a disconnect, however long it had become", async () => {
    relay.up = false
    const ws = await opened({ url: "ws://relay" })
    await relay.pass(100_000)
    expect(ws.status.retryAt).toBeGreaterThan(relay.now + 1000)
    ws.disconnect()
    ws.connect()
    await relay.settle()
    expect(ws.status.retryAt).toBe(relay.now + 1000)
  })
})

describe("the error after a connection has ended", () => {
  test("is not taken from a notice of an earlier connection", async () => {
    const ws = await opened({ url: "ws://relay" })
    relay.say({ t: "notice", code: "QUOTA" })
    relay.hangUp()
    expect(ws.status.error?.code).toBe("QUOTA")
    await relay.pass(1000)
    expect(ws.status.connected).toBe(true)
    relay.hangUp()
    expect(ws.status.error?.code).toBe("RELAY_UNREACHABLE")
  })
})

describe("a token", () => {
  test("is sent in the upgrade as the base64url of its UTF-8 without padding, if there is one", async () => {
    const token = "é~~~??>" // its plain base64 has a +, a / and padding
    expect(Buffer.from(token).toString("base64")).toMatch(/(?=.*\+)(?=.*\/)(?=.*=$)/)
    await opened({ url: "ws://relay", token })
    await opened({ url: "ws://relay" }, "v")
    expect(dialled.map(({ protocols }) => protocols)).toEqual([["headwater.2", bearer(token)], ["headwater.2"]])
  })

  test("reaches a real server in a header", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "headwater.2" })
    await once(server, "listening")
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
    const asked = once(server, "connection")
    const ws = await openWorkspace({
      id: "w",
      collections: { notes },
      store: memoryStore(),
      relay: { url, token: async () => "secret" },
    })
    const [, request] = await asked
    expect(request.headers["sec-websocket-protocol"].split(/, ?/)).toEqual(["headwater.2", "bearer.c2VjcmV0"])
    await ws.close()
    for (const client of server.clients) client.terminate()
    server.close()
  })

  test("from a function is asked for at every dial, with the names of the workspaces", async () => {
    const why: Parameters<Exclude<Token, string>>[0][] = []
    const shared = relayConnection({
      url: "ws://relay",
      token: async (reason) => {
        why.push(reason)
        return `token ${why.length}`
      },
    })
    await opened(shared, "one")
    await opened(shared, "two")
    for (let n = 2; n <= 3; n++) {
      relay.hangUp()
      await relay.pass(2000)
    }
    expect(dialled.map(({ protocols }) => protocols[1])).toEqual([1, 2, 3].map((n) => bearer(`token ${n}`)))
    expect(why.map(({ reason, workspaces }) => [reason, workspaces])).toEqual([
      ["open", ["one"]],
      ["open", ["one", "two"]],
      ["open", ["one", "two"]],
    ])
    expect(why.every(({ signal }) => !signal.aborted)).toBe(true)
  })

  test("whose function fails is FORBIDDEN, and is asked for again later", async () => {
    const cause = new Error("the server is away")
    let asked = 0
    const ws = await opened({
      url: "ws://relay",
      token: () => {
        if (asked++ === 0) throw cause
        return "secret"
      },
    })
    expect(ws.status).toMatchObject({ phase: "offline", error: { code: "FORBIDDEN", cause } })
    expect([asked, dialled.length]).toEqual([1, 0])
    await relay.pass(1000)
    expect(dialled.map(({ protocols }) => protocols[1])).toEqual([bearer("secret")])
    expect(ws.status).toMatchObject({ connected: true, error: null })
  })

  test.each([
    [null, "object"],
    [42, "number"],
    [{ token: "secret" }, "object"],
  ])("whose function returns %j is FORBIDDEN, and nothing is dialled", async (value, type) => {
    let asked = 0
    const token = () => (asked++ === 0 ? value : "secret") as string
    const ws = await opened({ url: "ws://relay", token })
    expect(ws.status.error).toMatchObject({ code: "FORBIDDEN", cause: { message: expect.stringContaining(type) } })
    expect(dialled).toEqual([])
    await relay.pass(1000)
    expect([ws.status.connected, ws.status.error]).toEqual([true, null])
  })

  test.each([[null], [42], [{}]])("that is no text (%j) is FORBIDDEN, and nothing is dialled", async (token) => {
    const ws = await opened({ url: "ws://relay", token: token as unknown as string })
    expect(ws.status.error).toMatchObject({ code: "FORBIDDEN" })
    expect(dialled).toEqual([])
  })

  test("whose function fails does not count as refused, so the next call gets the same reason", async () => {
    const reasons: string[] = []
    await opened({
      url: "ws://relay",
      token: ({ reason }) => {
        reasons.push(reason)
        if (reasons.length === 1 || reasons.length === 4) throw new Error("the server is away")
        return "secret"
      },
    })
    await relay.pass(1000)
    relay.hangUp(4401)
    await relay.pass(2000)
    expect(reasons).toEqual(["open", "open", "refused"])
    relay.hangUp(4403)
    await relay.pass(20_000)
    expect(reasons.slice(3, 5)).toEqual(["refused", "refused"])
  })

  test.each([401, 403, 404])(
    "whose dial is answered with HTTP %d counts as refused for 401 and 403 only",
    async (status) => {
      const server = createServer((_, response) => response.writeHead(status).end())
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      const reasons: string[] = []
      const ws = await openWorkspace({
        id: "w",
        collections: { notes },
        store: memoryStore(),
        relay: {
          url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
          token: ({ reason }) => `secret ${reasons.push(reason)}`,
        },
      })
      await until(() => reasons.length >= 2)
      expect(reasons.slice(0, 2)).toEqual(["open", status === 404 ? "open" : "refused"])
      expect(ws.status.error?.code).toBe("RELAY_UNREACHABLE")
      await ws.close()
      server.close()
    },
  )

  /** A JSON Web Token that ends in this many ms. Nobody checks its signature here. */
  const endingIn = (ms: number) =>
    ["{}", JSON.stringify({ sub: "ann ÿ", exp: (relay.now + ms) / 1000 }), "s"]
      .map((part) => Buffer.from(part).toString("base64url"))
      .join(".")

  const pong = (message: ClientMessage): RelayMessage[] => (message.t === "ping" ? [{ t: "pong" }] : [])

  test("that ends soon is replaced by another one a minute before its end", async () => {
    const reasons: string[] = []
    const ws = await opened({
      url: "ws://relay",
      token: ({ reason }) => {
        reasons.push(reason)
        return endingIn(3_600_000)
      },
    })
    relay.answer = pong
    relay.say(level())
    await relay.pass(3_539_000)
    expect([reasons, dialled.length]).toEqual([["open"], 1])
    const failed: unknown[] = []
    ws.onStatus(({ error }) => failed.push(error))
    await relay.pass(2000)
    relay.say(level())
    await relay.settle()
    expect([reasons, dialled.map(({ closed }) => closed)]).toEqual([
      ["open", "expiring"],
      [true, false],
    ])
    expect(new Set(dialled.map(({ protocols }) => protocols[1])).size).toBe(2)
    expect(ws.status).toMatchObject({ connected: true, phase: "live" })
    expect(failed.every((error) => error === null)).toBe(true)
    await relay.pass(3_541_000)
    expect(reasons).toEqual(["open", "expiring", "expiring"])
  })

  test("that ends soon is asked for again if the function fails, and the connection stays", async () => {
    const reasons: string[] = []
    const ends = endingIn(80_000)
    const ws = await opened({
      url: "ws://relay",
      token: ({ reason }) => {
        reasons.push(reason)
        if (reasons.length === 2) throw new Error("the server is away")
        return ends
      },
    })
    relay.answer = pong
    relay.say(level())
    await relay.pass(41_000)
    expect([reasons, ws.status.error]).toEqual([["open", "expiring"], null])
    await relay.pass(39_000)
    expect(reasons.length).toBeLessThan(10) // it asks after half of the time that is left, and not in the last second
    expect([dialled.length, ws.status.connected]).toEqual([1, true])
  })

  test.each([
    ["that has ended", () => endingIn(-1000)],
    ["that is no JSON Web Token", () => "a.b.c"],
    ["whose end is in a hundred years", () => endingIn(3.2e12)],
  ])("%s is not replaced", async (_, make) => {
    const reasons: string[] = []
    await opened({ url: "ws://relay", token: ({ reason }) => (reasons.push(reason) > 0 ? make() : "") })
    relay.answer = pong
    relay.say(level())
    await relay.pass(3 * 86_400_000)
    expect([reasons, dialled.length]).toEqual([["open"], 1])
  })

  test("that never comes is FORBIDDEN after a minute; its function is aborted, and called again", async () => {
    const asked: AbortSignal[] = []
    const ws = await opened({
      url: "ws://relay",
      token: ({ signal }) => (asked.push(signal) === 1 ? new Promise<string>(() => {}) : "secret"),
    })
    await relay.pass(59_000)
    expect([ws.status.phase, asked.map(({ aborted }) => aborted)]).toEqual(["connecting", [false]])
    await relay.pass(1000)
    expect(ws.status).toMatchObject({ phase: "offline", error: { code: "FORBIDDEN" } })
    expect(asked[0]!.aborted).toBe(true)
    await relay.pass(1000)
    expect([ws.status.connected, asked.length]).toEqual([true, 2])
  })

  test("that comes after a disconnect is not used, and its function is aborted", async () => {
    let give = (_: string) => {}
    let asked: AbortSignal | undefined
    const ws = await opened({
      url: "ws://relay",
      token: ({ signal }) => {
        asked = signal
        return new Promise((resolve) => (give = resolve))
      },
    })
    expect([asked?.aborted, ws.status.phase]).toEqual([false, "connecting"])
    ws.disconnect()
    expect(asked?.aborted).toBe(true)
    give("too late")
    await relay.settle()
    expect(dialled).toEqual([])
  })
})

describe("connect", () => {
  test("to another relay leaves the one before, and uses the new token for the same outbox", async () => {
    const other = new ScriptedRelay()
    relays["ws://other"] = other
    const ws = await opened({ url: "ws://relay", token: "old" })
    relay.say(level())
    await relay.settle()
    const { connect, disconnect } = ws
    disconnect()
    await ws.notes.create({ title: "T" })
    connect({ url: "ws://other", token: "new" })
    await relay.settle()
    expect(dialled).toMatchObject([
      { url: "ws://relay", protocols: ["headwater.2", bearer("old")], closed: true },
      { url: "ws://other", protocols: ["headwater.2", bearer("new")], closed: false },
    ])
    other.say(level())
    await relay.settle()
    expect([relay.count("push"), other.count("push")]).toEqual([0, 1])
    expect(ws.status.phase).toBe("live")
    disconnect()
    expect(ws.status.phase).toBe("offline")
    connect() // without an argument it dials the last relay
    await relay.settle()
    expect(dialled.map(({ url }) => url)).toEqual(["ws://relay", "ws://other", "ws://other"])
  })

  test("to another relay ends a connection of its own, but not one that it shares with others", async () => {
    relays["ws://other"] = new ScriptedRelay()
    const shared = relayConnection({ url: "ws://relay" })
    const [one, two] = [await opened(shared, "one"), await opened(shared, "two")]
    one.connect({ url: "ws://other" })
    await relay.settle()
    expect(dialled.map(({ url, closed }) => [url, closed])).toEqual([
      ["ws://relay", false],
      ["ws://other", false],
    ])
    relay.say(level("one"), level("two"))
    await relay.settle()
    expect([one.status.phase, two.status.phase]).toEqual(["syncing", "live"])
    await one.close()
    expect(dialled.map(({ closed }) => closed)).toEqual([false, true])
  })

  test("gives a relay to a workspace that was opened without one", async () => {
    const ws = await opened()
    await ws.notes.create({ title: "T" })
    expect([ws.status.phase, dialled.length]).toEqual(["local", 0])
    ws.connect({ url: "ws://relay" })
    await relay.settle()
    relay.say(level())
    await relay.settle()
    expect([ws.status.phase, relay.count("push")]).toEqual(["live", 1])
  })
})
