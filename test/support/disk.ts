/**
 * A disk in memory that loses what real disks lose. Bytes of files that were not synced, and names in folders that were
 * not synced, can be read, and may or may not survive a power cut. All chance comes from `random`, and all delays and
 * failures come from `before`, so the same two functions give the same disk.
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
  /** A random number in [0, 1). */
  random(): number
  /**
   * Which changes of names in a folder survive a power cut, of those made since the folder was synced. "first" (the
   * default): a random number of the first changes, because a journal keeps their order. "any": each change by chance,
   * which is all that POSIX promises.
   */
  readonly names?: "first" | "any"
  /**
   * Called before every operation. The operation waits for its promise, and fails with what it throws. A failed write
   * or truncate may have happened in part, and a folder may have been made and not be durable. The bytes of a failed
   * sync are saved or lost by chance, and no later sync saves them, as on Linux.
   */
  before?(operation: Operation): void | Promise<void>
}

/** The content of each file, by the file's path. */
export type Files = ReadonlyMap<string, Uint8Array>

export interface SimDisk {
  /**
   * The disk for the process that runs now. If a dead process still calls an operation, the operation never happens,
   * and its promise never settles.
   */
  readonly disk: Disk
  /**
   * Kills the process: its locks and open files are gone. The machine goes on, so everything that was written can be
   * read.
   */
  kill(): void
  /** Cuts the power: the process is gone, and so is a part, by chance, of what was not synced. */
  crash(): void
  /** The files that are certain to survive a power cut. Use it for backups, and for what an oracle may rely on. */
  snapshot(): Files
  /** Kills the process, and replaces the files by these, durably. */
  restore(files: Files): void
  /** Kills the process, and replaces the files by these. Their bytes are durable, but the names in folders are not. */
  copyIn(files: Files): void
  /** The files as a reader sees them. */
  files(): Files
  /**
   * Paths that a power cut may take away or bring back: they were made, renamed or removed, and their folder was not
   * synced since.
   */
  unsyncedNames(): string[]
  /** Flips bits of one byte of a file, durably. The process that runs reads the new byte. */
  rot(path: string, at: number, mask?: number): void
  /** Number of bytes that were read since the disk was made. */
  readonly bytesRead: number
}

/** One change of a file since it was synced: bytes written at an offset, or a new size. */
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

const FOLDER = "folder"
/** What a path may name. */
type Named = Inode | typeof FOLDER

/** A change of what a path names. `named`: what it names from now on, or undefined for nothing. */
interface Naming {
  readonly path: string
  readonly named: Named | undefined
}

/** Names that were changed together and are not durable before `folder` is synced. A rename changes two names. */
interface Unsynced {
  readonly folder: string
  readonly namings: readonly Naming[]
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
  readonly #keepsOrder: boolean
  #names = new Map<string, Named>()
  #durableNames = new Map<string, Named>()
  /** Changes of names since their folders were synced, in order. */
  #unsynced: Unsynced[] = []
  /** Folders that the process has begun to make. */
  readonly #making = new Set<string>()
  #life = 0

  constructor({ random, names = "first", before = () => {} }: SimDiskOptions) {
    this.#random = random
    this.#keepsOrder = names === "first"
    this.#before = before
    this.disk = this.#newDisk()
  }

  // ── what a test does to the disk ─────────────────────────────────────────────────────────────────────────────────

  kill(): void {
    this.#life++
    this.disk = this.#newDisk()
    // A folder that the dead process was making exists, but its name is not durable, because the folder above it may
    // not have been synced.
    for (const folder of this.#making) this.#nameFolder(folder)
    this.#making.clear()
  }

  crash(): void {
    this.kill()
    const ended = new Set<string>()
    this.#settleNames(({ folder }) => {
      const survives = !ended.has(folder) && this.#random() >= 0.5
      if (!survives && this.#keepsOrder) ended.add(folder)
      return survives
    })
    this.#unsynced = []
    this.#names = new Map(this.#reachable())
    this.#durableNames = new Map(this.#names)
    for (const inode of new Set(this.#names.values())) {
      if (inode === FOLDER) continue
      for (const change of inode.unsynced) inode.durable = this.#survives(inode.durable, change)
      inode.bytes = inode.durable
      inode.unsynced = []
    }
  }

  snapshot(): Files {
    return contents(this.#reachable(), ({ durable }) => durable)
  }

  restore(files: Files): void {
    this.#put(files)
    this.#durableNames = new Map(this.#names)
    this.#unsynced = []
  }

  copyIn(files: Files): void {
    this.#put(files)
    this.#durableNames.clear()
    this.#unsynced = [...this.#names].map(([path, named]) => ({ folder: folderOf(path), namings: [{ path, named }] }))
  }

  files(): Files {
    return contents(this.#names, ({ bytes }) => bytes)
  }

  unsyncedNames(): string[] {
    return this.#unsynced.flatMap(({ namings }) => namings.map(({ path }) => path))
  }

  rot(path: string, at: number, mask = 0xff): void {
    const inode = this.#inode(path)
    const turned = (bytes: Uint8Array) => bytes.map((byte, i) => (i === at ? byte ^ mask : byte))
    inode.durable = turned(inode.durable)
    inode.bytes = turned(inode.bytes)
  }

  // ── the disk as a process uses it ────────────────────────────────────────────────────────────────────────────────

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
      identity: async (folder) => folder,
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
      makeFolder: (folder) => {
        if (life === this.#life) this.#making.add(folder)
        const make = () => {
          this.#making.delete(folder)
          return this.#nameFolder(folder)
        }
        const makeDurably = () => {
          for (const path of [...make(), folder]) this.#syncFolder(folderOf(path))
        }
        return act("makeFolder", folder, makeDurably, make)
      },
      open: (path) =>
        act("open", path, () => {
          if (folderOf(path) !== "" && this.#names.get(folderOf(path)) !== FOLDER) throw missing(path)
          let inode = this.#names.get(path)
          if (!inode) this.#name(folderOf(path), [{ path, named: (inode = new Inode()) }])
          if (inode === FOLDER) throw new Error(`EISDIR: ${path}`)
          return this.#file(act, path, inode)
        }),
      read: (path) => act("open", path, () => this.#file(act, path, this.#inode(path))),
      rename: (from, to) =>
        act("rename", from, () => {
          const inode = this.#inode(from)
          this.#name(folderOf(to), [
            { path: from, named: undefined },
            { path: to, named: inode },
          ])
        }),
      remove: (path) =>
        act("remove", path, () => {
          this.#inode(path)
          this.#name(folderOf(path), [{ path, named: undefined }])
        }),
      syncFolder: (folder) => act("syncFolder", folder, () => this.#syncFolder(folder)),
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
      sync: () =>
        act(
          "sync",
          path,
          () => {
            inode.sync()
            if (this.#names.get(path) !== inode) throw missing(path)
          },
          failSync,
        ),
      close: () => act("close", path, () => {}),
    }
  }

  // ── names and bytes ──────────────────────────────────────────────────────────────────────────────────────────────

  #inode(path: string): Inode {
    const named = this.#names.get(path)
    if (named && named !== FOLDER) return named
    throw missing(path)
  }

  #name(folder: string, namings: readonly Naming[]): void {
    apply(this.#names, namings)
    this.#unsynced.push({ folder, namings })
  }

  /**
   * Makes the folder and the folders above it where they are missing, with names that are not durable. Returns the
   * folders that it made.
   */
  #nameFolder(folder: string): string[] {
    const made = withAbove(folder).filter((path) => !this.#names.has(path))
    for (const path of made) this.#name(folderOf(path), [{ path, named: FOLDER }])
    return made
  }

  #syncFolder(synced: string): void {
    this.#settleNames(({ folder }) => folder === synced)
  }

  #settleNames(isDurable: (unsynced: Unsynced) => boolean): void {
    this.#unsynced = this.#unsynced.filter((unsynced) => {
      if (!isDurable(unsynced)) return true
      apply(this.#durableNames, unsynced.namings)
      return false
    })
  }

  /** The durable names whose folders are durable too. */
  #reachable(): [string, Named][] {
    const isThere = (folder: string) => folder === "" || this.#durableNames.get(folder) === FOLDER
    return [...this.#durableNames].filter(([path]) => withAbove(folderOf(path)).every(isThere))
  }

  /** Kills the process, and replaces the files by these. */
  #put(files: Files): void {
    this.kill()
    const folders = [...files.keys()].flatMap((path) => withAbove(folderOf(path)))
    const inodes = [...files].map(([path, bytes]): [string, Named] => [path, new Inode(bytes)])
    this.#names = new Map([...folders.map((folder): [string, Named] => [folder, FOLDER]), ...inodes])
  }

  /** What is left of a change that was not synced: all of it, nothing, its beginning, or only some of its sectors. */
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

function apply(names: Map<string, Named>, namings: readonly Naming[]): void {
  for (const { path, named } of namings) {
    if (named) names.set(path, named)
    else names.delete(path)
  }
}

function contents(names: Iterable<readonly [string, Named]>, bytesOf: (inode: Inode) => Uint8Array): Files {
  const files = new Map<string, Uint8Array>()
  for (const [path, named] of names) if (named !== FOLDER) files.set(path, bytesOf(named))
  return files
}

function applied(bytes: Uint8Array, change: Change): Uint8Array {
  const size = "size" in change ? change.size : Math.max(bytes.length, change.at + change.bytes.length)
  const after = new Uint8Array(size)
  after.set(bytes.subarray(0, size))
  if ("at" in change) after.set(change.bytes, change.at)
  return after
}

const missing = (path: string) => Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" })

/** The folder of a path. "" when the path is in no named folder. */
const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")))

/** The folder and those above it, the topmost one first, without "". */
function withAbove(folder: string): string[] {
  return folder === "" ? [] : [...withAbove(folderOf(folder)), folder]
}
