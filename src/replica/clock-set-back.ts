/**
 * Corrects the measured difference to the relay's clock (`State.clockAheadMs`) when this device's clock was set back.
 * The difference is then too small by as many ms as the clock was set back. New ids and the times of new changes depend
 * on it.
 *
 * A clock that was set back is noticed, because it shows an earlier time than before. A clock that was set forward
 * looks like a device that has slept, or like a program that was not running. If this device's clock is set forward
 * without a connection, new ids and times are too late until the relay sends its time.
 */
import type { Replica } from "./replica.ts"

/**
 * Call when this device's clock was set back by at least `ms`. Makes the difference to the relay's clock larger by
 * `ms`. When the relay next sends its time, a new measurement replaces this correction.
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
