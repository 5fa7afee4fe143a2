/**
 * The client's seam to a disk: a sorted map of keys, read by range, written by atomic batches.
 *
 * Keys are arrays of parts; a part is 1 to 256 printable ASCII characters (U+0020 to U+007E). Order is that of
 * IndexedDB's array keys: part by part by code unit, a shorter array before its extensions (Indexed Database API 3.0,
 * section "key"). Every implementation runs the conformance suite of `headwater/testing`.
 */
export type Key = readonly string[]
export type Value = string | Uint8Array
/** `undefined` deletes. */
export type Write = readonly [Key, Value | undefined]
/** Writes nothing and fails with `STORE_MOVED` when a key holds something else. Bytes and strings never compare equal. */
export type Expect = readonly [Key, Value | undefined]

export interface Store {
  /**
   * Takes (store, workspace) for this process or tab, and opens the store with the first one taken.
   * Resolves with the release; the last release closes the store, so that another process may open it.
   * `STORE_IN_USE` when somebody else has it, `STORE_FAILED` when the disk says no.
   */
  claim(workspace: string): Promise<() => Promise<void>>
  get(key: Key): Promise<Value | undefined>
  /** The entries whose key extends `prefix` (the prefix itself is not one), ascending, a consistent view of one moment. */
  list(prefix: Key, options?: { readonly after?: Key; readonly limit?: number }): Promise<[Key, Value][]>
  /**
   * Writes all of `writes` or nothing, durably: once it has resolved, neither `kill -9` nor a power cut undoes it.
   * Commits take effect in the order of their calls. Of two writes to one key the later one counts.
   * `STORE_FAILED` (with its cause) when it could not be done, `STORE_MOVED` when `expect` did not hold.
   */
  commit(writes: readonly Write[], options?: { readonly expect?: readonly Expect[] }): Promise<void>
}
