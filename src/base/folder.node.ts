/** Makes folders whose names survive a power cut, for which POSIX asks for an fsync of the folder above. */
import { mkdir, open, stat } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Makes a folder and the missing ones above it. Does not use Node's `recursive`: where the system denies that a folder
 * can exist (under /proc), Node tries for ever.
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
  // The folder above has the name of this one. It is synced even if this folder was here already: whoever made it may
  // have died before the sync.
  await syncFolder(dirname(folder)).catch((error: NodeJS.ErrnoException) => {
    if (made || (error.code !== "EACCES" && error.code !== "EPERM")) throw error
  })
}

/** Makes the names in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders, and keeps their names without being asked.
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  try {
    await handle.sync().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EINVAL") throw error // POSIX: this cannot be synced (folders on some network disks)
    })
  } finally {
    await handle.close()
  }
}
