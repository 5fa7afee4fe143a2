/** Steps run one at a time; those that wait together form a group, which stands or falls together. */
import { HeadwaterError } from "../base/errors.ts"
import type { Transaction } from "./transaction.ts"

export interface Step {
  /** Entities that it writes to: it falls with a failed group that wrote to the same ones. */
  readonly entities: readonly string[]
  /** Never grouped with others. */
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

  /** `most` is the size of a group. `commit` runs a group and settles its steps. */
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

  /** Takes those that write to one of these entities out of the queue. */
  takeBehind(entities: ReadonlySet<string>): Step[] {
    const behind = this.#waiting.filter((step) => step.entities.some((entity) => entities.has(entity)))
    this.#waiting = this.#waiting.filter((step) => !behind.includes(step))
    return behind
  }

  /** Takes no more; resolves when those at hand have been settled. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #loop(): Promise<void> {
    await undefined // steps asked for in one turn wait for each other
    while (this.#waiting.length > 0) {
      const alone = this.#waiting.findIndex((step) => step.alone)
      const group = this.#waiting.splice(0, Math.min(this.#most, alone < 0 ? this.#waiting.length : Math.max(1, alone)))
      try {
        await this.#commit(group)
      } catch (error) {
        for (const step of group) step.reject(error) // settled ones do not mind; the queue goes on
      }
    }
    this.#running = undefined
  }
}
