/** Keeps listeners: functions of an app that are called when something has happened. */

/**
 * A set of listeners. `tell` calls, at the end of the turn, the listeners that were in the set at the call and still
 * are. A listener that throws does not affect the others. So a listener may subscribe, write, connect or close at any
 * time.
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

  /** Removes all listeners after they have been told what happened in this turn. */
  end(): void {
    queueMicrotask(() => this.#all.clear())
  }
}

/**
 * Calls a listener. An error that it throws must not keep the next listener from being called, fail a commit that is
 * done, or end the Node process, as an uncaught error does. A page reports the error as an uncaught error of its own.
 */
function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error)
    else console.error(error)
  }
}
