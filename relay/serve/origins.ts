/**
 * Decides which pages may connect. Every page that a browser shows can reach a relay on loopback. Without tokens, only
 * the `Origin` header tells a stranger's page from the user's own.
 */
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Report } from "../machine/report.ts"

/**
 * At most this many refused origins are reported by name, because a page that invents new origins must not fill the
 * log.
 */
const NAMED = 100
/** The number of characters of an origin that are reported. */
const SHOWN = 200

export class Origins {
  readonly #allowed: ReadonlySet<string>
  readonly #report: Report
  readonly #refused = new Set<string>()

  /**
   * `allowed`: origins of pages that may connect besides those on loopback; `*` for any. Throws `URL_INVALID` for an
   * origin that no browser sends.
   */
  constructor(allowed: readonly string[], report: Report) {
    this.#allowed = new Set(allowed.map(asSent))
    this.#report = report
  }

  /**
   * Whether a page of this origin may connect: one on loopback, or an allowed one. Programs that are not browsers send
   * no origin, and may connect. A page from a file or a sandbox sends "null"; such a page might be anybody's, so it may
   * connect only if "null" is allowed. Names are compared, not addresses, so a name that was made to resolve to
   * 127.0.0.1 is refused. The first refusal of an origin is reported, with the option that would allow it, because
   * browsers do not show the reason to the page.
   */
  allows(origin: string | undefined): boolean {
    if (origin === undefined || this.#allowed.has(origin) || this.#allowed.has("*")) return true
    if (URL.canParse(origin) && isLoopback(new URL(origin).hostname)) return true
    this.#refuse(origin.slice(0, SHOWN))
    return false
  }

  #refuse(origin: string): void {
    if (this.#refused.has(origin) || this.#refused.size > NAMED) return
    this.#refused.add(origin)
    if (this.#refused.size <= NAMED) this.#report("warn", "origin refused", { origin, allow: `--origin ${origin}` })
    else this.#report("warn", "more origins refused", { named: NAMED })
  }
}

/**
 * Returns an origin as browsers send it: in lower case, without a path and without the default port of its scheme. For
 * `file://`, `app://obsidian.md` and the like, `URL` gives no origin, but browsers send scheme and host.
 */
function asSent(origin: string): string {
  if (origin === "*" || origin === "null") return origin
  if (origin.includes(",")) throw refused(origin, "it has a comma; name each origin by itself")
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(origin) || !URL.canParse(origin)) {
    throw refused(origin, "an origin looks like https://notes.example or app://obsidian.md")
  }
  const url = new URL(origin)
  if (/^wss?:$/.test(url.protocol)) {
    const page = url.protocol === "wss:" ? "https" : "http"
    throw refused(origin, `it is the address of a relay; the page's own begins with ${page}://`)
  }
  if (url.host.includes("*")) throw refused(origin, "a host may have no *; name each page, or allow any with *")
  return url.origin === "null" ? `${url.protocol}//${url.host.toLowerCase()}` : url.origin
}

const refused = (origin: string, why: string) =>
  new HeadwaterError("URL_INVALID", `"${origin}" is not the origin of a page: ${why}`)

/** Whether this host can only mean this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
