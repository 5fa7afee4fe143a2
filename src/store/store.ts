/**
 * The interface between a replica and its disk: a sorted map of records, read by range and written in atomic batches.
 *
 * Every implementation must pass the conformance suite of `headwater/testing`. Every failure, also of a read, is a
 * `HeadwaterError`. A failure of the disk is `STORE_FAILED`, with the disk's own error as its `cause`.
 */

/**
 * The key of a record: one or more parts, each of 1 to 256 printable ASCII characters (U+0020 to U+007E). Any other key
 * is refused with `STORE_FAILED`.
 *
 * Keys are ordered as IndexedDB orders arrays of strings: part by part, each part by code unit, a shorter array before
 * its extensions (Indexed Database API 3.0, section "Keys").
 */
export type Key = readonly string[]

/**
 * The value of a record: text or bytes. A read returns the kind that was written.
 *
 * A store copies bytes when `commit` is called. Bytes that a read returns belong to its caller. Text is well-formed
 * UTF-16; a store may change a lone surrogate.
 *
 * A value that the disk has damaged, so that the store cannot decode it, is read as an empty `Uint8Array`. A commit may
 * expect this empty `Uint8Array`. A damaged value must not make a `list` fail, because then no other value could be
 * listed either.
 */
export type Value = string | Uint8Array

/** One write of a commit. `undefined` deletes the key. Deleting a key that does not exist is no failure. */
export type Write = readonly [Key, Value | undefined]

/** The value that a commit expects a key to have. `undefined`: there is no such key. Bytes and text are never equal. */
export type Expect = readonly [Key, Value | undefined]

/**
 * A disk, as a replica uses it. To keep workspaces in another place, implement this interface and test the
 * implementation with `storeConformance`.
 */
export interface Store {
  /**
   * A name for the data of this store. All store objects of this page or process that have the same data have the same
   * name. Absent when no other store object can have this data.
   */
  readonly place?: string | undefined

  /**
   * Claims a workspace in this store for this process or tab. The first claim opens the store.
   *
   * Resolves with the release: the function that ends the claim. The last release waits for the operations that were
   * called before it, and closes the store, so that another process may open it. A claim that is made meanwhile waits
   * until the store is closed. A second call of the same release has no effect. While no workspace is claimed, every
   * other method rejects with `CLOSED`.
   *
   * Rejects with `STORE_IN_USE` when the workspace is claimed already, in this process or tab or in another one, and
   * with `STORE_FAILED` when the disk fails. A claim that rejects has claimed nothing.
   */
  claim(workspace: string): Promise<() => Promise<void>>

  /**
   * Checks whether the folder or other place of the data still exists. Rejects with `STORE_GONE` when it was removed;
   * from then on, every commit rejects with `STORE_GONE`, too. Rejects with `STORE_FAILED` when the disk has no space
   * for writes. A store may lack this function when its data cannot be removed during use, or when every call fails
   * after the removal.
   */
  look?(): Promise<void>

  /** Reads the value of `key`; undefined when there is none. Sees everything that was committed before the call. */
  get(key: Key): Promise<Value | undefined>

  /**
   * Reads the records whose key extends `prefix`, ascending, as they were at one moment. The record at `prefix` itself
   * is not among them; an empty prefix lists everything. Sees everything that was committed before the call.
   *
   * `after` leaves out all keys up to and including `after` itself, which need not exist. `limit` is the largest number
   * of records.
   */
  list(prefix: Key, options?: { readonly after?: Key; readonly limit?: number }): Promise<[Key, Value][]>

  /**
   * Writes all of `writes` or nothing, durably: once the commit has resolved, neither `kill -9` nor a power cut undoes
   * it.
   *
   * Commits take effect in the order of their calls, and a commit that fails does not stop later ones. Of two writes to
   * one key, the later one takes effect. In one step with the writes, the store compares `expect` with the state after
   * all earlier commits.
   *
   * Rejects with `STORE_GONE` once the store knows that the place of its data was removed (`look`).
   *
   * Rejects with `STORE_MOVED` when a key does not have the expected value; then nothing is written. Rejects with
   * `STORE_FAILED` when the disk fails; then nothing is written either, with one exception: if the disk cannot be read
   * after the failure, the next opening of the store may find the commit written, all of it and never a part.
   */
  commit(writes: readonly Write[], options?: { readonly expect?: readonly Expect[] }): Promise<void>
}
