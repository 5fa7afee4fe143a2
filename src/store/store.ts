/**
 * The seam between a replica and its disk: a sorted map of keys, read by range and written in atomic batches.
 *
 * Every implementation runs the conformance suite of `headwater/testing`. Whatever fails, reads too, fails with a
 * `HeadwaterError`. A failure of the disk is `STORE_FAILED`, with the disk's own error as its `cause`.
 */

/**
 * The key of an entry: one or more parts, each of 1 to 256 printable ASCII characters (U+0020 to U+007E). Any other key
 * is `STORE_FAILED`.
 *
 * Keys are ordered as IndexedDB orders arrays of strings: part by part, each part by code unit, a shorter array before
 * its extensions (Indexed Database API 3.0, section "Keys").
 */
export type Key = readonly string[]

/**
 * The value of an entry: text or bytes. A read gives back the kind that was written.
 *
 * Bytes are copied when `commit` is called, and what a read returns belongs to its caller. Text is well-formed UTF-16:
 * what becomes of a lone surrogate depends on the store.
 */
export type Value = string | Uint8Array

/** One write of a commit. `undefined` deletes the key; deleting a key that is not there is no failure. */
export type Write = readonly [Key, Value | undefined]

/** What a commit expects a key to hold. `undefined`: there is no such key. Bytes and text are never equal. */
export type Expect = readonly [Key, Value | undefined]

/**
 * A disk, as a replica uses it. Implement it to keep workspaces somewhere else; `storeConformance` tests an
 * implementation.
 */
export interface Store {
  /** Names the data that this store is over, the same for every store object over it in this page; absent: this object. */
  readonly place?: string | undefined

  /**
   * Claims a workspace in this store for this process or tab. The first claim opens the store.
   *
   * Resolves with the release. The last release waits for what was called before it and closes the store, so that
   * another process may open it. A claim that is made meanwhile waits for that. Releasing twice is releasing once.
   * While nothing is claimed, every other method rejects with `CLOSED`.
   *
   * Rejects with `STORE_IN_USE` when the workspace is claimed already, here or elsewhere, and with `STORE_FAILED` when
   * the disk fails. Then nothing is claimed.
   */
  claim(workspace: string): Promise<() => Promise<void>>

  /**
   * Looks whether the place of the data is still there. Rejects with `STORE_GONE` when it was removed; from then on every
   * commit rejects with that, too. A store whose data cannot be removed under it has no such function.
   */
  look?(): Promise<void>

  /** Reads the value of `key`; undefined when there is none. What was committed before the call is seen. */
  get(key: Key): Promise<Value | undefined>

  /**
   * Reads the entries whose key extends `prefix`, ascending, as they were at one moment. The prefix itself is not among
   * them; an empty prefix lists everything. What was committed before the call is seen.
   *
   * `after` leaves out the keys up to and including it, whether it is there or not. `limit` is the largest number of
   * entries.
   */
  list(prefix: Key, options?: { readonly after?: Key; readonly limit?: number }): Promise<[Key, Value][]>

  /**
   * Writes all of `writes` or nothing, durably: once it has resolved, neither `kill -9` nor a power cut undoes it.
   *
   * Commits take effect in the order of their calls, and one that fails does not stop those behind it. Of two writes to
   * one key the later one counts. `expect` is compared with what the commits that were called before have left, in one
   * step with the writes.
   *
   * Rejects with `STORE_GONE` when the place of the data is known to be removed (`look`).
   *
   * Rejects with `STORE_MOVED` when a key does not hold what is expected; then nothing is written. Rejects with
   * `STORE_FAILED` when the disk fails; then nothing is written either. Only where the disk could not be read
   * afterwards is that open: all of the commit may be there when the store is next opened, never a part.
   */
  commit(writes: readonly Write[], options?: { readonly expect?: readonly Expect[] }): Promise<void>
}
