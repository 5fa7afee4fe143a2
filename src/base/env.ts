import type { Sizes } from "./replica-sizes.ts"

/**
 * Time, timers and randomness. The engine (replica, sync, relay) takes these, and its sockets, only from a `Clock` or
 * `Env` that its caller passes. So a simulation can run the real code in a virtual world. The linter forbids other
 * clocks, timers and sockets in the engine.
 */
export interface Clock {
  /** ms since 1970. */
  now(): number
  /**
   * Calls `f` once, after `ms`. With 0 ms, the event loop handles other waiting work before the call. Returns a
   * function that cancels the call. A `background` timer does not keep the process alive.
   */
  after(ms: number, f: () => void, background?: boolean): () => void
  /** `n` bytes that nobody can guess. */
  random(n: number): Uint8Array
}

/** The part of the standard WebSocket (https://websockets.spec.whatwg.org) that the engine uses. Binary frames only. */
export interface Socket {
  send(frame: Uint8Array): void
  /**
   * `code`: 1000 for a normal end, 4000 to 4999 for Headwater's own reasons. Never throws. `onclose` is called after
   * `close` has returned.
   */
  close(code?: number, reason?: string): void
  /** Bytes handed to `send` and not yet handed to the network. */
  readonly bufferedAmount: number
  onopen: (() => void) | null
  onmessage: ((frame: Uint8Array) => void) | null
  /** Called exactly once, even if the connection never opened. */
  onclose: ((code: number, reason: string) => void) | null
}

/** A clock, and a way to connect to a relay. */
export interface Env extends Clock {
  /** For tests: sizes other than the usual ones. */
  readonly sizes?: Partial<Sizes> | undefined
  /** Opens a WebSocket. Never throws: a failure is reported by `onclose`. */
  dial(url: string, protocols: readonly string[]): Socket
  /**
   * Calls `f` whenever the network is back or the web page is visible again. Returns a function that ends the calls.
   */
  onWake(f: () => void): () => void
}

/** The longest timer of the platform in ms. A longer one would fire at once. */
const LONGEST = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, f, background = false) {
    if (ms === 0 && globalThis.document !== undefined && globalThis.MessageChannel !== undefined) return afterMessage(f)
    let timer: ReturnType<typeof setTimeout>
    const wait = (left: number) => {
      timer = left > LONGEST ? setTimeout(() => wait(left - LONGEST), LONGEST) : setTimeout(f, left)
      if (background) (timer as { unref?(): void }).unref?.() // browsers have no `unref`
    }
    wait(ms)
    return () => clearTimeout(timer)
  },
  random: (n) => crypto.getRandomValues(new Uint8Array(n)),
}

/**
 * Calls `f` after a message that a web page sends to itself. Browsers do not delay messages, but they call the timers
 * of a hidden page once a second, and later once a minute. With timers, work in many turns would take minutes in a
 * hidden page. If the browser discarded the page meanwhile, all writes that wait for this work would be lost.
 */
function afterMessage(f: () => void): () => void {
  const { port1, port2 } = new MessageChannel()
  const end = () => {
    port1.onmessage = null
    port1.close()
  }
  port1.onmessage = () => {
    end()
    f()
  }
  port2.postMessage(undefined)
  return end
}

/** A random number in [0, 1). */
export function randomUnit(clock: Clock): number {
  const [a = 0, b = 0, c = 0, d = 0] = clock.random(4)
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32
}
