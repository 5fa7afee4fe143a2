import type { Sizes } from "./sizes.ts"

/**
 * Everything the engine takes from outside the program: time, timers, randomness, sockets.
 * The engine (replica, sync, socket, relay connection, relay log) touches none of these in any other way, so a
 * simulation can run the real code in a virtual world. A linter keeps it so.
 */
export interface Clock {
  /** ms since 1970. */
  now(): number
  /** Calls `f` once after `ms`; returns the cancellation. */
  after(ms: number, f: () => void): () => void
  /** `n` bytes nobody can guess. */
  random(n: number): Uint8Array
}

/** The part of the standard WebSocket that the engine uses. Binary frames only. */
export interface Socket {
  send(frame: Uint8Array): void
  /** 1000 normal; 4000 to 4999 ours. Never throws; `onclose` follows. */
  close(code?: number, reason?: string): void
  /** Bytes handed to `send` and not yet handed to the network. */
  readonly bufferedAmount: number
  onopen: (() => void) | null
  onmessage: ((frame: Uint8Array) => void) | null
  /** Fires exactly once, also when the connection never opened. */
  onclose: ((code: number, reason: string) => void) | null
}

export interface Env extends Clock {
  /** For tests: sizes other than the usual ones. */
  readonly sizes?: Partial<Sizes> | undefined
  /** Opens a WebSocket. Never throws: a failure is an `onclose`. */
  dial(url: string, protocols: readonly string[]): Socket
  /** Called when the network or the page comes back; returns the unsubscription. */
  onWake(f: () => void): () => void
}

/** What a timer of the platform can be set to; a longer one fires at once. */
const LONGEST = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, f) {
    let timer: ReturnType<typeof setTimeout>
    const wait = (left: number) => {
      timer = left > LONGEST ? setTimeout(() => wait(left - LONGEST), LONGEST) : setTimeout(f, left)
    }
    wait(ms)
    return () => clearTimeout(timer)
  },
  random: (n) => crypto.getRandomValues(new Uint8Array(n)),
}

/** Random bits as a number in [0, 1). */
export function randomUnit(clock: Clock): number {
  const [a = 0, b = 0, c = 0, d = 0] = clock.random(4)
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32
}
