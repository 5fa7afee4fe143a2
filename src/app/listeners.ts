/** Keeps listeners: functions of an app that are called when something has happened. */

/**
 * A set of listeners. At the end of the turn, `tell` calls those listeners that were in the set when `tell` was called
 * and are still in it. So a listener may subscribe, write, connect or close at any time. A listener that throws does
 * not affect the others.
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

  /** Removes all listeners at the end of the turn, after the calls that `tell` has delayed until then. */
  end(): void {
    queueMicrotask(() => this.#all.clear())
  }
}

/**
 * Calls a listener. An error that the listener throws must not keep the next listener from being called, fail a commit
 * that is done, or end the Node process as an uncaught error would. In a page the error is reported like any uncaught
 * error of the page.
 */
function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error)
    else console.error(error)
  }
}
