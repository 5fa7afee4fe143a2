/** The codes of refusals for now, and how long this side waits after one (docs/protocol.md, section 6). */

import type { Code } from "../base/errors.ts"

/** Wait when the relay names none, ms. */
export const RETRY_MS = 30_000
/** Shortest wait, even if the relay names less, ms. */
const SOONEST_RETRY_MS = 1000

const codesForNow: ReadonlySet<Code> = new Set<Code>(["QUOTA", "RATE", "TOKEN_EXPIRED", "FORBIDDEN", "LOG_FAILED"])

/** Whether a refusal with this code is for now: the change is kept and tried again. */
export const isForNow = (code: Code): boolean => codesForNow.has(code)

/** How long to wait, ms: as long as the relay has named, else `usual`. */
export const retryWait = (retryIn: number | undefined, usual: number): number =>
  Math.max(SOONEST_RETRY_MS, retryIn ?? usual)
