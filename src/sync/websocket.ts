export const WebSocket = globalThis.WebSocket

/** Returns no cause, because browsers do not tell pages why a dial failed. */
export const causeOf = (_: object): string => ""
