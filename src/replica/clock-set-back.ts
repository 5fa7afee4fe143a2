/**
 * Corrects the difference to the relay's clock when this device's clock was set back. The difference that was measured
 * before is then wrong by as much, and new ids and times of changes depend on it.
 *
 * That a clock was set back can be proved: it shows an earlier time than before. That it was set forward cannot be told
 * from a sleep of the device, or from a program that was not running. So after a clock was set forward without a
 * connection, ids and times are too late by as much until the relay sends its time.
 */
import type { Replica } from "./replica.ts"

/**
 * Call when the clock was set back by `ms` or more. From then on this device takes the relay's clock to be as late as
 * it was before, and no later, until the relay sends its time.
 */
export function clockSetBack(replica: Replica, ms: number): Promise<void> {
  return replica.step([], (tx) => {
    const { clockAheadMs, clockMeasuredAt } = tx.state
    if (clockMeasuredAt === 0) return // the relay's time is not known, so this device's own clock is all there is
    tx.state = { ...tx.state, clockAheadMs: clockAheadMs + ms, clockMeasuredAt: replica.clock.now() }
  })
}

/** Call when the replica is opened. Finds out whether the clock was set back while the program was not running. */
export async function checkClock(replica: Replica): Promise<void> {
  const ms = replica.state.clockMeasuredAt - replica.clock.now()
  if (ms > 0) await clockSetBack(replica, ms).catch(() => {}) // a disk that takes no writes can be opened all the same
}
