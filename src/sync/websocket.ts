export const WebSocket = globalThis.WebSocket

/** Browsers do not tell pages why a dial failed. */
export const causeOf = (_: object): string => ""
