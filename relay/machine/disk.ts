/**
 * The disk as the log uses it: folders of append-only and write-once files. The real one is node:fs (`disk.node.ts`);
 * the simulated one loses everything that was not synced. Paths have hex digits and the log's own names in them,
 * nothing that a client has sent. An operation that fails rejects. A failed write or truncate may have happened in
 * part. Bytes that a failed sync should have saved may be lost for good, even when a later sync succeeds.
 */
export interface Disk {
  /**
   * Locks an existing folder for this process. Resolves with the release. Rejects with `STORE_IN_USE` when another
   * living process has it.
   */
  lock(folder: string): Promise<() => Promise<void>>
  /** Tells a folder from another one that gets its path later. Undefined when no folder has the path. */
  identity(folder: string): Promise<string | undefined>
  /** The names in a folder; none when it does not exist. */
  list(folder: string): Promise<string[]>
  /** Makes the folder and its parents, durably. */
  makeFolder(folder: string): Promise<void>
  /** Opens for reading and writing. Makes the file when it does not exist; `syncFolder` makes its name durable. */
  open(path: string): Promise<DiskFile>
  /** Opens for reading; rejects when it does not exist. */
  read(path: string): Promise<DiskFile>
  /** Replaces the file that has the name `to`, if there is one. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes the folder's names durable: all that were made, renamed or removed since the last time. */
  syncFolder(folder: string): Promise<void>
}

export interface DiskFile {
  size(): Promise<number>
  /**
   * `length` bytes from `at` on, fewer at the end of the file. They are in `into`, which has room for them, or in new
   * memory.
   */
  read(at: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  write(at: number, bytes: Uint8Array): Promise<void>
  truncate(size: number): Promise<void>
  /**
   * fdatasync: makes durable what was written, and the size. Rejects when the file's path does not name it any more
   * (the folder was removed or replaced, say): bytes that nobody can find again are not durable.
   */
  sync(): Promise<void>
  close(): Promise<void>
}
