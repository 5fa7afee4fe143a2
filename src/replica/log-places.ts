/** Places in the relay's log, as the wire and the small record on the disk have them. */
import { bytesOfHex } from "../base/hash.ts"
import { type Cursor, position } from "../wire/protocol.ts"

/** The further of two places: a reach never goes back while the log is the same. */
export function further(reach: Cursor | null, at: Cursor): Cursor {
  return reach !== null && position(reach) > position(at) ? reach : at
}

/** A place as the small record has it, in the form that the wire wants. */
export const placeOf = (place: string | null): Cursor | null => (place === null ? null : bytesOfHex(place))
