/**
 * The disk as the log uses it: folders of append-only and write-once files. The real disk is node:fs (`disk.node.ts`).
 * The tests have a simulated one, on which a power cut may lose everything that was not synced. Below the folder of all
 * logs, paths consist of hex digits and names that the relay chooses; nothing in them comes from a client. A failed
 * operation rejects. A failed write or truncate may have happened in part. Bytes that a failed sync should have saved
 * may be lost for good, even when a later sync succeeds.
 */
export interface Disk {
  /**
   * Locks an existing folder for this process. Resolves with a function that releases the lock. Rejects with
   * `STORE_IN_USE` when another living process holds the lock.
   */
  lock(folder: string): Promise<() => Promise<void>>
  /**
   * Returns the identity of the folder at this path. Another folder that takes the path later has another identity.
   * Undefined when no folder has the path.
   */
  identity(folder: string): Promise<string | undefined>
  /** Returns the names in a folder; no names if the folder does not exist. */
  list(folder: string): Promise<string[]>
  /** Makes the folder and its parents, durably. */
  makeFolder(folder: string): Promise<void>
  /** Opens a file for reading and writing. Makes it if it does not exist; `syncFolder` then makes its name durable. */
  open(path: string): Promise<DiskFile>
  /** Opens a file for reading; rejects when it does not exist. */
  read(path: string): Promise<DiskFile>
  /** Renames a file. Replaces the file at the path `to`, if there is one. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes all changes of names in the folder durable: files that were made, renamed or removed since the last call. */
  syncFolder(folder: string): Promise<void>
}

export interface DiskFile {
  size(): Promise<number>
  /**
   * Returns `length` bytes from byte `at` on, or fewer if the file ends before. The bytes are in `into`, which must be
   * large enough. Without `into`, they are in new memory.
   */
  read(at: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  write(at: number, bytes: Uint8Array): Promise<void>
  truncate(size: number): Promise<void>
  /**
   * fdatasync: makes the written bytes and the size durable. Rejects when the file's path does not name this file any
   * more (the folder was removed or replaced, say), because bytes that nobody can find again are not durable.
   */
  sync(): Promise<void>
  close(): Promise<void>
}
