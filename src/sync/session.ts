/**
 * Runs one workspace on one live connection: begins an attempt to keep the workspace level with the relay, and another
 * one after each failure. A failure of an attempt affects neither the socket nor the other workspaces on it.
 */
import { type Env, randomUnit } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import type { Replica } from "../replica/replica.ts"
import type { RelayMessage } from "../wire/protocol.ts"
import { Attempt } from "./attempt.ts"
import type { AttemptStatus } from "./attempt-options.ts"
import { ClockDifference } from "./clock-difference.ts"
import type { Link } from "./connection/relay-connection.ts"
import type { Progress, Unfinished } from "./progress.ts"
import type { Refusals } from "./refused-entities.ts"

export type SessionStatus = AttemptStatus

/**
 * The longest wait after the first failure, ms. It doubles with each further failure in a row, up to
 * `LONGEST_RETRY_MS`. The wait is random between half of it and the whole.
 */
const FIRST_RETRY_MS = 2000
const LONGEST_RETRY_MS = 5 * 60_000

/** Computes the waits after failed attempts of a workspace. Counts failures in a row, over all connections. */
export class Backoff {
  /** Attempts in a row that failed without progress. */
  #failures = 0
  readonly #env: Env

  constructor(env: Env) {
    this.#env = env
  }

  /**
   * Counts one more failure. Returns how long to wait after it, ms. `named`: the wait that the relay asks for, ms. A
   * named wait doubles with each failure, too, but is not random.
   */
  next(named?: number): number {
    const doubled = Math.min(LONGEST_RETRY_MS, (named ?? FIRST_RETRY_MS) * 2 ** this.#failures++)
    return named === undefined ? Math.ceil((doubled * (1 + randomUnit(this.#env))) / 2) : Math.max(named, doubled)
  }

  reset(): void {
    this.#failures = 0
  }
}

export interface SessionOptions {
  readonly replica: Replica
  readonly env: Env
  readonly link: Link
  readonly latestCheck: () => number
  readonly update: (patch: Partial<SessionStatus>) => void
  readonly backoff: Backoff
  readonly progress: Progress
  readonly refusals: Refusals
}

/**
 * This many heals begin at once on one connection because the disk has damaged a change. After them, the relay probably
 * does not have the change either, so further heals wait.
 */
const HEALS_FOR_DAMAGE = 3
/** How long each further heal waits, ms. It is still needed, because `whenStored` waits until a heal has ended. */
const HEAL_AGAIN_MS = 60_000

export class Session {
  readonly #o: SessionOptions
  /** The present attempt; undefined during the wait for the next one. */
  #attempt: Attempt | undefined
  #cancelRetry: (() => void) | undefined
  #cancelHeal: (() => void) | undefined
  /** How many pushes were sent on this connection. */
  #pushes = 0
  /** How many attempts began because the disk had damaged a change; one less after each wait of `HEAL_AGAIN_MS`. */
  #healed = 0
  /** How many `have` messages the relay has not answered completely. */
  #wantsDue = 0
  readonly #clockDifference: ClockDifference

  constructor(options: SessionOptions) {
    this.#o = options
    this.#clockDifference = new ClockDifference(options.env)
    this.#begin(false)
  }

  /** `again`, `dropped`: see `AttemptOptions`. */
  #begin(again: boolean, dropped = false): void {
    const { replica, env, latestCheck, update, progress, refusals } = this.#o
    const clockDifference = this.#clockDifference
    if (again) refusals.beginAgain()
    const link: Link = {
      ...this.#o.link,
      send: (message) => {
        if (message.t === "have") this.#wantsDue++
        this.#o.link.send(message)
      },
    }
    this.#attempt = new Attempt({
      ...{ replica, env, link, latestCheck, update, progress, clockDifference, refusals, again, dropped },
      staleWants: this.#wantsDue,
      nextPushId: () => String(++this.#pushes),
      failed: (error, retryIn) => this.#failed(error, retryIn),
      damaged: () => this.push(),
    })
  }

  /**
   * Ends the failed attempt, and begins another after a wait. After `PROTOCOL_VERSION` no other attempt begins: this
   * version does not know the kind of an entry, or an access, and another attempt would only get the same again.
   */
  #failed(error: HeadwaterError, retryIn?: number): void {
    const { env, backoff, update } = this.#o
    this.#endFailedAttempt()
    const wait = error.code === "PROTOCOL_VERSION" ? undefined : backoff.next(retryIn)
    const retryAt = wait === undefined ? undefined : env.now() + wait
    update({ level: false, progress: null, refusal: null, trouble: withRetry(error, retryAt) })
    if (wait === undefined) return
    this.#cancelRetry = env.after(wait, () => {
      this.#cancelRetry = undefined
      this.#begin(true, true)
    })
  }

  /**
   * Ends the present attempt, and notes whether it was pulling or pushing. Does nothing when there is no attempt,
   * during the wait after a failure: the note of the failed attempt must stay. Otherwise an ack would count as progress
   * although the pull fails each time.
   */
  #endFailedAttempt(): void {
    if (this.#attempt === undefined) return
    this.#o.progress.failed(this.unfinished)
    this.#attempt.end()
    this.#attempt = undefined
  }

  /** Call when the connection has broken. */
  broke(): void {
    this.#endFailedAttempt()
    this.end()
  }

  /** Whether the present attempt is pulling or pushing; undefined if it does neither, or there is no attempt. */
  get unfinished(): Unfinished | undefined {
    return this.#attempt?.unfinished
  }

  receive(message: RelayMessage, bytes: number): void {
    if (message.t === "want" && !message.more && this.#wantsDue > 0) this.#wantsDue--
    // After this notice the relay answers none of our earlier messages.
    if (message.t === "notice" && message.code === "LOG_FAILED") {
      this.#wantsDue = 0
      this.#clockDifference.forget()
    }
    if (this.#attempt !== undefined) this.#attempt.receive(message, bytes)
    else if (message.t === "entries" && message.time !== undefined) this.#clockDifference.passedOver()
  }

  /**
   * Pushes the outbox. If the disk has damaged a change, begins a new attempt, which heals: the relay may have the
   * change.
   */
  push(): void {
    if (!this.#attempt?.mustHeal) return this.#attempt?.push()
    if (this.#healed === HEALS_FOR_DAMAGE) {
      this.#cancelHeal ??= this.#o.env.after(HEAL_AGAIN_MS, () => {
        this.#cancelHeal = undefined
        this.#healed--
        this.push()
      })
      return this.#attempt.push()
    }
    this.#healed++
    this.#attempt.giveWay()
    this.#o.update({ level: false })
    this.#begin(true)
  }

  /** Pulls again for the latest check, unless a pull for it was sent already, or another answer is under way. */
  pullAgain(): void {
    this.#attempt?.pullAgain()
  }

  /** Call when the device's clock was set. */
  askTime(): void {
    this.#attempt?.askTime()
  }

  end(): void {
    this.#cancelRetry?.()
    this.#cancelHeal?.()
    this.#attempt?.end()
    this.#attempt = undefined
  }
}

/** Returns the same error with the time of the next attempt, ms since 1970. */
function withRetry(error: HeadwaterError, retryAt: number | undefined): HeadwaterError {
  if (retryAt === undefined) return error
  const { code, message, entity, field, cause } = error
  return new HeadwaterError(code, message.slice(code.length + 2), { entity, field, cause, retryAt })
}
