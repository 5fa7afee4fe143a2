/** The WebSocket close codes with which a relay ends a connection. */
import type { Code } from "../../base/errors.ts"

/** The error code for each close code, used if no notice came just before it (docs/protocol.md, section 6). */
export const closeCodes: Readonly<Record<number, Code>> = {
  1002: "PROTOCOL_VERSION",
  1009: "TOO_LARGE",
  1011: "LOG_FAILED",
  1013: "RATE",
  4400: "MESSAGE_BAD",
  4401: "TOKEN_EXPIRED",
  4403: "FORBIDDEN",
  4406: "PROTOCOL_VERSION",
}

/**
 * Close codes that no relay sends before its first message. If one of them comes, the other side is no relay. They
 * stand for a normal end (1000), no status (1005), and frames that were not understood (1002, 1003, 1007).
 */
export const foreignCloseCodes: ReadonlySet<number> = new Set([1000, 1002, 1003, 1005, 1007])
