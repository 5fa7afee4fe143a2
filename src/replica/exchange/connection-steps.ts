/** Runs the messages of one connection as steps of the replica, in the order in which they came. */
import type { Hash } from "../../wire/protocol.ts"
import type { Replica } from "../replica.ts"
import type { Transaction } from "../transaction.ts"

/**
 * The steps of one connection. Once a step has failed, all later steps fail, too. Otherwise the cursor that ends a heal
 * could be committed although a change that the relay wants was not put into the outbox.
 */
export class ConnectionSteps {
  readonly replica: Replica
  /**
   * The open wants: by entity, the heads of each `want` that names a head which this replica does not have. Until that
   * head has arrived, it is unknown which changes the relay lacks. `settleWants` answers an open want when the head has
   * arrived, or when the connection is level without it.
   */
  readonly openWants = new Map<string, readonly Hash[]>()
  #ended = false
  #gaveWay = false
  /** The first step that failed, and its error. Later steps reject with the same error. */
  #broken: { readonly by: object; readonly error: unknown } | undefined

  constructor(replica: Replica) {
    this.replica = replica
  }

  /**
   * Whether the connection has ended, or the attempt on it has failed. A step that begins after that drops its entries.
   */
  get ended(): boolean {
    return this.#ended
  }

  /** Whether entries may come for these steps: not once the connection has ended or another attempt has taken over. */
  get expectsMore(): boolean {
    return !this.#ended && !this.#gaveWay
  }

  /** Call when another attempt on the same connection takes over. The steps that are in the queue still take effect. */
  giveWay(): void {
    this.#gaveWay = true
  }

  end(): void {
    this.#ended = true
    this.replica.expectEntries(false)
  }

  step<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const me = {}
    const step = this.replica.step(entities, async (tx) => {
      if (this.#broken !== undefined && this.#broken.by !== me) throw this.#broken.error
      this.#broken = undefined // if it was set, this same step has failed before and runs again now
      try {
        return await run(tx)
      } catch (error) {
        this.#broken = { by: me, error }
        throw error
      }
    })
    step.catch((error: unknown) => {
      this.#broken ??= { by: me, error } // if still undefined: `run` has succeeded, but the commit has failed
    })
    return step
  }
}
