/**
 * What the log asks of a disk: folders of append-only and write-once files. The real one is node:fs (`disk.node.ts`);
 * the simulation's loses what was not synced. Paths are made by the log from hex digits and its own names, never from
 * what a client sent. A failed operation rejects; how much of a failed write or truncate has happened is unknown, and
 * what a failed sync should have saved may be lost for good even when a later one succeeds.
 */
export interface Disk {
  /** Takes the folder (which exists) for this process until released. `STORE_IN_USE` while another living one has it. */
  lock(folder: string): Promise<() => Promise<void>>
  /** Names in a folder, [] when it does not exist. */
  list(folder: string): Promise<string[]>
  /** Makes the folder and its parents, durably. */
  makeFolder(folder: string): Promise<void>
  /** Opens for reading and writing; makes the file when it does not exist (its name is durable after `syncFolder`). */
  open(path: string): Promise<DiskFile>
  /** Opens for reading; rejects when it does not exist. */
  read(path: string): Promise<DiskFile>
  /** Takes the place of what is there. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Names made, renamed or removed in this folder survive a power cut from here on. */
  syncFolder(folder: string): Promise<void>
}

export interface DiskFile {
  size(): Promise<number>
  /**
   * Exactly `length` bytes from `at`, or fewer at the end of the file: in memory of the caller's, which is at least so
   * long, or in new one.
   */
  read(at: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  write(at: number, bytes: Uint8Array): Promise<void>
  truncate(size: number): Promise<void>
  /** fdatasync: what was written survives a power cut from here on. */
  sync(): Promise<void>
  close(): Promise<void>
}
