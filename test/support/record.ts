import { writeJson } from "../../src/replica/disk/checked-json.ts"
import type { Key, Value, Write } from "../../src/store/store.ts"

/**
 * Returns the content of a JSON record on a device's disk. Its first eight characters are its checksum, which is not
 * checked.
 */
export const jsonIn = (value: Value | undefined): any => JSON.parse(String(value).slice(8))

/** The write of a whole JSON record, as the library would write it. */
export const jsonWrite = (key: Key, content: unknown): Write => [key, writeJson(key, content)]
