/**
 * The client's seam to a disk: a sorted map of keys, read by range, written by atomic batches.
 *
 * Every implementation runs the conformance suite of `headwater/testing`. A failure, of reads too, is always a
 * `HeadwaterError`; that of the disk is `STORE_FAILED`, with what the disk said as its `cause`.
 */

/**
 * One or more parts; a part is 1 to 256 printable ASCII characters (U+0020 to U+007E). Anything else is `STORE_FAILED`.
 * Order is that of IndexedDB's array keys: part by part by code unit, a shorter array before its extensions (Indexed
 * Database API 3.0, section "Keys").
 */
export type Key = readonly string[]

/**
 * Text or bytes; which of the two is kept. Bytes are copied when `commit` is called, and what a read returns belongs to
 * its caller. Text is well-formed UTF-16: what becomes of a lone surrogate depends on the store.
 */
export type Value = string | Uint8Array

/** `undefined` deletes; deleting what is not there is no failure. */
export type Write = readonly [Key, Value | undefined]

/** `undefined` expects that there is no such key. Bytes and strings never compare equal. */
export type Expect = readonly [Key, Value | undefined]

export interface Store {
  /**
   * Takes (store, workspace) for this process or tab, and opens the store with the first one taken.
   *
   * Resolves with the release. The last release waits for what was called before it and closes the store, so that
   * another process may open it; a claim made meanwhile waits for that. Releasing twice is releasing once.
   * While nothing is claimed, every other method rejects with `CLOSED`.
   * `STORE_IN_USE` when somebody else has it, `STORE_FAILED` when the disk says no; then nothing is taken.
   */
  claim(workspace: string): Promise<() => Promise<void>>

  /** The value of `key`. Shows at least what had been committed when it was called. */
  get(key: Key): Promise<Value | undefined>

  /**
   * The entries whose key extends `prefix` (the prefix itself is not one), ascending, a consistent view of one moment.
   * `after` leaves out the keys up to and including it, whether or not it is there; `limit` is a number of entries.
   * An empty prefix lists everything.
   */
  list(prefix: Key, options?: { readonly after?: Key; readonly limit?: number }): Promise<[Key, Value][]>

  /**
   * Writes all of `writes` or nothing, durably: once it has resolved, neither `kill -9` nor a power cut undoes it.
   *
   * Commits take effect in the order of their calls, and one that fails does not stop those behind it. Of two writes
   * to one key the later one counts. `expect` is compared with what the commits called before have left, in one step
   * with the writes: where a key holds something else, nothing is written and it fails with `STORE_MOVED`.
   * `STORE_FAILED`: it could not be done and nothing of it is there. Only a disk that failed so badly that it could not
   * be asked afterwards leaves that open: then all of it may show when the store is next opened, never a part.
   */
  commit(writes: readonly Write[], options?: { readonly expect?: readonly Expect[] }): Promise<void>
}
