/**
 * Waits until something is true of a workspace: the relay has stored what is saved here, or this device has what the
 * relay has stored.
 */

import { HeadwaterError } from "../base/errors.ts"
import { isOurs } from "../replica/disk/ours.ts"
import type { Replica } from "../replica/replica.ts"
import type { Sync } from "../sync/sync.ts"
import type { Hash } from "../wire/protocol.ts"

export class Waiting {
  readonly #replica: Replica
  readonly #sync: Sync
  /** The waits that are not over. `look` checks whether a wait is over; `fail` ends it with an error. */
  readonly #waits = new Set<{ readonly look: () => void; readonly fail: (error: unknown) => void }>()

  constructor(replica: Replica, sync: Sync) {
    this.#replica = replica
    this.#sync = sync
  }

  /** Call when the connection has changed, whether the status shows it or not. */
  look(): void {
    for (const { look } of [...this.#waits]) look()
  }

  /** Ends all waits with `CLOSED`. Call when the relay will not be heard of any more, or they would last for ever. */
  giveUp(why: string): void {
    for (const { fail } of [...this.#waits]) fail(new HeadwaterError("CLOSED", why))
  }

  /** Resolves when the relay has answered for everything that is saved now: it has stored or refused each change. */
  async untilStored(signal: AbortSignal | undefined): Promise<void> {
    const replica = this.#replica
    const owed = new Map<Hash, string>()
    // Changes of another principal wait until that one connects again; nobody waits for them here.
    for (const change of replica.outbox) if (isOurs(change, replica.state)) owed.set(change.hash, change.entity)
    let refused: Hash | undefined
    await this.#until(signal, () => {
      for (const [hash, entity] of owed) {
        const left = replica.outbox.get(entity, hash)
        if (left !== undefined && !isOurs(left, replica.state)) {
          const message = "another principal is connected now; the changes wait until the former one is back"
          throw new HeadwaterError("PRINCIPAL_CHANGED", message, { entity })
        }
        if (left !== undefined) break
        if (replica.rejected.get(entity)?.has(hash)) refused ??= hash
        owed.delete(hash)
      }
      return owed.size === 0
    })
    if (refused !== undefined) {
      throw new HeadwaterError("REJECTED", `the relay refused change ${refused} for good; it is on the rejected list`)
    }
  }

  /** Resolves when this device has and shows everything that the relay has stored by now. */
  async untilSynced(signal: AbortSignal | undefined): Promise<void> {
    const replica = this.#replica
    const check = this.#sync.check()
    const level = () => this.#sync.status.level && this.#sync.status.asOf >= check
    const shown = () => ![...replica.stale.values()].some((mark) => !mark.waiting)
    await this.#until(signal, () => replica.state.complete && level() && shown())
  }

  /**
   * Resolves when `reached` returns true. Calls it now, after every commit and after every change of the connection.
   */
  #until(signal: AbortSignal | undefined, reached: () => boolean): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const end = () => {
        offCommit()
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
      const offCommit = this.#replica.onCommit(look)
      this.#waits.add(wait)
      signal?.addEventListener("abort", abort)
      look()
    })
  }
}
