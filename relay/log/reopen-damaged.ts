/**
 * Mends a damaged log. A read that meets damage waits until the log has been opened again without the damaged records,
 * and then runs again.
 */
import type { Awaitable } from "./contract.ts"
import { Damage } from "./damage.ts"

/** How often one read is tried if it meets damage, or if the log is mended during the read. */
const ATTEMPTS = 3

/** The log that `Mending` mends. */
export interface Mendable<Contents> {
  /** The contents that reads get: a different object after each mend. */
  contents(): Contents
  closed(): boolean
  /**
   * Opens the log again without the damaged records. Resolves with whether records are lost. `damage`: the damage in
   * the oldest damaged segment.
   */
  reopen(damage: Damage | undefined): Promise<boolean>
  /** Called when damage is found while none was known. */
  damaged(damage: Damage): void
  /** Called when the log was mended and has lost records. */
  broken(): void
  /** Returns the error for a read that has failed. */
  unreadable(cause: unknown): Error
}

export class Mending<Contents> {
  readonly #log: Mendable<Contents>
  /** Damage that is not mended yet. If several segments are damaged, this is the damage in the oldest one. */
  #damage: Damage | undefined
  #work: Promise<void> | undefined

  constructor(log: Mendable<Contents>) {
    this.#log = log
  }

  /** Whether there is damage that is not mended yet. */
  get needed(): boolean {
    return this.#damage !== undefined
  }

  note(damage: Damage): void {
    if (!this.#damage) this.#log.damaged(damage)
    if (!this.#damage || damage.segment < this.#damage.segment) this.#damage = damage
  }

  /**
   * Mends the log. While a mend is under way, further callers wait for the same mend. After a failed mend, the next
   * caller tries again.
   */
  mend(): Promise<void> {
    this.#work ??= this.#mend().finally(() => {
      this.#work = undefined
    })
    return this.#work
  }

  /** Resolves when no mend is under way. */
  async idle(): Promise<void> {
    await this.#work?.catch(() => {})
  }

  async #mend(): Promise<void> {
    const lost = await this.#log.reopen(this.#damage)
    this.#damage = undefined
    if (lost) this.#log.broken()
  }

  /**
   * Runs a read. Answers synchronously when memory holds everything that the read needs; only reads of files may meet
   * damage.
   */
  read<T>(read: (contents: Contents) => Awaitable<T>): Awaitable<T> {
    const ready = !this.#damage ? read(this.#log.contents()) : undefined
    return ready instanceof Promise || this.#damage ? this.#readWhole(read, ready) : (ready as T)
  }

  /**
   * Runs a read, and runs it again after the log was mended, `ATTEMPTS` times at most. `first`: the promise of the
   * first run, if it is already under way.
   */
  async #readWhole<T>(read: (contents: Contents) => Awaitable<T>, first?: Awaitable<T>): Promise<T> {
    let reading = first
    for (let attempt = 1; ; attempt++) {
      let contents = this.#log.contents()
      try {
        if (this.#damage) await this.mend()
        contents = this.#log.contents()
        const found = await (reading ?? read(contents))
        // If the contents were replaced, the log was mended during the read and may have lost the entries that the read
        // found.
        if (contents === this.#log.contents()) return found
      } catch (error) {
        const mended = contents !== this.#log.contents()
        if (error instanceof Damage && !mended) this.note(error)
        const again = (this.#damage || mended) && attempt < ATTEMPTS && !this.#log.closed()
        if (!again) throw this.#log.unreadable(error)
      }
      reading = undefined
    }
  }
}
