/** Which URLs can lead to a relay. */
import { HeadwaterError } from "../../base/errors.ts"

/**
 * Throws `URL_INVALID` for a URL that can never be dialled, and for a value that is no text: JavaScript may pass one.
 */
export function checkUrl(url: string): void {
  if (typeof url !== "string") throw invalid(url === null ? "null" : typeof url, "use a text with ws:// or wss://")
  if (url.includes("#")) throw invalid(JSON.stringify(url), "leave out the # and what follows it")
  if (!/^wss?:$/.test(protocolOf(url))) throw invalid(JSON.stringify(url), "use a text with ws:// or wss://")
}

function protocolOf(url: string): string {
  try {
    return new URL(url).protocol
  } catch {
    return ""
  }
}

const invalid = (what: string, hint: string) =>
  new HeadwaterError("URL_INVALID", `${what} is not a relay's URL: ${hint}`)
