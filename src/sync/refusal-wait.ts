/** Refusals for now: their codes, and how long this device waits after one (docs/protocol.md, section 6). */

import type { Code } from "../base/errors.ts"

/** The wait if the relay names none, ms. */
export const RETRY_MS = 30_000
/** The shortest wait, even if the relay names a shorter one, ms. */
const SOONEST_RETRY_MS = 1000

const codesForNow: ReadonlySet<Code> = new Set<Code>(["QUOTA", "RATE", "TOKEN_EXPIRED", "FORBIDDEN", "LOG_FAILED"])

/** Whether a refusal with this code is for now: the change stays in the outbox and is pushed again later. */
export const isForNow = (code: Code): boolean => codesForNow.has(code)

/** How long to wait, ms. `retryIn`: the wait that the relay has named. `usual`: the wait if it has named none. */
export const retryWait = (retryIn: number | undefined, usual: number): number =>
  Math.max(SOONEST_RETRY_MS, retryIn ?? usual)
