/**
 * Corrects the difference to the relay's clock when this device's clock was set back. The difference that was measured
 * before is then too small by as much, and new ids and the times of changes depend on it.
 *
 * A clock that was set back shows an earlier time than before, so this can be noticed. A clock that was set forward
 * cannot be told from a device that has slept, or from a program that was not running. If a clock was set forward
 * without a connection, ids and times are too late by as much until the relay sends its time.
 */
import type { Replica } from "./replica.ts"

/**
 * Call when this device's clock was set back by at least `ms`. Makes the difference to the relay's clock larger by
 * `ms`; the relay's next time replaces this correction.
 */
export function clockSetBack(replica: Replica, ms: number): Promise<void> {
  return replica.step([], (tx) => {
    const { clockAheadMs, clockMeasuredAt } = tx.state
    if (clockMeasuredAt === 0) return // the relay never sent its time, so there is no difference to correct
    tx.state = { ...tx.state, clockAheadMs: clockAheadMs + ms, clockMeasuredAt: replica.clock.now() }
  })
}

/** Call when the replica is opened. Finds out whether the clock was set back while the program was not running. */
export async function checkClock(replica: Replica): Promise<void> {
  const ms = replica.state.clockMeasuredAt - replica.clock.now()
  if (ms > 0) await clockSetBack(replica, ms).catch(() => {}) // a workspace also opens when its disk takes no writes
}
