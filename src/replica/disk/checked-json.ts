/**
 * Records as JSON with a checksum: eight hexadecimal digits, and then the JSON. A record with a damaged letter may
 * still be JSON of the right shape. Without a checksum, a replica could show a word that nobody wrote, or believe
 * that the relay has a change when it does not.
 */
import { checksum } from "../../base/checksum.ts"
import type { Key, Value } from "../../store/store.ts"

const DIGITS = 8

/**
 * Writes a record. The checksum covers the record's key, too: the disk may damage a key, and the record would then
 * belong to another entity.
 */
export function writeJson(key: Key, record: unknown): string {
  const json = JSON.stringify(record)
  return checksumOf(key, json) + json
}

/** Reads the record under a key; undefined when it is damaged. */
export function parseJson(key: Key, value: Value | undefined): unknown {
  if (typeof value !== "string") return undefined
  const json = value.slice(DIGITS)
  if (checksumOf(key, json) !== value.slice(0, DIGITS)) return undefined
  try {
    return JSON.parse(json)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error // another error, such as a lack of memory, does not show that the record is damaged
  }
}

const checksumOf = (key: Key, json: string): string =>
  checksum(json, checksum(key.join("\u0001"), 0))
    .toString(16)
    .padStart(DIGITS, "0")
