/** The queue of steps. Steps run one at a time; the steps that wait together form a group, which one commit saves. */
import { HeadwaterError } from "../base/errors.ts"
import type { Transaction } from "./transaction.ts"

export interface Step {
  /**
   * Ids of the entities that the step writes to. When a group's commit fails, waiting steps that write to the same
   * entities fail with it.
   */
  readonly entities: readonly string[]
  /** Whether the step must be the only step of its group. */
  readonly alone: boolean
  run(tx: Transaction): unknown
  resolve(value: unknown): void
  reject(error: unknown): void
}

export class Queue {
  #waiting: Step[] = []
  #running: Promise<void> | undefined
  #closed = false
  readonly #most: number
  readonly #commit: (group: readonly Step[]) => Promise<void>

  /** `most`: how many steps a group has at most. `commit` runs a group and settles its steps. */
  constructor(most: number, commit: (group: readonly Step[]) => Promise<void>) {
    this.#most = most
    this.#commit = commit
  }

  add<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>, alone: boolean): Promise<T> {
    if (this.#closed) return Promise.reject(new HeadwaterError("CLOSED", "the workspace is closed"))
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ entities, alone, run, resolve: resolve as (value: unknown) => void, reject })
      this.#running ??= this.#loop()
    })
  }

  /** Removes the waiting steps that write to one of these entities, and returns them. */
  removeBehind(entities: ReadonlySet<string>): Step[] {
    const behind = this.#waiting.filter((step) => step.entities.some((entity) => entities.has(entity)))
    this.#waiting = this.#waiting.filter((step) => !behind.includes(step))
    return behind
  }

  /** Refuses new steps from now on (`CLOSED`). Resolves when all steps in the queue have settled. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #loop(): Promise<void> {
    await undefined // so that steps that are added synchronously, one after the other, form one group
    while (this.#waiting.length > 0) {
      const alone = this.#waiting.findIndex((step) => step.alone)
      const group = this.#waiting.splice(0, Math.min(this.#most, alone < 0 ? this.#waiting.length : Math.max(1, alone)))
      try {
        await this.#commit(group)
      } catch (error) {
        for (const step of group) step.reject(error) // rejecting a settled step has no effect; the loop goes on
      }
    }
    this.#running = undefined
  }
}
