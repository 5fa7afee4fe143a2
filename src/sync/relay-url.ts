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
  if (String(url).includes("#")) {
    throw new HeadwaterError(
      "URL_INVALID",
      `${JSON.stringify(url)} is not a relay's URL: leave out the # and what follows it`,
    )
  }
  if (typeof url === "string" && (protocol === "ws:" || protocol === "wss:")) return // JavaScript may pass anything
  throw new HeadwaterError(
    "URL_INVALID",
    `${JSON.stringify(url)} is not a relay's URL: use a text with ws:// or wss://`,
  )
}
