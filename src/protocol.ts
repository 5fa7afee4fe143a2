/**
 * The wire: every message, its limits and its version. `docs/protocol.md` is the specification (CDDL, MUST and SHOULD).
 * CBOR (RFC 8949) over WebSocket (RFC 6455), one message a frame. Unknown keys are ignored, unknown message types too.
 */
import type { Cursor } from "./messages.ts"

export * from "./messages.ts"

/** The position of a cursor: how many entries lie before it. */
export function position(cursor: Cursor): number {
  const view = new DataView(cursor.buffer, cursor.byteOffset, cursor.byteLength)
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4)
}
