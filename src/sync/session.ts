/**
 * Runs one workspace on one live connection: makes an attempt to keep level with the relay, and after a failure another
 * attempt. A failure concerns only this workspace: the socket and the other workspaces on it go on.
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
 * The wait before the next attempt, ms, is random between half of this number and this number. The number doubles with
 * each failure in a row.
 */
const FIRST_RETRY_MS = 2000
const LONGEST_RETRY_MS = 5 * 60_000

/** Counts the failures of a workspace, over all connections. */
export class Backoff {
  /** Attempts in a row that failed without progress. */
  #failures = 0
  readonly #env: Env

  constructor(env: Env) {
    this.#env = env
  }

  /**
   * How long to wait after one more failure, ms. `named`: the wait that the relay asks for. Such a wait doubles with
   * each failure, too, but is not random.
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
 * At most this many heals begin on one connection because the disk has damaged a change. If the relay does not have
 * that change either, more heals would not help.
 */
const HEALS_AT_MOST = 3
/** Wait before one more such heal, ms. Without that heal, `whenStored` would wait for a heal that never begins. */
const HEAL_AGAIN_MS = 60_000

export class Session {
  readonly #o: SessionOptions
  /** The present attempt; undefined during the wait for the next one. */
  #attempt: Attempt | undefined
  #cancelRetry: (() => void) | undefined
  #cancelHeal: (() => void) | undefined
  #pushes = 0
  /** How many attempts began because the disk had damaged a change; one less after each wait of `HEAL_AGAIN_MS`. */
  #healed = 0
  /** How many `have`s the relay has not answered completely. */
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
   * Ends the attempt, and begins another after a wait. After `PROTOCOL_VERSION` no other attempt begins: this version
   * cannot read an entry of the log, and another attempt would only fetch that entry again.
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
   * Ends the present attempt, and notes what it had not finished. Does nothing during the wait after a failure, when
   * there is no attempt: what the last attempt had not finished must stay noted. Otherwise an ack would count as
   * progress although the pull fails again.
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

  /** What the present attempt has not finished; undefined if it has finished everything, or there is no attempt. */
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
   * Pushes the outbox. When the disk has damaged a change, begins a new attempt, which asks the relay for the change.
   */
  push(): void {
    if (!this.#attempt?.mustHeal) return this.#attempt?.push()
    if (this.#healed === HEALS_AT_MOST) {
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

  /** Pulls again, unless the answer to the latest pull will show what the relay has now. */
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

/** The same error, with the time of the next try. */
function withRetry(error: HeadwaterError, retryAt: number | undefined): HeadwaterError {
  if (retryAt === undefined) return error
  const { code, message, entity, field, cause } = error
  return new HeadwaterError(code, message.slice(code.length + 2), { entity, field, cause, retryAt })
}
