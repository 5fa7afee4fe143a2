/**
 * Keeps logs open that nobody has borrowed. Their number and memory are limited; logs in use do not count. A call takes
 * the same time for any number of logs. Otherwise a client that leaves 10,000 workspaces would keep all other clients
 * waiting.
 */

interface IdleLog {
  /** Approximate bytes of memory that the log takes. */
  readonly bytes: number
  shut(): void
}

export class IdleLogs {
  readonly #most: number
  readonly #mostBytes: number
  /** The logs by workspace id, in the order in which they were given back. */
  readonly #logs = new Map<string, IdleLog>()
  #bytes = 0

  constructor({ logs, idleBytes }: { readonly logs: number; readonly idleBytes: number }) {
    this.#most = logs
    this.#mostBytes = idleBytes
  }

  /**
   * Keeps a log. `shut` is called once the limits do not allow keeping the log, perhaps during this call. The log that
   * was given back first is shut first.
   */
  add(workspace: string, bytes: number, shut: () => void): void {
    this.#logs.set(workspace, { bytes, shut })
    this.#bytes += bytes
    for (const [oldest, log] of this.#logs) {
      if (this.#logs.size <= this.#most && this.#bytes <= this.#mostBytes) return
      this.take(oldest)
      log.shut()
    }
  }

  /** Removes a log, because it is borrowed again or shut. */
  take(workspace: string): void {
    const log = this.#logs.get(workspace)
    if (!log) return
    this.#logs.delete(workspace)
    this.#bytes -= log.bytes
  }
}
