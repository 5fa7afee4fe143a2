/** The WebSocket close codes with which a relay ends a connection. */
import type { Code } from "../../base/errors.ts"

/** The error code for a close code, when no notice came before it (docs/protocol.md, section 6). */
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
 * Close codes that no relay sends before its first message: no status, a normal end, or a frame that is not understood.
 */
export const foreignCloseCodes: ReadonlySet<number> = new Set([1000, 1002, 1003, 1005, 1007])
