/** Serves the relay on a port: HTTP, and the upgrade to a WebSocket. All input is hostile until shown otherwise. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { type AddressInfo, Socket } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { limits, SUBPROTOCOL } from "../../src/wire/protocol.ts"
import { Origins } from "./origins.ts"
import { Sockets, type SocketsOptions, within } from "./sockets/sockets.ts"

export interface ServerOptions extends SocketsOptions {
  /** The most sockets that may be open at one time. */
  readonly connections: number
  /** Origins of pages that may connect besides those on loopback; `*` for any. */
  readonly origins: readonly string[]
  /** Rejects when nothing can be stored: `/healthz` then answers 503. */
  readonly health?: () => Promise<void>
}

/** Matches the address of the health check. A proxy may put a path before it. */
const HEALTH = /^[^?#]*\/healthz(?:[?#]|$)/
const JSON_ONCE = { "content-type": "application/json", connection: "close" }

export class RelayServer {
  readonly #o: ServerOptions
  readonly #http: Server
  readonly #upgrades: WebSocketServer
  readonly #sockets: Sockets
  readonly #origins: Origins
  #stopping = false

  constructor(options: ServerOptions) {
    this.#o = options
    this.#sockets = new Sockets(options)
    this.#origins = new Origins(options.origins, options.report)
    const { requestMs, fragments, pieces } = options.workspaces.sizes
    const patience = { requestTimeout: requestMs, headersTimeout: requestMs, connectionsCheckingInterval: 5_000 }
    this.#http = createServer(patience, (request, response) => {
      if (HEALTH.test(request.url ?? "")) return void this.#tellHealth(response)
      response.writeHead(426, { ...JSON_ONCE, upgrade: "websocket" })
      response.end(`{"error":"this address speaks WebSocket only; connect with a Headwater client"}\n`)
    })
    // Allow a few plain requests besides the sockets. Connections beyond this number are dropped before they take
    // memory.
    this.#http.maxConnections = options.connections + 64
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.message,
      maxFragments: fragments,
      maxBufferedChunks: pieces,
      handleProtocols: () => SUBPROTOCOL,
    })
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head))
    this.#http.on("clientError", (_error, socket) => socket.destroy())
    this.#upgrades.on("wsClientError", (_error, socket) => socket.destroy())
  }

  /** Resolves with the port once the server listens. */
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

  /** Returns the approximate bytes of memory that all connections take: see `MemoryBudget`. */
  memory(): number {
    return this.#sockets.memory()
  }

  /** Bytes that were given to sockets and that the network has not taken yet. */
  buffered(): number {
    return this.#sockets.buffered()
  }

  /**
   * Stops accepting, answers the received messages and closes every socket. Ends in bounded time, whatever clients do.
   */
  async stop(): Promise<void> {
    this.#stopping = true
    const { clock, workspaces } = this.#o
    const { closeMs } = workspaces.sizes
    const stopped = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    this.#http.closeIdleConnections()
    await this.#sockets.stop()
    await within(clock, closeMs, stopped)
    this.#http.closeAllConnections()
    await within(clock, closeMs, stopped)
  }

  async #tellHealth(response: ServerResponse): Promise<void> {
    let failure: unknown
    await this.#o.health?.().catch((error) => {
      failure = error
    })
    if (failure) this.#o.report("warn", "not healthy", { error: failure })
    const ok = !failure && !this.#stopping
    response.writeHead(ok ? 200 : 503, JSON_ONCE)
    // Anybody may send this request, so the answer has no path or id in it.
    response.end(failure ? `{"ok":false,"error":"LOG_FAILED"}\n` : `{"ok":${ok}}\n`)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy())
    const refusal = this.#refusal(request)
    if (refusal) {
      // Destroy the socket once the refusal is written. The other side may never close its half of the connection, and
      // an open socket counts against `maxConnections`.
      socket.once("finish", () => socket.destroy())
      socket.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    if (socket instanceof Socket) socket.setKeepAlive(true, this.#o.workspaces.sizes.keepAliveMs)
    this.#upgrades.handleUpgrade(request, socket, head, (ws) => this.#sockets.add(ws, socket))
  }

  /**
   * Returns the HTTP status for a refused upgrade, or undefined to accept it. Browsers do not show the status to a
   * page.
   */
  #refusal({ headers }: IncomingMessage): string | undefined {
    const full = this.#sockets.count >= this.#o.connections || this.#sockets.exhausted
    if (this.#stopping || full) return "503 Service Unavailable"
    if (!this.#origins.allows(headers.origin)) return "403 Forbidden"
    const offered = headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim())
    return offered?.includes(SUBPROTOCOL) ? undefined : "400 Bad Request"
  }
}
