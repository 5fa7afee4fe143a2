/** Holds the open WebSockets, each with its `Connection`. All input is hostile until shown otherwise. */
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Clock } from "../../../src/base/env.ts"
import type { Report } from "../../machine/report.ts"
import { Connection, closeCode } from "../connection.ts"
import type { ServedWorkspaces } from "../served-workspace.ts"
import { Framing } from "./framing.ts"
import { HeldFrames, LARGE, Outgoing } from "./held-frames.ts"
import { MemoryBudget, type Spender } from "./memory-budget.ts"
import { PartialFrame } from "./partial-frame.ts"
import { Silence } from "./silence.ts"

/** The corked sockets are uncorked early once they were given this many bytes in one tick. */
const CORKED_BYTES = 2 ** 22
/**
 * The ceiling of one socket is half of the memory budget, minus the memory that connections take, divided by this
 * number.
 */
const SLOW_SOCKETS = 16

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
  readonly #held = new HeldFrames()
  readonly #framing = new Framing()
  readonly #memory: MemoryBudget
  /** The sockets to uncork at the end of this tick, and the spenders to measure then. */
  #corked: { readonly socket: Duplex; readonly spender: Spender }[] = []
  /** Bytes that the corked sockets were given since they were corked. */
  #corkedBytes = 0
  #stopping = false
  #nextId = 1

  constructor(options: SocketsOptions) {
    this.#o = options
    this.#memory = new MemoryBudget(options.workspaces.sizes.memoryBytes, () => this.#held.bytes)
  }

  get count(): number {
    return this.#open.size
  }

  /** Returns the approximate bytes of memory that all connections take, including closed ones whose work goes on. */
  memory(): number {
    return this.#memory.sum()
  }

  /** Whether no memory is left for the messages of another connection. */
  get exhausted(): boolean {
    return this.#memory.exhausted
  }

  /** Bytes that were given to sockets and that the network has not taken yet. */
  buffered(): number {
    let sum = 0
    for (const { ws } of this.#open) sum += ws.bufferedAmount
    return sum
  }

  /** Serves a WebSocket. `socket`: the connection that was upgraded to the WebSocket. */
  add(ws: WebSocket, socket: Duplex): void {
    const { workspaces, clock, report } = this.#o
    const connection = new Connection({
      id: this.#nextId++,
      workspaces,
      clock,
      principal: "local",
      access: "write",
      send: (frame) => {
        this.#cork(socket, spender)
        outgoing.give(frame)
        // Write a small frame to the socket without the library. All frames keep their order, because the library
        // queues frames only in order to deflate them, which is turned off.
        if (frame.length >= LARGE) ws.send(frame)
        else if (ws.readyState === ws.OPEN) socket.write(this.#framing.of(frame))
        this.#corkedBytes += frame.length
        if (this.#corkedBytes > CORKED_BYTES) this.#uncork()
      },
      close: (code, reason) => this.#close(ws, code, reason),
      buffered: () => ws.bufferedAmount,
      ceiling: () => this.#ceiling(socket),
      pauseReading: (paused) => (paused || this.#stopping ? ws.pause() : ws.resume()),
      report: (code, error, workspace) =>
        workspace === undefined
          ? report("error", "connection ended", { code, error })
          : report("error", "workspace failed", { code, workspace, error }),
    })
    const partial = new PartialFrame()
    const outgoing = new Outgoing(this.#held, () => ws.bufferedAmount)
    let gone = false
    const end = () => {
      gone = true
      connection.disconnected()
      outgoing.end()
    }
    const spender: Spender = {
      memory: () => connection.unanswered + (gone ? 0 : partial.memory + outgoing.own()),
      sheddable: () => (gone ? 0 : connection.droppable + partial.memory + outgoing.share()),
      shed: () => {
        report("warn", "connection cut off", { bytes: spender.memory(), budget: workspaces.sizes.memoryBytes })
        end()
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
      this.#memory.update(spender)
      connection.drained()
    })
    ws.on("message", (frame, binary) => {
      silence?.moved()
      partial.whole((frame as Buffer).length)
      connection.receive(binary ? (frame as Buffer) : NO_FRAME)
      this.#memory.update(spender)
    })
    for (const control of ["ping", "pong"] as const) {
      ws.on(control, (data: Buffer) => {
        silence?.heard()
        partial.control(data.length)
      })
    }
    ws.on("error", () => {}) // after a broken frame, the close event that follows does all that is needed
    ws.on("close", () => {
      cancelWait()
      silence?.stop()
      end()
      this.#open.delete(opened)
      void connection.answered().then(() => this.#memory.remove(spender))
    })
  }

  /** Reads nothing more, answers the received messages, and closes every socket with 1001. Takes `answerMs` at most. */
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

  /** Makes a `Silence` that closes the socket when its other side is silent for too long. */
  #watch(ws: WebSocket, socket: Duplex, connection: Connection): Silence {
    const { workspaces, clock } = this.#o
    return new Silence(clock, workspaces.sizes, {
      bytesRead: () => (socket instanceof Socket ? socket.bytesRead : 0),
      busy: () => connection.unanswered > 0,
      full: () => connection.full(),
      untaken: () => [ws.bufferedAmount, queued(socket)],
      silent: () => this.#close(ws, closeCode.idle, "nothing came for too long"),
    })
  }

  /**
   * Corks a socket until the end of the tick, so that all frames of one flush (acks, entries) leave in one system call.
   */
  #cork(socket: Duplex, spender: Spender): void {
    if (socket.writableCorked > 0) return
    socket.cork()
    this.#corked.push({ socket, spender })
    if (this.#corked.length === 1) process.nextTick(() => this.#uncork())
  }

  /** Offers all frames to the network. Only the bytes that the network does not take immediately are counted. */
  #uncork(): void {
    const corked = this.#corked.splice(0)
    this.#corkedBytes = 0
    this.#framing.forget()
    for (const { socket } of corked) socket.uncork()
    for (const { spender } of corked) this.#memory.update(spender)
  }

  /**
   * Returns how many bytes a socket may hold. This ceiling sinks as memory is taken, so that outgoing bytes take at
   * most half of the budget. Therefore many slow clients at the same time are not cut off: their streams wait instead.
   * The ceiling never sinks below the socket's high-water mark, because below that mark the socket does not emit
   * `drain`.
   */
  #ceiling(socket: Duplex): number {
    const { memoryBytes, socketBytes } = this.#o.workspaces.sizes
    const left = (memoryBytes / 2 - this.#memory.lastSum) / SLOW_SOCKETS
    return Math.min(socketBytes, Math.max(left, socket.writableHighWaterMark))
  }

  /** Closes a socket; cuts it off when the other side does not answer the close frame in time. */
  #close(ws: WebSocket, code: number, reason: string): void {
    ws.resume()
    ws.close(code, reason)
    const cancel = this.#o.clock.after(this.#o.workspaces.sizes.closeMs, () => ws.terminate())
    ws.once("close", cancel)
  }
}

/**
 * Returns the bytes of the current write that the network has not taken. `bufferedAmount` counts a whole write until
 * all its bytes are taken, which may take minutes on a slow line. Only the handle knows how many are left.
 */
function queued(socket: Duplex): number {
  return (socket as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
}

/** Passed to the connection in place of a text frame. No message is empty, so the connection refuses it. */
const NO_FRAME = new Uint8Array(0)

/** Waits for a promise, but no longer than `ms`. */
export function within(clock: Clock, ms: number, promise: Promise<unknown>): Promise<unknown> {
  let cancel = () => {}
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve)
  })
  return Promise.race([promise, late]).finally(cancel)
}
