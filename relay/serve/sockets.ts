/** The open WebSockets, each with its connection behind it. What they receive is hostile until shown otherwise. */
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Clock } from "../../src/base/env.ts"
import type { Report } from "../machine/report.ts"
import { Connection, closeCode } from "./connection.ts"
import { MemoryBudget, type Spender } from "./memory-budget.ts"
import { PartialFrame } from "./partial-frame.ts"
import type { ServedWorkspaces } from "./served-workspace.ts"
import { Silence } from "./silence.ts"

export interface SocketsOptions {
  readonly workspaces: ServedWorkspaces
  readonly clock: Clock
  readonly report: Report
}

interface OpenSocket {
  readonly ws: WebSocket
  readonly connection: Connection
}

export class Sockets {
  readonly #o: SocketsOptions
  readonly #open = new Set<OpenSocket>()
  readonly #memory: MemoryBudget
  /** The sockets to uncork at the end of this tick. */
  #corked: Duplex[] = []
  #stopping = false
  #nextId = 1

  constructor(options: SocketsOptions) {
    this.#o = options
    this.#memory = new MemoryBudget(options.workspaces.sizes.memoryBytes)
  }

  get count(): number {
    return this.#open.size
  }

  /** Bytes of memory that all connections take, about. */
  memory(): number {
    return this.#memory.sum()
  }

  /** Bytes that were given to sockets and that the network has not taken yet. */
  buffered(): number {
    let sum = 0
    for (const { ws } of this.#open) sum += ws.bufferedAmount
    return sum
  }

  /** Serves a WebSocket. `socket` is what it was upgraded from. */
  add(ws: WebSocket, socket: Duplex): void {
    const { workspaces, clock, report } = this.#o
    const connection = new Connection({
      id: this.#nextId++,
      workspaces,
      clock,
      principal: "local",
      access: "write",
      send: (frame) => {
        this.#cork(socket)
        ws.send(frame)
        this.#memory.update(spender)
      },
      close: (code, reason) => this.#close(ws, code, reason),
      buffered: () => ws.bufferedAmount,
      pauseReading: (paused) => (paused || this.#stopping ? ws.pause() : ws.resume()),
      report: (code, error, workspace) =>
        workspace === undefined
          ? report("error", "connection ended", { code, error })
          : report("error", "workspace failed", { code, workspace, error }),
    })
    const partial = new PartialFrame()
    const spender: Spender = {
      memory: () => partial.memory + connection.unanswered + ws.bufferedAmount,
      shed: () => {
        report("warn", "connection cut off", { bytes: spender.memory(), budget: workspaces.sizes.memoryBytes })
        connection.disconnected()
        ws.terminate()
      },
    }
    this.#memory.add(spender)
    socket.prependListener("data", (piece: Buffer) => {
      partial.came(piece.length)
      this.#memory.update(spender)
    })
    const opened = { ws, connection }
    this.#open.add(opened)
    let silence: Silence | undefined
    const cancelWait = clock.after(workspaces.sizes.firstMessageMs, () => {
      if (!connection.active) this.#close(ws, closeCode.idle, "no pull, push or have came")
      else silence = this.#watch(ws, socket, connection)
    })
    socket.on("drain", () => {
      silence?.moved()
      connection.drained()
    })
    ws.on("message", (frame, binary) => {
      silence?.moved()
      partial.whole((frame as Buffer).length)
      connection.receive(binary ? (frame as Buffer) : NO_FRAME)
      this.#memory.update(spender)
    })
    for (const control of ["ping", "pong"] as const) ws.on(control, (data: Buffer) => partial.control(data.length))
    ws.on("error", () => {}) // a broken frame: the close event that follows does all that is needed
    ws.on("close", () => {
      cancelWait()
      silence?.stop()
      connection.disconnected()
      this.#memory.remove(spender)
      this.#open.delete(opened)
    })
  }

  /** Reads no more, answers what was received, and closes every socket with 1001. Takes `answerMs` at most. */
  async stop(): Promise<void> {
    this.#stopping = true
    const open = [...this.#open]
    for (const { ws } of open) ws.pause()
    const answered = Promise.all(open.map(({ connection }) => connection.answered()))
    await within(this.#o.clock, this.#o.workspaces.sizes.answerMs, answered)
    for (const { ws, connection } of open) {
      connection.disconnected()
      this.#close(ws, closeCode.away, "the relay stops")
    }
  }

  /** Closes the socket once its other side is silent for too long. */
  #watch(ws: WebSocket, socket: Duplex, connection: Connection): Silence {
    const { workspaces, clock } = this.#o
    return new Silence(clock, workspaces.sizes, {
      bytesRead: () => (socket instanceof Socket ? socket.bytesRead : 0),
      busy: () => connection.unanswered > 0,
      full: () => ws.bufferedAmount > workspaces.sizes.socketBytes,
      silent: () => this.#close(ws, closeCode.idle, "nothing came for too long"),
    })
  }

  /** All frames that one flush brings to a connection (acks, entries) leave in one system call. */
  #cork(socket: Duplex): void {
    if (socket.writableCorked > 0) return
    socket.cork()
    this.#corked.push(socket)
    if (this.#corked.length > 1) return
    process.nextTick(() => {
      for (const corked of this.#corked.splice(0)) corked.uncork()
    })
  }

  /** Closes a socket; cuts it off when the other side does not answer the close frame in time. */
  #close(ws: WebSocket, code: number, reason: string): void {
    ws.resume()
    ws.close(code, reason)
    const cancel = this.#o.clock.after(this.#o.workspaces.sizes.closeMs, () => ws.terminate())
    ws.once("close", cancel)
  }
}

/** Stands for a text frame: it is no message, so the connection refuses it. */
const NO_FRAME = new Uint8Array(0)

/** Waits for a promise, but no longer than this. */
export function within(clock: Clock, ms: number, promise: Promise<unknown>): Promise<unknown> {
  let cancel = () => {}
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve)
  })
  return Promise.race([promise, late]).finally(cancel)
}
