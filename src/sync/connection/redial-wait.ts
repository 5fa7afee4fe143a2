/**
 * How long a connection waits before it dials the relay again. The wait is random between 0 and a span (full jitter).
 * The span doubles with each dial that brought no progress.
 */
import { type Env, randomUnit } from "../../base/env.ts"

/** The first span, and the longest span, ms. */
const FIRST_SPAN_MS = 1000
const LONGEST_SPAN_MS = 5 * 60_000

export class RedialWait {
  /** Dials in a row that brought no progress. */
  #failures = 0
  /**
   * The workspaces that were unfinished at the last break and have made no progress since. While there is one, the
   * progress of other workspaces does not make the next wait short. Otherwise, a proxy that closes every connection
   * after a number of bytes would be dialled every second, because some workspace always makes progress before that.
   */
  readonly #unproven = new Set<string>()

  /** Returns the wait before the next dial, ms. Call once after each break and each failed dial. */
  next(env: Env): number {
    const span = Math.min(LONGEST_SPAN_MS, FIRST_SPAN_MS * 2 ** this.#failures++)
    return Math.ceil(randomUnit(env) * span)
  }

  /**
   * Call when an open connection breaks. `unfinished`: ids of workspaces that the relay had not answered completely.
   */
  broke(unfinished: Iterable<string>): void {
    this.#unproven.clear()
    for (const workspace of unfinished) this.#unproven.add(workspace)
  }

  /** Call when this workspace has made progress over the connection. */
  proven(workspace: string): void {
    this.#unproven.delete(workspace)
    if (this.#unproven.size === 0) this.#failures = 0
  }

  /** Call when this workspace is no longer on the connection. */
  left(workspace: string): void {
    this.#unproven.delete(workspace)
  }

  /** Makes the next wait short. */
  reset(): void {
    this.#failures = 0
  }
}
