/** The interface between an attempt and its session. */
import type { Env } from "../base/env.ts"
import type { HeadwaterError } from "../base/errors.ts"
import type { Replica } from "../replica/replica.ts"
import type { CatchUpStatus } from "./catch-up.ts"
import type { ClockDifference } from "./clock-difference.ts"
import type { Link } from "./connection/relay-connection.ts"
import type { Progress } from "./progress.ts"
import type { Refusals } from "./refused-entities.ts"

/** The part of a workspace's status that an attempt sets. */
export interface AttemptStatus extends CatchUpStatus {
  /** The relay's latest notice about this workspace, or the error that ended the last attempt; null if all is well. */
  readonly trouble: HeadwaterError | null
  /** Of the refusals for now (`refusal-wait.ts`), the error of the one that ends first; null when there is none. */
  readonly refusal: HeadwaterError | null
}

export interface AttemptOptions {
  readonly replica: Replica
  readonly env: Env
  readonly link: Link
  /** The number of the latest check (`Sync.check`). */
  readonly latestCheck: () => number
  readonly update: (patch: Partial<AttemptStatus>) => void
  /** Returns the id for the next push. No two pushes of one connection have the same id. */
  readonly nextPushId: () => string
  /** Whether an earlier attempt has ended on this connection. The relay may still send messages for that attempt. */
  readonly again: boolean
  /** Whether entries that the relay has sent on this connection were dropped, because an earlier attempt failed. */
  readonly dropped: boolean
  /** How many `have` messages of earlier attempts the relay has not answered completely. */
  readonly staleWants: number
  readonly progress: Progress
  readonly refusals: Refusals
  readonly clockDifference: ClockDifference
  /**
   * Called when this attempt has failed. The session ends the attempt, and begins another after a wait. `retryIn`: the
   * shortest wait that the relay asks for, ms.
   */
  readonly failed: (error: HeadwaterError, retryIn?: number) => void
  /**
   * Called when `Attempt.mustHeal` has become true. The session also reads `mustHeal` after every commit, but the next
   * commit may not come for a long time.
   */
  readonly damaged: () => void
}
