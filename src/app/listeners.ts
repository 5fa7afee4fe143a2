/** Functions that an app has passed to be told of something. */

/**
 * One rule for every set: listeners are told at the end of the turn, those that were there when it happened and still are,
 * and one that throws disturbs nobody. So a listener may subscribe, write, connect or close, whatever is going on.
 */
export class Listeners<T extends readonly unknown[]> {
  readonly #all = new Set<(...told: T) => void>()

  /** Returns the unsubscription. One function may listen twice. */
  add(f: (...told: T) => void): () => void {
    const listener = (...told: T) => f(...told)
    this.#all.add(listener)
    return () => void this.#all.delete(listener)
  }

  /** `what` is asked for what to tell when the listeners are called. */
  tell(what: () => T): void {
    const all = [...this.#all]
    if (all.length === 0) return
    queueMicrotask(() => {
      for (const listener of all) if (this.#all.has(listener)) callSafely(() => listener(...what()))
    })
  }

  /** Nobody is told of what happens from now on. */
  end(): void {
    queueMicrotask(() => this.#all.clear()) // behind what is told in this turn
  }
}

/** A listener that throws must not keep the next one from hearing, nor fail a commit that has happened. */
function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
