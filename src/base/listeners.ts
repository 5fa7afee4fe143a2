/** Keeps listeners: functions that are called when something has happened. */

/**
 * A set of listeners. `tell` and `tellNow` call the listeners that are in the set at that moment. While these are being
 * called, listeners may be added and removed: an added listener is first called by the next `tell`, and a removed one
 * is not called any more. A listener that throws affects neither the other listeners nor the caller.
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
   * without disturbing the caller. `what` returns the arguments, and is called in that microtask for each listener.
   */
  tell(what: () => T): void {
    const all = [...this.#all]
    if (all.length === 0) return
    queueMicrotask(() => {
      for (const listener of all) if (this.#all.has(listener)) void callSafely(() => listener(...what()))
    })
  }

  /**
   * Calls the listeners before `tellNow` returns. For listeners of the library itself, on whose effects the caller relies
   * (the status must count a write before the write's promise resolves), and for texts on a screen: an editor must have
   * each splice before the next key.
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
 * Calls `f`, a listener, and reports its error: in a web page like any uncaught error, elsewhere on the console. The
 * error of a listener must not keep the next listener from being called, fail a commit that is done, or end the Node
 * process. This includes the rejected promise of an async listener. `f` is called before `callSafely` returns, and an
 * error that `f` throws synchronously is reported before that, too.
 */
async function callSafely(f: () => unknown): Promise<void> {
  try {
    await f()
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error)
    else console.error(error)
  }
}
