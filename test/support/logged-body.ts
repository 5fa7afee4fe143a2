/** Finds what a relay has logged in the bytes of its files. `relay/log/segment/record.ts` has the format. */
import { PREAMBLE_BYTES, record } from "../../relay/log/segment/record.ts"
import type { Hash } from "../../src/wire/protocol.ts"

/**
 * The offset of an entry in a segment file; -1 when it is not there. `hash`: that of the entry's first change.
 */
export function bodyAt(path: string, file: Uint8Array, hash: Hash): number {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length)
  const at = path.endsWith(".log") ? bytes.indexOf(hash, 0, "hex") - PREAMBLE_BYTES : -1
  return at < 0 ? -1 : at + record.preambleLength(bytes, at)
}
