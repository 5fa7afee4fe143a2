/**
 * Asks the app for the next token before the present one ends. Otherwise the relay may close the connection when the
 * token ends, and a person who types would be offline until the app has returned another token.
 */
import type { Clock } from "../../base/env.ts"

/** How long before the end of a token the app is asked for the next one, ms. */
const BEFORE_MS = 60_000
/** The longest timer, ms. If the app must be asked later than that, the wait is computed again when the timer ends. */
const LOOK_MS = 24 * 3_600_000
/** If the token ends in less than this time, ms, the app is not asked any more: the answer would come too late. */
const TOO_LATE_MS = 1000

export class TokenRenewal {
  readonly #ask: (got: (token: string | undefined) => void, failed: () => void) => void
  readonly #renewed: (token: string) => void
  #cancel: (() => void) | undefined

  /** `ask` asks the app for a token. `renewed` is called with a token that differs from the present one. */
  constructor(
    ask: (got: (token: string | undefined) => void, failed: () => void) => void,
    renewed: (token: string) => void,
  ) {
    this.#ask = ask
    this.#renewed = renewed
  }

  /**
   * Call when a connection is open with this token. Does nothing if the token's end is not known, or if it has passed
   * by this device's clock, which may be wrong. If the app has no other token yet, the app is asked again after half of
   * the time that is left.
   */
  watch(token: string | undefined, clock: Clock): void {
    this.stop()
    const end = token === undefined ? undefined : endOf(token)
    const left = (end ?? 0) - clock.now()
    if (left < TOO_LATE_MS) return
    const again = () => this.watch(token, clock)
    const wait = Math.max(left - BEFORE_MS, left / 2)
    if (wait > LOOK_MS) this.#cancel = clock.after(LOOK_MS, again)
    else
      this.#cancel = clock.after(wait, () =>
        this.#ask((fresh) => (fresh === undefined || fresh === token ? again() : this.#renewed(fresh)), again),
      )
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }
}

/**
 * When a token ends, ms since 1970: the claim `exp` of a JSON Web Token (RFC 7519, section 4.1.4). The signature is not
 * checked, because that is the relay's part. Undefined for other tokens.
 */
function endOf(token: string): number | undefined {
  const payload = token.split(".")[1]
  if (payload === undefined) return undefined
  try {
    const { exp } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as { readonly exp?: unknown }
    return typeof exp === "number" && Number.isFinite(exp) ? exp * 1000 : undefined
  } catch {
    return undefined // no JSON Web Token
  }
}
