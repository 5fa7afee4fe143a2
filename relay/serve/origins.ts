/**
 * Which pages may connect. Every page that a browser shows can reach a relay on loopback, and without tokens the
 * `Origin` header is all that tells a stranger's page from the user's own.
 */

/**
 * Whether a page of this origin may connect: one on loopback, or one of `others` (`*` for any). Programs that are no
 * browsers send no origin, and may. A page from a file or a sandbox says "null", might be anybody's, and may not. Names
 * are compared, not addresses, so a name that was made to resolve to 127.0.0.1 is refused.
 */
export function isAllowed(origin: string | undefined, others: readonly string[]): boolean {
  if (origin === undefined || others.includes(origin) || others.includes("*")) return true
  return URL.canParse(origin) && isLoopback(new URL(origin).hostname)
}

/** Whether this host can only be this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
