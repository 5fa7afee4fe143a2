import { once } from "node:events"
import { createServer, type Server } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo, Server as NetServer } from "node:net"
import { collection, openWorkspace, shape, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, expect, test } from "vitest"
import { type WebSocket, WebSocketServer } from "ws"
import { systemEnv } from "../../src/sync/system.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title?: string }>())
const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const { close } of open.splice(0).reverse()) await close()
})

async function listening(server: NetServer | Server): Promise<number> {
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  open.push({ close: () => new Promise((resolve) => server.close(resolve)) })
  return (server.address() as AddressInfo).port
}

async function sockets(hear: (socket: WebSocket) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
  await once(server, "listening")
  server.on("connection", hear)
  open.push({
    close: () => {
      for (const client of server.clients) client.terminate()
      server.close()
    },
  })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const answering = (status: number) => createServer((_, response) => response.writeHead(status).end())

/** Returns the first error in the status of a workspace whose relay has this URL. */
async function errorOf(url: string, env?: object) {
  const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay: { url }, env })
  open.push(ws)
  await until(() => ws.status.error !== null)
  return ws.status.error
}

test.each<[string, () => Promise<string>, RegExp]>([
  [
    "a port where nobody listens",
    async () => {
      const port = await listening(createServer())
      await open.pop()?.close()
      return `ws://127.0.0.1:${port}`
    },
    /ECONNREFUSED/,
  ],
  ["a host that does not exist", async () => "ws://nobody.invalid", /ENOTFOUND|EAI_AGAIN/],
  [
    "a server that has another page there",
    async () => `ws://127.0.0.1:${await listening(answering(404))}`,
    /HTTP 404.*no Headwater relay/,
  ],
  ["one that asks for a password", async () => `ws://127.0.0.1:${await listening(answering(401))}`, /HTTP 401/],
  ["a web server", async () => `ws://127.0.0.1:${await listening(answering(200))}`, /HTTP 200.*no Headwater relay/],
  [
    "a server without TLS, dialled with it",
    async () => `wss://127.0.0.1:${await listening(answering(200))}`,
    /EPROTO|wrong version number|SSL/i,
  ],
  [
    "a server with TLS, dialled without it",
    async () => `ws://127.0.0.1:${await listening(createTlsServer())}`,
    /socket hang up|ECONNRESET|Parse Error/,
  ],
])("a failed dial of %s says so", async (_, urlOf, cause) => {
  const url = await urlOf()
  const error = await errorOf(url)
  expect(error?.code).toBe("RELAY_UNREACHABLE")
  expect(error?.message).toMatch(cause)
  expect(error?.message).toContain(url)
})

test.each<[string, (socket: WebSocket) => void]>([
  ["sends back what it gets", (socket) => socket.on("message", (data) => socket.send(data))],
  ["sends text", (socket) => socket.send("hello")],
  ["closes at our first message as a protocol error", (socket) => socket.on("message", () => socket.close(1002))],
  ["takes no bytes", (socket) => socket.on("message", () => socket.close(1003))],
  ["takes text that is UTF-8 only", (socket) => socket.on("message", () => socket.close(1007))],
  ["says goodbye at once", (socket) => socket.close(1000)],
  ["sends bytes of another protocol", (socket) => socket.send(new Uint8Array([1, 2, 3]))],
])("a WebSocket server that %s is named as no relay", async (_, hear) => {
  const after: typeof systemEnv.after = (ms, f) => systemEnv.after(ms / 20, f)
  expect((await errorOf(await sockets(hear), { ...systemEnv, after }))?.message).toMatch(/no Headwater relay/)
})

/** Opens a workspace with a server that accepts the connection and sends nothing. */
async function accepted(): Promise<{ relay: ScriptedRelay; ws: Workspace<{ notes: typeof notes }> }> {
  const relay = new ScriptedRelay()
  const { env } = relay
  const ws = await openWorkspace({
    ...{ id: "w", collections: { notes }, store: memoryStore() },
    ...{ relay: { url: "ws://relay" }, env },
  })
  open.push(ws)
  await relay.settle()
  return { relay, ws }
}

test("a relay that closes with 1002 after its first message is one of another version", async () => {
  const { relay, ws } = await accepted()
  relay.say({ t: "pong" })
  relay.hangUp(1002)
  expect(ws.status.error?.code).toBe("PROTOCOL_VERSION")
})

const invalid = ["ws://host/#x", "ws://host/#", "wss://host/path?a=b#c", "http://host", "host:4400", "ws://", ""]
test.each([...invalid, null, undefined, 4400, new URL("ws://host")])(
  "opening a workspace with relay URL %j fails with URL_INVALID",
  async (url) => {
    const relay = { url: url as string }
    const opening = openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay })
    await expect(opening).rejects.toMatchObject({ code: "URL_INVALID" })
  },
)

test("a server that accepts and is silent is called no relay after 5 s, and gets more time the next time", async () => {
  const { relay, ws } = await accepted()
  await relay.pass(4999)
  expect(ws.status).toMatchObject({ connected: true, error: null })
  await relay.pass(1)
  expect(ws.status).toMatchObject({ connected: false, error: { code: "RELAY_UNREACHABLE" } })
  expect(ws.status.error?.message).toMatch(/no Headwater relay.*does not answer/)
  await relay.pass(1000)
  await relay.pass(9000)
  expect(ws.status.connected).toBe(true)
  relay.say({ t: "pong" })
  await relay.pass(14_000)
  expect(ws.status.connected).toBe(true)
})
