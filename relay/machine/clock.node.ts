/** Implements `Clock` with the clock of this machine. */
import { type Clock, systemClock } from "../../src/base/env.ts"

export const nodeClock: Clock = {
  ...systemClock,

  /**
   * 0 ms means the end of this turn of the event loop. A timer would take at least 1 ms, which is longer than most
   * flushes take.
   */
  after(ms, f) {
    if (ms > 0) return systemClock.after(ms, f)
    const end = setImmediate(f)
    return () => clearImmediate(end)
  },
}
