/** Places in the relay's log: bytes on the wire, hex in the state record on the disk. */
import { bytesOfHex } from "../../base/hash.ts"
import { type Cursor, position } from "../../wire/protocol.ts"

/** Returns the further of two places, because a reach must not go back while the log is the same. */
export function further(reach: Cursor | null, at: Cursor): Cursor {
  return reach !== null && position(reach) > position(at) ? reach : at
}

/** Turns a place in the state record (hex) into bytes. */
export const placeOf = (place: string | null): Cursor | null => (place === null ? null : bytesOfHex(place))
