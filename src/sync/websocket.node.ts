export { WebSocket } from "ws"

/** Returns why a dial failed, from Node's `error` event. */
export function causeOf(event: object): string {
  const { error } = event as { readonly error?: Error & { readonly errors?: readonly Error[] } }
  // Not `instanceof Error`: in a test that has its own globals, `Error` is not the class of Node's own errors.
  if (typeof error?.message !== "string") return ""
  // For a host name with several addresses there is one error for each address.
  const errors = error.errors ?? [error]
  const [, status] = /^Unexpected server response: (\d+)$/.exec(error.message) ?? []
  if (status === undefined && !/subprotocol/.test(error.message)) return errors.map(({ message }) => message).join(", ")
  const answer = status === undefined ? error.message : `it answers the dial with HTTP ${status}`
  return `${answer}: it is no Headwater relay, or a proxy in front of a relay refuses the dial`
}
