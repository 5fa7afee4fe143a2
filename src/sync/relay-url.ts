/** Which URLs can lead to a relay. */
import { HeadwaterError } from "../base/errors.ts"

/** Throws `URL_INVALID` for a URL that can never be dialled. */
export function checkUrl(url: string): void {
  if (typeof url !== "string") {
    throw new HeadwaterError("URL_INVALID", `a relay's URL is a text, not ${url === null ? "null" : typeof url}`)
  }
  let protocol = ""
  try {
    protocol = new URL(url).protocol
  } catch {
    // `protocol` stays empty, so the last line throws.
  }
  if (url.includes("#")) {
    throw new HeadwaterError(
      "URL_INVALID",
      `${JSON.stringify(url)} is no relay's URL: it may not have a part behind a #`,
    )
  }
  if (protocol === "ws:" || protocol === "wss:") return
  throw new HeadwaterError("URL_INVALID", `${JSON.stringify(url)} is not a relay's URL: use ws:// or wss://`)
}
