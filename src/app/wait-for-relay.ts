/**
 * The waits of `whenStored` and `whenSynced`: until the relay has stored the changes of this device, and until this
 * device has the changes of the relay.
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Replica } from "../replica/replica.ts"
import type { Sync } from "../sync/sync.ts"
import { StoredWaits } from "./stored-waits.ts"

export class Waiting {
  readonly #replica: Replica
  readonly #sync: Sync
  /** The waits that are not over. `look` checks whether a wait is over; `fail` ends it with an error. */
  readonly #waits = new Set<{ readonly look: () => void; readonly fail: (error: unknown) => void }>()
  readonly #stored: StoredWaits

  constructor(replica: Replica, sync: Sync) {
    this.#replica = replica
    this.#sync = sync
    this.#stored = new StoredWaits(replica)
    replica.onCommit(() => this.look())
  }

  /**
   * Checks all waits. Call when the state of sync has changed, even if the workspace's status does not show the change.
   * Every commit calls this function, too.
   */
  look(): void {
    for (const { look } of [...this.#waits]) look()
  }

  /**
   * Ends all waits with `CLOSED`. Call when no message of the relay can come any more. Otherwise the waits would never
   * end.
   */
  giveUp(why: string): void {
    for (const { fail } of [...this.#waits]) fail(new HeadwaterError("CLOSED", why))
  }

  /** Resolves when the relay has stored, or refused for good, each change that is saved now. */
  async untilStored(signal: AbortSignal | undefined): Promise<void> {
    const replica = this.#replica
    // Before a heal is over, the outbox may lack changes that the relay does not have: changes that the relay has lost,
    // and changes whose outbox record this device's disk has lost. Before damaged records are made again, it is unknown
    // whether a heal is needed.
    const isWhole = () => !replica.state.heal && !replica.isDamaged
    if (!isWhole()) await this.#until(signal, isWhole)
    signal?.throwIfAborted()
    const wait = this.#stored.begin()
    try {
      await this.#until(signal, () => this.#stored.isOver(wait))
    } finally {
      this.#stored.leave(wait)
    }
  }

  /** Resolves when this device has and shows everything that the relay had stored before the call. */
  async untilSynced(signal: AbortSignal | undefined): Promise<void> {
    const replica = this.#replica
    const check = this.#sync.check()
    const level = () => this.#sync.status.level && this.#sync.status.asOf >= check && !replica.state.heal
    const shown = () => replica.stale.toShow === 0
    await this.#until(signal, () => replica.state.complete && level() && shown())
  }

  /**
   * Resolves when `reached` returns true. Calls `reached` now, after every commit, and when the state of sync changes.
   */
  #until(signal: AbortSignal | undefined, reached: () => boolean): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waits.delete(wait)
        signal?.removeEventListener("abort", abort)
      }
      const fail = (error: unknown) => {
        end()
        reject(error)
      }
      const look = () => {
        try {
          if (!reached()) return
        } catch (error) {
          return fail(error)
        }
        end()
        resolve()
      }
      const abort = () => fail(signal?.reason)
      const wait = { look, fail }
      this.#waits.add(wait)
      signal?.addEventListener("abort", abort)
      look()
    })
  }
}
