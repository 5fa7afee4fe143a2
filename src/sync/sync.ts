/**
 * Keeps a replica level with the relay's log. There is one `Sync` for each workspace. It makes a new `Session` for each
 * live connection, so that a connection begins with no state of an earlier one. Only the waits after failures and
 * refusals are kept.
 */
import type { Env } from "../base/env.ts"
import type { HeadwaterError } from "../base/errors.ts"
import { clockSetBack } from "../replica/clock-set-back.ts"
import type { Replica } from "../replica/replica.ts"
import type { RelayMessage } from "../wire/protocol.ts"
import { ClockWatch } from "./clock-watch.ts"
import type { Channel, Link } from "./connection/relay-connection.ts"
import { Progress } from "./progress.ts"
import { Refusals } from "./refused-entities.ts"
import { Backoff, Session, type SessionStatus } from "./session.ts"

/** The status of the connection to the relay, and of the session on it. */
export interface SyncStatus extends SessionStatus {
  readonly connection: "none" | "dialling" | "waiting" | "open"
  /** ms since 1970: when the relay is dialled again; null when no dial is planned. */
  readonly retryAt: number | null
  /** The error that ended the last connection or dial; null when there is none. */
  readonly error: HeadwaterError | null
}

/**
 * The part of the status that a session sets, as it is after the session has ended. `asOf` and `trouble` stay until the
 * next session.
 */
const noSession = { level: false, refusal: null, progress: null } as const
const noTrouble = { error: null, trouble: null } as const
const idle: SyncStatus = { connection: "none", asOf: 0, retryAt: null, ...noTrouble, ...noSession }

export class Sync implements Channel {
  status: SyncStatus = idle
  #session: Session | undefined
  /** How often `check` was called. */
  #checks = 0
  readonly #replica: Replica
  readonly #env: Env
  readonly #changed: () => void
  /**
   * `#backoff`, `#progress` and `#refusals` are used for all connections. With the first two, a failure that recurs on
   * the next connection makes the wait before the next attempt longer. With `#refusals`, a new connection does not end
   * the wait that the relay has named with `QUOTA` or `RATE`.
   */
  readonly #backoff: Backoff
  readonly #progress: Progress
  readonly #refusals: Refusals
  /** The principal to whom the refusals apply. */
  #principal: string | null
  #link: Link | undefined
  readonly #clockWatch: ClockWatch

  constructor(replica: Replica, env: Env, changed: () => void) {
    this.#replica = replica
    this.#backoff = new Backoff(env)
    this.#progress = new Progress(env, () => {
      this.#backoff.reset()
      this.#link?.proven()
    })
    this.#env = env
    this.#changed = changed
    this.#refusals = new Refusals(
      env,
      (refusal) => {
        if (this.#session !== undefined) this.#update({ refusal })
      },
      () => this.#session?.push(),
    )
    this.#principal = replica.state.principal
    replica.onCommit(() => {
      if (replica.state.principal !== this.#principal) this.#refusals.clear()
      this.#principal = replica.state.principal
      this.#session?.push()
    })
    const measuredAt = () => replica.state.clockMeasuredAt
    this.#clockWatch = new ClockWatch(env, measuredAt, (ms, before) => {
      // If an answer of the relay has come since the jump, the difference is right already. An answer may also have
      // come between the last check and the jump. It does not count. It was measured by the old clock, so its time lies
      // in the future by the clock that was set back.
      const isMeasured = measuredAt() !== before && measuredAt() <= env.now()
      if (ms < 0 && !isMeasured) clockSetBack(replica, -ms).catch(() => {}) // the status shows a failure of the disk
      this.#session?.askTime()
    })
  }

  opened(link: Link): void {
    this.#update({ connection: "open", retryAt: null, ...noTrouble, ...noSession })
    this.#link = link
    this.#session = new Session({
      replica: this.#replica,
      env: this.#env,
      link,
      latestCheck: () => this.#checks,
      update: (patch) => this.#update(patch),
      backoff: this.#backoff,
      progress: this.#progress,
      refusals: this.#refusals,
    })
    this.#refusals.reconnected()
  }

  /**
   * Asks the relay for everything that it has now. Returns the number of this check. This device has everything once
   * `status.level` is true and `status.asOf` has reached that number.
   */
  check(): number {
    this.#checks++
    this.#session?.pullAgain()
    return this.#checks
  }

  received(message: RelayMessage, bytes: number): void {
    this.#session?.receive(message, bytes)
  }

  dialling(): void {
    this.#endSession()
    this.#update({ connection: "dialling", retryAt: null, ...noSession })
  }

  get isUnfinished(): boolean {
    return this.#session?.unfinished !== undefined
  }

  closed(error: HeadwaterError | null, retryAt: number | null): void {
    this.#session?.broke() // when a dial has failed, there is no session
    this.#endSession()
    if (retryAt === null) this.#refusals.clear()
    const connection = retryAt === null ? "none" : "waiting"
    this.#update({ connection, retryAt, ...noSession, ...(error && { ...noTrouble, error }) })
  }

  /** Call when the app has ended the connection of this workspace. */
  stop(): void {
    this.#endSession()
    this.#refusals.clear()
    this.#update(idle)
  }

  /** Call when the workspace is closed. */
  end(): void {
    this.#clockWatch.end()
    this.#refusals.clear()
  }

  #endSession(): void {
    this.#link = undefined
    this.#session?.end()
    this.#session = undefined
  }

  #update(patch: Partial<SyncStatus>): void {
    this.status = { ...this.status, ...patch }
    this.#changed()
  }
}
