/**
 * The ids of workspaces and entities: checks whether a text is an id, and converts a UUID (RFC 9562: lower case, with
 * hyphens) into its 16 bytes on the wire and back.
 */
import { digit } from "../base/hash.ts"

/**
 * Whether this text can be the id of a workspace or an entity, or the name of a collection. Few characters are allowed,
 * because ids and names become parts of keys on disks, and are sent on the wire.
 */
export const isId = (name: unknown): name is string => typeof name === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(name)

const SIZE = 16
const HYPHEN = 0x2d
/** Offsets of the hyphens in the text of a UUID. */
const HYPHENS = [8, 13, 18, 23] as const
const LENGTH = 36

/** Returns the 16 bytes of a UUID; undefined for any other text. */
export function uuidBytes(text: string): Uint8Array | undefined {
  if (text.length !== LENGTH) return undefined
  for (const at of HYPHENS) if (text.charCodeAt(at) !== HYPHEN) return undefined
  const bytes = new Uint8Array(SIZE)
  let wrong = 0
  for (let i = 0, at = 0; i < SIZE; i++) {
    if (text.charCodeAt(at) === HYPHEN) at++
    const high = digit(text.charCodeAt(at++))
    const low = digit(text.charCodeAt(at++))
    wrong |= (high | low) & 16
    bytes[i] = (high << 4) | low
  }
  return wrong ? undefined : bytes
}

/**
 * Returns the text of a UUID. The text is decoded from a buffer, because a string that is concatenated from pieces
 * takes much memory until it is used.
 */
export function uuidText(bytes: Uint8Array): string {
  let at = 0
  for (const byte of bytes) {
    if (characters[at] === HYPHEN) at++
    characters[at++] = character(byte >> 4)
    characters[at++] = character(byte & 15)
  }
  return latin1.decode(characters)
}

const latin1 = new TextDecoder("latin1")
const characters = new Uint8Array(LENGTH)
for (const at of HYPHENS) characters[at] = HYPHEN

/** Returns the character code of a hexadecimal digit. */
const character = (value: number): number => (value < 10 ? 48 + value : 87 + value)
