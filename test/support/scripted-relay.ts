import { type Env, type Socket, systemClock } from "../../src/base/env.ts"
import { type ClientMessage, decodeClient, encode, type RelayMessage } from "../../src/wire/protocol.ts"

/** The time between two answers of `ScriptedRelay.answer`, ms. */
const LATENCY_MS = 1

/**
 * A relay that sends what a test tells it to send, over a network without delay, and keeps the messages that it
 * receives. The test moves the clock.
 */
export class ScriptedRelay {
  readonly heard: ClientMessage[] = []
  readonly dials: number[] = []
  now = 1_700_000_000_000
  /** Between 0 and 1: the random number that the client draws for the jitter of its waits. */
  luck = 1
  up = true
  /** Whether the relay accepts dials and never completes them. */
  silent = false
  /**
   * What the relay sends in answer to each message, one answer per millisecond. A number closes the connection with
   * that code.
   */
  answer: ((message: ClientMessage) => readonly (RelayMessage | number)[]) | undefined
  /** Number of turns of the event loop that `settle` waits. Fewer are enough when no module is loaded meanwhile. */
  turns = 20
  private socket: Socket | undefined
  private timers = new Map<number, { at: number; readonly f: () => void }>()
  private nextTimer = 0
  private readonly wakers = new Set<() => void>()

  readonly env: Env = {
    now: () => this.now,
    random: (n) =>
      n === 4 ? new Uint8Array(4).fill(Math.min(255, Math.floor(this.luck * 256))) : systemClock.random(n),
    after: (ms, f) => {
      const timer = this.nextTimer++
      this.timers.set(timer, { at: this.now + ms, f })
      return () => void this.timers.delete(timer)
    },
    onWake: (f) => {
      this.wakers.add(f)
      return () => void this.wakers.delete(f)
    },
    dial: () => this.dial(),
  }

  private dial(): Socket {
    this.dials.push(this.now)
    const socket: Socket = {
      bufferedAmount: 0,
      onopen: null,
      onmessage: null,
      onclose: null,
      send: (frame) => {
        const message = decodeClient(frame)
        if (message === null) return
        this.heard.push(message)
        for (const [i, answer] of (this.answer?.(message) ?? []).entries()) {
          this.env.after(LATENCY_MS * (i + 1), () => {
            if (typeof answer === "number") socket.onclose?.(answer, "")
            else socket.onmessage?.(encode(answer))
          })
        }
      },
      close: () => {},
    }
    this.socket = socket
    if (!this.silent) queueMicrotask(() => (this.up ? socket.onopen?.() : socket.onclose?.(1006, "")))
    return socket
  }

  say(...messages: RelayMessage[]): void {
    this.mouth()(...messages)
  }

  /** Returns a function that sends on the present socket, even after the client has dialled again. */
  mouth(): (...messages: RelayMessage[]) => void {
    const { socket } = this
    return (...messages) => {
      for (const message of messages) socket?.onmessage?.(encode(message))
    }
  }

  sayRaw(frame: Uint8Array): void {
    this.socket?.onmessage?.(frame)
  }

  hangUp(code = 1006): void {
    this.socket?.onclose?.(code, "")
  }

  wake(): void {
    for (const f of this.wakers) f()
  }

  /** Sets the machine's clock forward or back. Timers fire as if it had not been set. */
  setClock(ms: number): void {
    for (const timer of this.timers.values()) timer.at += ms
    this.now += ms
  }

  /** Moves the clock, and runs the timers that become due. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms
    for (;;) {
      await this.settle()
      const [next] = [...this.timers].sort(([, a], [, b]) => a.at - b.at)
      if (next === undefined || next[1].at > until) break
      this.timers.delete(next[0])
      this.now = next[1].at
      next[1].f()
    }
    this.now = until
    await this.settle()
  }

  async settle(): Promise<void> {
    for (let i = 0; i < this.turns; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  last<T extends ClientMessage["t"]>(t: T): Extract<ClientMessage, { t: T }> {
    const found = this.heard.findLast((message) => message.t === t)
    if (found === undefined) throw new Error(`no ${t} among ${this.heard.map((message) => message.t).join(", ")}`)
    return found as Extract<ClientMessage, { t: T }>
  }

  count(t: ClientMessage["t"]): number {
    return this.heard.filter((message) => message.t === t).length
  }
}
