/** The bearer token of a dial: gets it from the app, and encodes it for the upgrade request. */

import type { Clock } from "../../base/env.ts"
import { HeadwaterError } from "../../base/errors.ts"
import { SUBPROTOCOL } from "../../wire/protocol.ts"

/**
 * A bearer token, or a function that gets one.
 *
 * The function is called before every dial, with the ids of the workspaces that are on the connection. If the token is
 * a JSON Web Token with an `exp` (RFC 7519), the function is also called a minute before the token ends. The function
 * must answer within 60 s. `signal` is aborted after that time, and when the token is not needed any more.
 *
 * If the function throws, rejects, returns something that is no text, or takes too long before a dial, `status.error`
 * is `FORBIDDEN`, and the function is called again before the next dial.
 *
 * `reason`:
 * - `"refused"`: the relay has refused the last token. If it did so in its answer to the dial (401, 403), only Node lets
 *   this library see that, and in a browser the reason is `"open"`.
 * - `"expiring"`: the present token ends soon. The relay is dialled again at once with the new token. If this call fails
 *   or returns the same token, the connection stays as it is, and the function is called again after half of the time
 *   that is left.
 * - `"open"`: every other dial.
 */
export type Token =
  | string
  | ((why: {
      reason: "open" | "expiring" | "refused"
      workspaces: readonly string[]
      signal: AbortSignal
    }) => string | Promise<string>)

/**
 * The time in which the app's token function must answer, ms. It is long, because the function may ask the user or
 * another server.
 */
const TOKEN_MS = 60_000

/**
 * Returns the token for one dial; undefined when the app has given none. Rejects with `FORBIDDEN` when the app's
 * function fails. Also rejects, and aborts `call`, when the function does not answer in time. A caller that does not
 * need the token any more aborts `call`.
 */
export async function askForToken(
  token: Token | undefined,
  reason: "open" | "expiring" | "refused",
  workspaces: readonly string[],
  call: AbortController,
  clock: Clock,
): Promise<string | undefined> {
  if (typeof token !== "function") {
    try {
      return checkToken(token)
    } catch (cause) {
      throw new HeadwaterError("FORBIDDEN", "the token is no text; give a text, or a function that returns one", {
        cause,
      })
    }
  }
  const { signal } = call
  return new Promise((resolve, reject) => {
    const cancel = clock.after(TOKEN_MS, () => {
      reject(new HeadwaterError("FORBIDDEN", "the app's token function has not answered in 60 s; it is called again"))
      call.abort()
    })
    signal.addEventListener("abort", cancel)
    const failed = (cause: unknown) => {
      reject(new HeadwaterError("FORBIDDEN", "the app's token function failed; it is called again", { cause }))
    }
    const answer = async () => checkToken(await token({ reason, workspaces, signal }))
    answer().then(resolve, failed).finally(cancel)
  })
}

/** Throws unless the token is a text, or undefined: an app may have no token yet. In JavaScript it may be anything. */
function checkToken(token: unknown): string | undefined {
  if (token === undefined || typeof token === "string") return token
  throw new TypeError(`a token must be a text and not of type ${typeof token}`)
}

/**
 * The subprotocols that a dial offers: the version, and the token as the base64url of its UTF-8 (docs/protocol.md,
 * section 1).
 */
export function subprotocols(token: string | undefined): string[] {
  return token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${base64url(token)}`]
}

/** RFC 4648, section 5, without padding. */
function base64url(text: string): string {
  const bytes = new TextEncoder().encode(text)
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}
