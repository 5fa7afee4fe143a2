/** Folders of which the names are there after a power cut (POSIX fsync of the folder above). */
import { mkdir, open, stat } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Makes a folder and those above it that are missing. Not by `recursive`: where the system says that there is no such
 * place (below /proc), Node tries for ever.
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
  // Its name stands in the folder above it. One that was here may be as new: its maker was killed before it synced.
  await syncFolder(dirname(folder)).catch((error: NodeJS.ErrnoException) => {
    if (made || (error.code !== "EACCES" && error.code !== "EPERM")) throw error
  })
}

/** Makes the names in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows opens no folders, and keeps its names without being asked.
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  try {
    await handle.sync().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EINVAL") throw error // POSIX: not possible for such a file; some network disks
    })
  } finally {
    await handle.close()
  }
}
