/** Keeps listeners: functions that are called when something has happened. */

/**
 * A set of listeners. A listener may add and remove listeners while the set is being told: a listener that was added
 * after the call of `tell` or `tellNow` is not called, and one that was removed is not called any more. A listener that
 * throws affects neither the other listeners nor the caller.
 */
export class Listeners<T extends readonly unknown[]> {
  readonly #all = new Set<(...told: T) => void>()

  /** Adds a listener. Returns the function that removes it. A function that is added twice is called twice. */
  add(f: (...told: T) => void): () => void {
    const listener = (...told: T) => f(...told)
    this.#all.add(listener)
    return () => void this.#all.delete(listener)
  }

  /**
   * Calls the listeners in a microtask, after the caller has ended. So a listener of an app may write, connect or close
   * without disturbing the caller. `what` makes the arguments, and is called in that microtask, too.
   */
  tell(what: () => T): void {
    const all = [...this.#all]
    if (all.length === 0) return
    queueMicrotask(() => {
      for (const listener of all) if (this.#all.has(listener)) void callSafely(() => listener(...what()))
    })
  }

  /**
   * Calls the listeners before it returns. Only for listeners of the library itself. The caller relies on what they do:
   * for example, the status must count a write before the write's promise resolves.
   */
  tellNow(...told: T): void {
    for (const listener of [...this.#all]) if (this.#all.has(listener)) void callSafely(() => listener(...told))
  }

  /** Removes all listeners in a microtask, after the calls that `tell` has put off. */
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
