/**
 * What the log asks of a disk: folders of append-only and write-once files. The real one is node:fs; the simulation's
 * loses what was not synced. Paths are made by the log from hex digits and its own names, never from what a client sent.
 */
export interface Disk {
  /** Names in a folder, [] when it does not exist. */
  list(folder: string): Promise<string[]>
  /** Makes the folder and its parents, durably. */
  makeFolder(folder: string): Promise<void>
  /** Opens for reading and appending; makes the file when it does not exist (its name is durable after `syncFolder`). */
  open(path: string): Promise<DiskFile>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Names made, renamed or removed in this folder survive a power cut from here on. */
  syncFolder(folder: string): Promise<void>
}

export interface DiskFile {
  size(): Promise<number>
  /** Exactly `length` bytes from `at`, or fewer at the end of the file. */
  read(at: number, length: number): Promise<Uint8Array>
  write(at: number, bytes: Uint8Array): Promise<void>
  truncate(size: number): Promise<void>
  /** fdatasync: what was written survives a power cut from here on. */
  sync(): Promise<void>
  close(): Promise<void>
}
