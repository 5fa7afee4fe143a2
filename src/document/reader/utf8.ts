/** Reads strict UTF-8. Automerge refuses a change with a text that is not strict UTF-8. */

import { decline } from "./declined.ts"

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
/**
 * A text of at most so many bytes, all of them ASCII, is decoded character by character, because a call of the decoder
 * takes longer.
 */
const SHORT = 12

/** Decodes the bytes from `from` up to `to`. */
export function textOf(bytes: Uint8Array, from: number, to: number): string {
  if (to - from > SHORT) return decoded(bytes.subarray(from, to))
  let text = ""
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    if (byte >= 0x80) return decoded(bytes.subarray(from, to))
    text += String.fromCharCode(byte)
  }
  return text
}

function decoded(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes)
  } catch {
    decline("a text is not UTF-8")
  }
}

/** The length in bytes of the character that begins with this byte; 0 when no character can begin with it. */
export function sizeFrom(byte: number): number {
  if (byte < 0x80) return 1
  if (byte < 0xc0) return 0
  return byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
}
