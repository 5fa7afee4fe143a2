/**
 * Makes folders whose directory entries survive a power cut (POSIX requires an fsync of the parent folder for that).
 * Also notices when a file is gone.
 */
import { statSync } from "node:fs"
import { mkdir, open, stat } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Makes a folder and its missing parent folders. Does not use the option `recursive` of Node's `mkdir`, because with it
 * Node tries for ever in a place where no folder can exist (under /proc).
 */
export async function makeFolder(folder: string): Promise<void> {
  let made = true
  const make = () =>
    mkdir(folder).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST" || !(await stat(folder)).isDirectory()) throw error
      made = false
    })
  await make().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" || dirname(folder) === folder) throw error
    await makeFolder(dirname(folder))
    await make()
  })
  // The directory entry of this folder is in its parent folder. The parent is synced even if this folder existed
  // already, because the process that made this folder may have died before the sync. But then the folder is usable
  // even if the parent, which may belong to another user, cannot be opened.
  await syncFolder(dirname(folder)).catch((error: NodeJS.ErrnoException) => {
    if (made || (error.code !== "EACCES" && error.code !== "EPERM")) throw error
  })
}

/** Syncs a folder, so that its directory entries survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders, and keeps directory entries without a sync.
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  try {
    await handle.sync().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EINVAL") throw error // EINVAL: this folder cannot be synced (as on some network disks)
    })
  } finally {
    await handle.close()
  }
}

/** The file to which a path led when it was looked up. */
export interface FileIdentity {
  readonly path: string
  readonly dev: bigint
  readonly ino: bigint
}

/** Finds out which file a path leads to; undefined when there is none. */
export async function identityOf(path: string): Promise<FileIdentity | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined)
  return found && { path, dev: found.dev, ino: found.ino }
}

/**
 * Whether the path still leads to this file. False only when the system says that the path leads to no file or to
 * another file; true when the system cannot say. Synchronous, because an asynchronous call takes four times as long.
 */
export function isThere({ path, dev, ino }: FileIdentity): boolean {
  try {
    const found = statSync(path, { bigint: true })
    return found.dev === dev && found.ino === ino
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code !== "ENOENT" && code !== "ENOTDIR"
  }
}
