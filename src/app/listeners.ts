/** Keeps listeners: functions that an app has passed in order to be told of something. */

/**
 * A set of listeners. At the end of the turn in which something happened, it calls those that were in the set then and
 * still are; one that throws disturbs nobody. So a listener may subscribe, write, connect or close, whatever is going
 * on.
 */
export class Listeners<T extends readonly unknown[]> {
  readonly #all = new Set<(...told: T) => void>()

  /** Adds a listener and returns its unsubscription. One function may listen twice. */
  add(f: (...told: T) => void): () => void {
    const listener = (...told: T) => f(...told)
    this.#all.add(listener)
    return () => void this.#all.delete(listener)
  }

  /** Calls the listeners at the end of the turn. `what` makes their arguments, and is called only then. */
  tell(what: () => T): void {
    const all = [...this.#all]
    if (all.length === 0) return
    queueMicrotask(() => {
      for (const listener of all) if (this.#all.has(listener)) callSafely(() => listener(...what()))
    })
  }

  /** Removes all listeners, after what is told in this turn. */
  end(): void {
    queueMicrotask(() => this.#all.clear())
  }
}

/**
 * A listener that throws must not keep the next one from hearing, nor fail a commit that has happened, nor end a process
 * on Node, as an error that nobody catches does. A page reports it as its own uncaught error.
 */
function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error)
    else console.error(error)
  }
}
