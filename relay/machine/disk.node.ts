/** Implements `Disk` with the disk of this machine. */
import { createHash, randomBytes } from "node:crypto"
import { fstatSync, statSync } from "node:fs"
import { constants, type FileHandle, open, readdir, realpath, rename, rm, stat } from "node:fs/promises"
import { connect, createServer, type Server } from "node:net"
import { join } from "node:path"
import { HeadwaterError } from "../../src/base/errors.ts"
import { makeFolder, syncFolder } from "../../src/base/folder.node.ts"
import type { Disk, DiskFile } from "./disk.ts"

/** Makes the disk of a machine with this operating system. */
export function diskOn(platform: NodeJS.Platform): Disk {
  const writtenThrough = writtenThroughOn(platform)
  const flags = constants.O_RDWR | constants.O_CREAT | writtenThrough
  return {
    lock,
    identity,
    list: (folder) => readdir(folder).catch((error) => (isMissing(error) ? [] : Promise.reject(error))),

    makeFolder,
    open: async (path) => new NodeFile(path, await open(path, flags), writtenThrough !== 0),
    read: async (path) => new NodeFile(path, await open(path, "r"), false),
    rename,
    remove: (path) => rm(path),
    syncFolder,
  }
}

/**
 * Returns the flag for opening a file so that each write returns only once its bytes are on the disk, as if fdatasync
 * followed. Returns 0 on systems on which `sync` must follow each write. The flag saves a second trip to the thread
 * pool: waking a thread takes longer than writing a record. Only on Linux is the flag known to flush the drive's cache
 * as well, as fdatasync does. On macOS the flag leaves the bytes in that cache, so it is not used there. For `sync`,
 * Node calls `fcntl(F_FULLFSYNC)` on macOS, which flushes the cache.
 */
export function writtenThroughOn(platform: NodeJS.Platform): number {
  return platform === "linux" ? constants.O_DSYNC : 0
}

export const nodeDisk: Disk = diskOn(process.platform)

class NodeFile implements DiskFile {
  readonly #path: string
  readonly #handle: FileHandle
  /** Whether a write returns only once its bytes are on the disk (`writtenThroughOn`). */
  readonly #writtenThrough: boolean
  /**
   * Whether the file may have bytes that are not on the disk. True at first, because another process may have written
   * to the file and been killed before it called sync.
   */
  #unsynced = true

  /** Device and inode of the open file, once they were read. */
  #identity: { readonly dev: number; readonly ino: number } | undefined

  constructor(path: string, handle: FileHandle, writtenThrough: boolean) {
    this.#path = path
    this.#handle = handle
    this.#writtenThrough = writtenThrough
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  async read(at: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const bytes = into ?? Buffer.allocUnsafeSlow(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, at + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return bytes.subarray(0, done)
  }

  async write(at: number, bytes: Uint8Array): Promise<void> {
    if (!this.#writtenThrough) this.#unsynced = true
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, at + done)
      done += bytesWritten
    }
  }

  truncate(size: number): Promise<void> {
    this.#unsynced = true
    return this.#handle.truncate(size)
  }

  async sync(): Promise<void> {
    if (this.#unsynced) await this.#handle.datasync()
    this.#unsynced = false
    this.#requireName()
  }

  /**
   * Throws when the path does not name the open file any more. The system goes on writing to an open file whose name or
   * folder was removed, and later drops the bytes. `statSync` blocks for some 2 us only, whereas a trip to the thread
   * pool would take longer than most flushes.
   */
  #requireName(): void {
    this.#identity ??= fstatSync(this.#handle.fd)
    const { dev, ino } = this.#identity
    const named = statSync(this.#path, { throwIfNoEntry: false })
    if (named?.ino === ino && named.dev === dev) return
    const what = `${this.#path} was removed or replaced while it was in use: start the relay again`
    throw new HeadwaterError("LOG_FAILED", what)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

async function identity(folder: string): Promise<string | undefined> {
  const found = await stat(folder, { bigint: true }).catch((error) => {
    if (!isMissing(error)) throw error
  })
  return found?.isDirectory() ? `${found.dev} ${found.ino}` : undefined
}

/**
 * A process holds a folder's lock while it listens on a socket in the folder. The kernel closes the socket when the
 * process dies, however it dies, so no lock outlives its owner. A lock is tested by connecting to its socket: neither a
 * reused process id nor another container on the same volume can give a wrong answer. Every process first listens and
 * then tests all other locks. So two processes that start at the same time may both fail, but never both succeed. The
 * lock does not keep apart two machines that share a folder over a network, because neither sees the other's socket.
 */
async function lock(folder: string): Promise<() => Promise<void>> {
  if (process.platform === "win32") return lockByPipe(folder)
  const name = `lock.${randomBytes(4).toString("hex")}`
  const handle = await open(folder, "r")
  const server = createServer((socket) => socket.destroy())
  const release = async () => {
    await close(server)
    await handle.close()
  }
  try {
    const within = (file: string) => socketPath(folder, file, handle)
    await listen(server, within(name))
    for (const other of await readdir(folder)) {
      if (!/^lock\.[0-9a-f]{8}$/.test(other) || other === name) continue
      if (await answers(within(other))) throw inUse(folder)
      await rm(join(folder, other), { force: true })
    }
    return release
  } catch (error) {
    await release()
    throw error
  }
}

/**
 * Returns a path of the socket's file. The system allows only some 100 bytes for it. Instead of a longer path, Linux
 * accepts a short one through the handle of the open folder.
 */
function socketPath(folder: string, file: string, handle: FileHandle): string {
  const path = join(folder, file)
  return Buffer.byteLength(path) > 100 && process.platform === "linux" ? `/proc/self/fd/${handle.fd}/${file}` : path
}

/**
 * Locks a folder on Windows, by a named pipe. The name of a pipe belongs to one process at a time, and becomes free
 * when the process ends.
 */
async function lockByPipe(folder: string): Promise<() => Promise<void>> {
  const name = createHash("sha256")
    .update(await realpath(folder))
    .digest("hex")
  const server = createServer((socket) => socket.destroy())
  await listen(server, `\\\\.\\pipe\\headwater-${name}`).catch((error) => {
    throw error.code === "EADDRINUSE" ? inUse(folder) : error
  })
  return () => close(server)
}

const inUse = (folder: string) =>
  new HeadwaterError("STORE_IN_USE", `another relay serves the folder ${folder}; stop it first`)

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(path, () => {
      server.unref()
      resolve()
    })
  })
}

/** Closes the server, which removes the socket's file. */
const close = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()))

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    // These two codes mean that nobody listens. After any other error somebody might listen.
    socket.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT")
    })
  })
}

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === "ENOENT"
