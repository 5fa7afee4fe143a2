/** Makes the messages of one connection into steps of the replica, in the order in which they came. */
import type { Hash } from "../../wire/protocol.ts"
import type { Replica } from "../replica.ts"
import type { Transaction } from "../transaction.ts"

/**
 * The steps of one connection. Once a step has failed, no later step takes effect: otherwise the cursor that ends a
 * heal could be committed although a change that the relay wanted was not put into the outbox.
 */
export class ConnectionSteps {
  readonly replica: Replica
  /**
   * By entity, the heads in each `want` that names a head which this replica does not have. It is unknown which changes
   * the relay lacks until that head has arrived, or until the connection is level without it (`settleWants`).
   */
  readonly openWants = new Map<string, readonly Hash[]>()
  #ended = false
  /** The first step that failed, and its error. Later steps reject with the same error. */
  #broken: { readonly by: object; readonly error: unknown } | undefined

  constructor(replica: Replica) {
    this.replica = replica
  }

  /**
   * Whether the connection has ended, or the attempt on it has failed. Entries whose step begins after that are
   * dropped.
   */
  get ended(): boolean {
    return this.#ended
  }

  end(): void {
    this.#ended = true
    this.replica.expectEntries(false)
  }

  step<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const me = {}
    const step = this.replica.step(entities, async (tx) => {
      if (this.#broken !== undefined && this.#broken.by !== me) throw this.#broken.error
      this.#broken = undefined // if it was set, this same step has failed before and is run again
      try {
        return await run(tx)
      } catch (error) {
        this.#broken = { by: me, error }
        throw error
      }
    })
    step.catch((error: unknown) => {
      this.#broken ??= { by: me, error } // `run` has succeeded, but the commit has failed
    })
    return step
  }
}
