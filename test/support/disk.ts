/**
 * A disk in memory that loses what disks lose. Bytes that were written and not synced, and names in folders that were
 * not synced, are there for whoever reads, and may or may not survive a power cut. Everything by chance comes from
 * `random`, everything that takes time or fails from `before`, so the same two give the same disk.
 */

import type { Disk, DiskFile } from "../../relay/machine/disk.ts"
import { HeadwaterError } from "../../src/base/errors.ts"

export interface Operation {
  readonly kind:
    | "lock"
    | "list"
    | "makeFolder"
    | "open"
    | "rename"
    | "remove"
    | "syncFolder"
    | "size"
    | "read"
    | "write"
    | "truncate"
    | "sync"
    | "close"
  readonly path: string
}

export interface SimDiskOptions {
  /** In [0, 1). */
  random(): number
  /**
   * Called before every operation. What it awaits is the operation's latency; what it throws is the operation's
   * failure: a failed write or truncate may have happened in part, and what a failed sync should have saved is saved or
   * lost by chance, whatever is synced later (as Linux does it).
   */
  before?(operation: Operation): void | Promise<void>
}

/** Path to content, of files only. */
export type Files = ReadonlyMap<string, Uint8Array>

export interface SimDisk {
  /** The disk as the process has it that runs now. Whatever a dead process does on its own never happens nor ends. */
  readonly disk: Disk
  /** The process is gone, the machine goes on: locks and open files go, and what was written is there to read. */
  kill(): void
  /** Power cut: the process is gone, and of what was not synced an arbitrary part. */
  crash(): void
  /** What a power cut that loses all it can would leave: a backup, or what an oracle may rely on. */
  snapshot(): Files
  /** The process is gone, and these are the files, durably. */
  restore(files: Files): void
  /** What a reader sees. */
  files(): Files
  /** Bits of one byte turn over, durably and under the hands of the process that runs. */
  rot(path: string, at: number, mask?: number): void
  /** Bytes that were read since the disk was made. */
  readonly bytesRead: number
}

/** What has happened to a file since it was synced: bytes at a place, or a new size. */
type Change = { readonly at: number; readonly bytes: Uint8Array } | { readonly size: number }

class Inode {
  durable: Uint8Array
  bytes: Uint8Array
  unsynced: Change[] = []

  constructor(bytes: Uint8Array = new Uint8Array()) {
    this.durable = this.bytes = bytes
  }

  change(change: Change): void {
    this.bytes = applied(this.bytes, change)
    this.unsynced.push(change)
  }

  sync(): void {
    this.durable = this.bytes
    this.unsynced = []
  }
}

/** A name in a folder, or none any more. */
interface Naming {
  readonly path: string
  readonly inode: Inode | undefined
}

export function simDisk(options: SimDiskOptions): SimDisk {
  return new Machine(options)
}

type Act = <T>(kind: Operation["kind"], path: string, act: () => T, failing?: () => void) => Promise<T>

class Machine implements SimDisk {
  bytesRead = 0
  disk: Disk
  readonly #random: () => number
  readonly #before: (operation: Operation) => void | Promise<void>
  readonly #folders = new Set<string>()
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  /** What has happened to names since their folder was synced, in order; a rename is one thing. */
  #unsynced: { readonly folder: string; readonly names: readonly Naming[] }[] = []
  #life = 0

  constructor({ random, before = () => {} }: SimDiskOptions) {
    this.#random = random
    this.#before = before
    this.disk = this.#newDisk()
  }

  // ── what happens to it ────────────────────────────────────────────────────────────────────────────────────────────

  kill(): void {
    this.#life++
    this.disk = this.#newDisk()
  }

  crash(): void {
    this.kill()
    // A journal keeps the order of names, so what survives of each folder is what came first.
    const ended = new Set<string>()
    this.#settleNames(({ folder }) => {
      if (!ended.has(folder) && this.#random() < 0.5) ended.add(folder)
      return !ended.has(folder)
    })
    this.#unsynced = []
    this.#names = new Map(this.#durableNames)
    for (const inode of new Set(this.#names.values())) {
      for (const change of inode.unsynced) inode.durable = this.#survives(inode.durable, change)
      inode.bytes = inode.durable
      inode.unsynced = []
    }
  }

  snapshot(): Files {
    return new Map([...this.#durableNames].map(([path, { durable }]) => [path, durable]))
  }

  restore(files: Files): void {
    this.kill()
    this.#unsynced = []
    for (const path of files.keys()) this.#folders.add(folderOf(path))
    this.#names = new Map([...files].map(([path, bytes]) => [path, new Inode(bytes)]))
    this.#durableNames = new Map(this.#names)
  }

  files(): Files {
    return new Map([...this.#names].map(([path, { bytes }]) => [path, bytes]))
  }

  rot(path: string, at: number, mask = 0xff): void {
    const inode = this.#inode(path)
    const turned = (bytes: Uint8Array) => bytes.map((byte, i) => (i === at ? byte ^ mask : byte))
    inode.durable = turned(inode.durable)
    inode.bytes = turned(inode.bytes)
  }

  // ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #newDisk(): Disk {
    const life = this.#life
    const locks = new Set<string>()
    const act: Act = async (kind, path, act, failing = () => {}) => {
      if (life !== this.#life) return never
      try {
        await this.#before({ kind, path })
      } catch (error) {
        if (life !== this.#life) return never
        failing()
        throw error
      }
      return life === this.#life ? act() : never
    }
    return {
      lock: (folder) =>
        act("lock", folder, () => {
          if (locks.has(folder)) throw new HeadwaterError("STORE_IN_USE", `${folder} is taken`)
          locks.add(folder)
          return async () => void locks.delete(folder)
        }),
      list: (folder) =>
        act("list", folder, () => {
          const paths = [...this.#names.keys()].filter((path) => folderOf(path) === folder)
          return paths.map((path) => path.slice(folder.length + 1))
        }),
      makeFolder: (folder) => act("makeFolder", folder, () => void this.#folders.add(folder)),
      open: (path) =>
        act("open", path, () => {
          if (!this.#folders.has(folderOf(path))) throw missing(path)
          let inode = this.#names.get(path)
          if (!inode) this.#name(folderOf(path), [{ path, inode: (inode = new Inode()) }])
          return this.#file(act, path, inode)
        }),
      read: (path) => act("open", path, () => this.#file(act, path, this.#inode(path))),
      rename: (from, to) =>
        act("rename", from, () => {
          const inode = this.#inode(from)
          this.#name(folderOf(to), [
            { path: from, inode: undefined },
            { path: to, inode },
          ])
        }),
      remove: (path) =>
        act("remove", path, () => {
          this.#inode(path)
          this.#name(folderOf(path), [{ path, inode: undefined }])
        }),
      syncFolder: (folder) =>
        act("syncFolder", folder, () => this.#settleNames((unsynced) => unsynced.folder === folder)),
    }
  }

  #file(act: Act, path: string, inode: Inode): DiskFile {
    const change = (kind: "write" | "truncate", change: Change) => {
      const failing = () => {
        if ("at" in change) inode.change({ at: change.at, bytes: this.#torn(change.bytes) })
        else if (this.#random() < 0.5) inode.change(change)
      }
      return act(kind, path, () => inode.change(change), failing)
    }
    const failSync = () => {
      for (const change of inode.unsynced) inode.durable = this.#survives(inode.durable, change)
      inode.unsynced = []
    }
    return {
      size: () => act("size", path, () => inode.bytes.length),
      read: (at, length, into) =>
        act("read", path, () => {
          const bytes = inode.bytes.slice(at, at + length)
          this.bytesRead += bytes.length
          into?.set(bytes)
          return into?.subarray(0, bytes.length) ?? bytes
        }),
      write: (at, bytes) => change("write", { at, bytes: bytes.slice() }),
      truncate: (size) => change("truncate", { size }),
      sync: () => act("sync", path, () => inode.sync(), failSync),
      close: () => act("close", path, () => {}),
    }
  }

  // ── how ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #inode(path: string): Inode {
    const inode = this.#names.get(path)
    if (inode) return inode
    throw missing(path)
  }

  #name(folder: string, names: readonly Naming[]): void {
    name(this.#names, names)
    this.#unsynced.push({ folder, names })
  }

  #settleNames(durable: (unsynced: { readonly folder: string }) => boolean): void {
    this.#unsynced = this.#unsynced.filter((unsynced) => {
      if (!durable(unsynced)) return true
      name(this.#durableNames, unsynced.names)
      return false
    })
  }

  /** What is left of a change that nobody has waited for: all, nothing, its beginning, or only some of its sectors. */
  #survives(bytes: Uint8Array, change: Change): Uint8Array {
    const luck = this.#random()
    if (luck < 0.3) return bytes
    if ("size" in change || luck < 0.5) return applied(bytes, change)
    if (luck < 0.8) return applied(bytes, { at: change.at, bytes: this.#torn(change.bytes) })
    let after = applied(bytes, { at: change.at + change.bytes.length, bytes: new Uint8Array() })
    for (let at = 0; at < change.bytes.length; at += SECTOR) {
      const sector = { at: change.at + at, bytes: change.bytes.subarray(at, at + SECTOR) }
      if (this.#random() < 0.5) after = applied(after, sector)
    }
    return after
  }

  #torn(bytes: Uint8Array): Uint8Array {
    return bytes.slice(0, Math.floor(this.#random() * (bytes.length + 1)))
  }
}

const SECTOR = 512
const never = new Promise<never>(() => {})

function name(names: Map<string, Inode>, namings: readonly Naming[]): void {
  for (const { path, inode } of namings) {
    if (inode) names.set(path, inode)
    else names.delete(path)
  }
}

function applied(bytes: Uint8Array, change: Change): Uint8Array {
  const size = "size" in change ? change.size : Math.max(bytes.length, change.at + change.bytes.length)
  const after = new Uint8Array(size)
  after.set(bytes.subarray(0, size))
  if ("at" in change) after.set(change.bytes, change.at)
  return after
}

const missing = (path: string) => Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" })

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/"))
