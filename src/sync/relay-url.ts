/** Which URLs can lead to a relay. */
import { HeadwaterError } from "../base/errors.ts"

/** Throws `URL_INVALID` for a URL that can never be dialled. */
export function checkUrl(url: string): void {
  let protocol = ""
  try {
    protocol = new URL(url).protocol
  } catch {
    // `protocol` stays empty, so this function throws below.
  }
  if (url.includes("#")) {
    throw new HeadwaterError(
      "URL_INVALID",
      `${JSON.stringify(url)} is not a relay's URL: leave out the # and what follows it`,
    )
  }
  if (protocol === "ws:" || protocol === "wss:") return
  throw new HeadwaterError("URL_INVALID", `${JSON.stringify(url)} is not a relay's URL: use ws:// or wss://`)
}
