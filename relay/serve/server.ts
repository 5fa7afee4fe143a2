/** The door: HTTP, the WebSocket upgrade, and a session behind each socket. What comes in is hostile until shown otherwise. */
import { createServer, type IncomingMessage, type Server } from "node:http"
import { type AddressInfo, Socket } from "node:net"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"
import type { Clock } from "../../src/base/env.ts"
import { limits, SUBPROTOCOL } from "../../src/wire/protocol.ts"
import type { Report } from "../machine/report.ts"
import { close, Session } from "./connection.ts"
import type { Workspaces } from "./served-workspace.ts"

/** ms that a connection may be open before it has pulled, pushed or healed. */
const GREETING_MS = 30_000
/** ms for an HTTP request to arrive in full, the upgrade included. */
const HANDSHAKE_MS = 10_000
/** ms for the other side to answer a close frame. */
const CLOSING_MS = 5_000
/** ms for pushes in hand to be flushed and answered when the relay stops. */
const DRAIN_MS = 10_000
/**
 * Fragments of one frame: until it is whole, a byte in each keeps what was read together with it, up to 64 KiB.
 * Chromium sends 4 MiB in more than 32 and fewer than 64.
 */
const FRAGMENTS = 256
/** ms of silence after which the operating system asks whether the other side is still there. */
const KEEPALIVE_MS = 60_000

export interface ServerOptions {
  readonly workspaces: Workspaces
  readonly clock: Clock
  readonly report: Report
  /** Sockets at one time. */
  readonly connections: number
  /** Origins of pages that may connect besides those on loopback; `*` for any. */
  readonly origins: readonly string[]
}

interface Connection {
  readonly ws: WebSocket
  readonly session: Session
}

export class RelayServer {
  readonly #o: ServerOptions
  readonly #http: Server
  readonly #upgrades: WebSocketServer
  readonly #connections = new Set<Connection>()
  #corked: Duplex[] = []
  #stopping = false
  #nextId = 1

  constructor(options: ServerOptions) {
    this.#o = options
    const patience = { requestTimeout: HANDSHAKE_MS, headersTimeout: HANDSHAKE_MS, connectionsCheckingInterval: 5_000 }
    this.#http = createServer(patience, (request, response) => {
      const health = request.url === "/healthz"
      response.writeHead(health ? (this.#stopping ? 503 : 200) : 426, {
        "content-type": "application/json",
        connection: "close",
        ...(health ? {} : { upgrade: "websocket" }),
      })
      response.end(health ? `{"ok":${!this.#stopping}}\n` : `{"error":"this is a WebSocket address"}\n`)
    })
    // Room for a few plain requests besides the sockets; beyond it connections are dropped before they cost anything.
    this.#http.maxConnections = options.connections + 64
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.message,
      maxFragments: FRAGMENTS,
      handleProtocols: () => SUBPROTOCOL,
    })
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head))
    this.#http.on("clientError", (_error, socket) => socket.destroy())
    this.#upgrades.on("wsClientError", (_error, socket) => socket.destroy())
  }

  /** Resolves with the port once it listens. */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#http.once("error", reject)
      this.#http.listen(port, host, () => {
        this.#http.off("error", reject)
        this.#http.on("error", (error) => this.#o.report("error", "server failed", { error }))
        resolve((this.#http.address() as AddressInfo).port)
      })
    })
  }

  /** Bytes that sockets hold for readers that have not taken them. */
  buffered(): number {
    let sum = 0
    for (const { ws } of this.#connections) sum += ws.bufferedAmount
    return sum
  }

  /** Stops accepting, answers what is in hand and closes every socket with 1001. Ends in bounded time, whatever they do. */
  async stop(): Promise<void> {
    this.#stopping = true
    const stopped = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    this.#http.closeIdleConnections()
    const connections = [...this.#connections]
    for (const { ws } of connections) ws.pause()
    await this.#within(DRAIN_MS, Promise.all(connections.map(({ session }) => session.finished())))
    for (const { ws, session } of connections) {
      session.closed()
      this.#hangUp(ws, close.away, "the relay stops")
    }
    await this.#within(CLOSING_MS, stopped)
    this.#http.closeAllConnections()
    await this.#within(CLOSING_MS, stopped)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy())
    const refusal = this.#refusal(request)
    if (refusal) {
      // The other side may leave its half open for ever, and the socket counts as long as it is there.
      socket.once("finish", () => socket.destroy())
      socket.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    if (socket instanceof Socket) socket.setKeepAlive(true, KEEPALIVE_MS)
    this.#upgrades.handleUpgrade(request, socket, head, (ws) => this.#connect(ws, socket))
  }

  /** The HTTP status for an upgrade that is not taken. A browser shows its page none of it. */
  #refusal({ headers }: IncomingMessage): string | undefined {
    if (this.#stopping || this.#connections.size >= this.#o.connections) return "503 Service Unavailable"
    if (!isAllowed(headers.origin, this.#o.origins)) return "403 Forbidden"
    const offered = headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim())
    return offered?.includes(SUBPROTOCOL) ? undefined : "400 Bad Request"
  }

  #connect(ws: WebSocket, socket: Duplex): void {
    const session = new Session({
      id: this.#nextId++,
      workspaces: this.#o.workspaces,
      clock: this.#o.clock,
      principal: "local",
      access: "write",
      send: (frame) => {
        this.#cork(socket)
        ws.send(frame)
      },
      close: (code, reason) => this.#hangUp(ws, code, reason),
      buffered: () => ws.bufferedAmount,
      hold: (on) => (on || this.#stopping ? ws.pause() : ws.resume()),
      report: (code, error) => this.#o.report("error", "connection ended", { code, error }),
    })
    const connection = { ws, session }
    this.#connections.add(connection)
    const cancelGreeting = this.#o.clock.after(GREETING_MS, () => {
      if (!session.greeted) this.#hangUp(ws, close.idle, "no pull or push came")
    })
    socket.on("drain", () => session.drained())
    ws.on("message", (frame, binary) => session.receive(binary ? (frame as Buffer) : NOTHING))
    ws.on("error", () => {}) // a broken frame; the close that follows is all there is to it
    ws.on("close", () => {
      cancelGreeting()
      session.closed()
      this.#connections.delete(connection)
    })
  }

  /** What one flush brings to a connection (acks, entries) leaves in one system call. */
  #cork(socket: Duplex): void {
    if (socket.writableCorked > 0) return
    socket.cork()
    this.#corked.push(socket)
    if (this.#corked.length > 1) return
    process.nextTick(() => {
      for (const corked of this.#corked.splice(0)) corked.uncork()
    })
  }

  /** Whoever does not answer the close frame in time is cut off. */
  #hangUp(ws: WebSocket, code: number, reason: string): void {
    ws.resume()
    ws.close(code, reason)
    const cancel = this.#o.clock.after(CLOSING_MS, () => ws.terminate())
    ws.once("close", cancel)
  }

  #within(ms: number, promise: Promise<unknown>): Promise<unknown> {
    let cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.#o.clock.after(ms, resolve)
    })
    return Promise.race([promise, late]).finally(cancel)
  }
}

const NOTHING = new Uint8Array(0)

/**
 * Every page that a browser shows can reach a relay on loopback, and without tokens this header is all that tells a
 * stranger's page from the user's own. Programs that are no browsers send none. A page from a file or a sandbox says
 * "null" and might be anybody's. Names are compared, not addresses, so one that is made to resolve to 127.0.0.1 is refused.
 */
export function isAllowed(origin: string | undefined, others: readonly string[]): boolean {
  if (origin === undefined || others.includes(origin) || others.includes("*")) return true
  return URL.canParse(origin) && isLoopback(new URL(origin).hostname)
}

/** Whether this host can only be this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
