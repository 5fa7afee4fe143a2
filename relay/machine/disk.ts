/**
 * What the log asks of a disk: folders of append-only and write-once files. The real one is node:fs (`disk.node.ts`);
 * that of the simulation loses what was not synced. The log makes paths from hex digits and names of its own, never
 * from what a client has sent. An operation that fails rejects. How much of a failed write or truncate has happened is
 * unknown, and what a failed sync should have saved may be lost for good, even when a later sync succeeds.
 */
export interface Disk {
  /**
   * Takes a folder that exists for this process. Resolves with its release. `STORE_IN_USE`: another living process has
   * the folder.
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
  /** Makes durable which names this folder has: those made, renamed or removed since the last time as well. */
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
   * (the folder was removed or replaced, say): what nobody can find again is not durable.
   */
  sync(): Promise<void>
  close(): Promise<void>
}
