/**
 * The open logs that nobody has borrowed. Their number and their memory are limited, however many other logs are in
 * use. A call takes the same time however many logs there are: a client that leaves 10,000 workspaces must not keep the
 * others waiting.
 */

interface IdleLog {
  /** Bytes of memory that it takes, about. */
  readonly bytes: number
  shut(): void
}

export class IdleLogs {
  readonly #most: number
  readonly #mostBytes: number
  /** By workspace, in the order in which they were given back. */
  readonly #logs = new Map<string, IdleLog>()
  #bytes = 0

  constructor({ logs, idleBytes }: { readonly logs: number; readonly idleBytes: number }) {
    this.#most = logs
    this.#mostBytes = idleBytes
  }

  /** Keeps a log. Its `shut` is called once there is no room for it, perhaps at once. The oldest log goes first. */
  add(workspace: string, bytes: number, shut: () => void): void {
    this.#logs.set(workspace, { bytes, shut })
    this.#bytes += bytes
    for (const [oldest, log] of this.#logs) {
      if (this.#logs.size <= this.#most && this.#bytes <= this.#mostBytes) return
      this.take(oldest)
      log.shut()
    }
  }

  /** The log is borrowed again, or gone. */
  take(workspace: string): void {
    const log = this.#logs.get(workspace)
    if (!log) return
    this.#logs.delete(workspace)
    this.#bytes -= log.bytes
  }
}
