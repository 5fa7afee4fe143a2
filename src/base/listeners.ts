/** Keeps listeners: functions that are called when something has happened. */

/**
 * A set of listeners. `tell` and `tellNow` call those listeners that were in the set at the call and are still in it, so
 * a listener may add and remove listeners. A listener that throws does not affect the others, nor the caller.
 */
export class Listeners<T extends readonly unknown[]> {
  readonly #all = new Set<(...told: T) => void>()

  /** Adds a listener and returns its unsubscription. One function may listen twice. */
  add(f: (...told: T) => void): () => void {
    const listener = (...told: T) => f(...told)
    this.#all.add(listener)
    return () => void this.#all.delete(listener)
  }

  /**
   * Calls the listeners at the end of the turn. So a listener of an app may write, connect or close at any time. `what`
   * makes the arguments, and is called only then.
   */
  tell(what: () => T): void {
    const all = [...this.#all]
    if (all.length === 0) return
    queueMicrotask(() => {
      for (const listener of all) if (this.#all.has(listener)) void callSafely(() => listener(...what()))
    })
  }

  /**
   * Calls the listeners at once. For listeners of the library itself, because the code after the call relies on what
   * they have done: a write that has resolved is in the status.
   */
  tellNow(...told: T): void {
    for (const listener of [...this.#all]) if (this.#all.has(listener)) void callSafely(() => listener(...told))
  }

  /** Removes all listeners at the end of the turn, after the calls that `tell` has delayed until then. */
  end(): void {
    queueMicrotask(() => this.#all.clear())
  }
}

/**
 * Calls a listener. An error that the listener throws must not keep the next listener from being called, fail a commit
 * that is done, or end the Node process as an uncaught error would. The same holds for the promise of an async listener
 * that rejects. In a page the error is reported like any uncaught error of the page. `f` is called before this function
 * returns, and what it throws then is reported before that, too.
 */
async function callSafely(f: () => unknown): Promise<void> {
  try {
    await f()
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error)
    else console.error(error)
  }
}
