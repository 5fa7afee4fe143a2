/**
 * Shows the relay's latest notice about a workspace in its status. If the relay does not serve the workspace for now,
 * the attempt sends its pull or `have` again: after the wait that the relay names, or after a wait that doubles each
 * time.
 */

import type { Clock } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import type { Notice } from "../wire/protocol.ts"
import { RETRY_MS, retryWait } from "./refusal-wait.ts"

/** Longest wait if the relay names no wait, ms. */
const LONGEST_TURNED_AWAY_MS = 5 * 60_000

export class Trouble {
  readonly #clock: Clock
  readonly #show: (trouble: HeadwaterError) => void
  readonly #beginAgain: () => void
  /** How often the relay has refused to serve this workspace and has named no wait. */
  #turnedAway = 0
  #cancelTimer: (() => void) | undefined

  constructor(clock: Clock, show: (trouble: HeadwaterError) => void, beginAgain: () => void) {
    this.#clock = clock
    this.#show = show
    this.#beginAgain = beginAgain
  }

  /** Call for a notice that the relay does not serve this workspace for now. */
  turnedAway(notice: Notice): void {
    const usual = Math.min(LONGEST_TURNED_AWAY_MS, RETRY_MS * 2 ** this.#turnedAway)
    if (notice.retryIn === undefined) this.#turnedAway++
    const wait = retryWait(notice.retryIn, usual)
    this.#cancelTimer?.() // the status shows the wait of this notice, so the wait of an earlier notice must not go on
    this.#cancelTimer = this.#clock.after(wait, () => {
      this.#cancelTimer = undefined
      this.#beginAgain()
    })
    this.noticed({ ...notice, retryIn: wait })
  }

  /** Shows a notice in the status. The attempt goes on. */
  noticed({ code, retryIn }: Notice): void {
    const retryAt = retryIn === undefined ? undefined : this.#clock.now() + retryIn
    this.#show(new HeadwaterError(code, "the relay has sent a notice with this code for the workspace", { retryAt }))
  }

  end(): void {
    this.#cancelTimer?.()
  }
}
