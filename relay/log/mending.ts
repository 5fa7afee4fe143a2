/**
 * Mends a damaged log. A read that meets damage waits until the log has been opened again without it, and is tried
 * again.
 */
import type { Awaitable } from "./contract.ts"
import { Damage } from "./damage.ts"

/** How often one read is tried when it meets damage, or when the log is mended meanwhile. */
const ATTEMPTS = 3

/** The log that is mended. */
export interface Mendable<Contents> {
  /** The contents that reads are given: another object after each mend. */
  contents(): Contents
  closed(): boolean
  /**
   * Opens the log again without the damaged records. Resolves with whether records are lost. `damage`: that in the
   * oldest damaged segment.
   */
  reopen(damage: Damage | undefined): Promise<boolean>
  /** Damage was met while none was known. */
  damaged(damage: Damage): void
  /** The log goes on without the lost records. */
  broken(): void
  /** The error for a read that cannot be done. */
  unreadable(cause: unknown): Error
}

export class Mending<Contents> {
  readonly #log: Mendable<Contents>
  /** Damage that is not mended yet; of several, that in the oldest segment. */
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
   * Mends the log. A caller that comes while a mend is under way waits for that one. After a mend that has failed, the
   * next caller tries again.
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

  /** Runs a read. Answers at once when memory holds all that the read needs; only a read of files may meet damage. */
  read<T>(read: (contents: Contents) => Awaitable<T>): Awaitable<T> {
    const ready = !this.#damage ? read(this.#log.contents()) : undefined
    return ready instanceof Promise || this.#damage ? this.#readWhole(read, ready) : (ready as T)
  }

  /** `first`: the first try, when it is under way already. */
  async #readWhole<T>(read: (contents: Contents) => Awaitable<T>, first?: Awaitable<T>): Promise<T> {
    let reading = first
    for (let attempt = 1; ; attempt++) {
      let contents = this.#log.contents()
      try {
        if (this.#damage) await this.mend()
        contents = this.#log.contents()
        const found = await (reading ?? read(contents))
        // With other contents, the log was mended during the read and may have lost what was found.
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
