import type { Target } from "./export.ts"
import { spellingsOf } from "./file-name.ts"

/** Makes a folder of the File System API the target of an export. */
export function inFolder(root: FileSystemDirectoryHandle): Target {
  return {
    async read(path) {
      const { folders, name } = divided(path)
      let folder: FileSystemDirectoryHandle | undefined = root
      for (const each of folders) folder &&= await found(folder.getDirectoryHandle(each))
      return (folder && (await found(folder.getFileHandle(name))))?.getFile()
    },
    async write(path, text) {
      const { folders, name } = divided(path)
      let folder = root
      for (const each of folders)
        folder = (await there(folder, each)) ?? (await folder.getDirectoryHandle(each, { create: true }))
      const writable = await (await folder.getFileHandle(name, { create: true })).createWritable()
      await writable.write(text)
      await writable.close()
    },
  }
}

/**
 * Returns the folder of this name or, if there is none, of another spelling of the name, so that no second folder is
 * made beside it.
 */
async function there(parent: FileSystemDirectoryHandle, name: string): Promise<FileSystemDirectoryHandle | undefined> {
  for (const spelling of new Set([name, ...spellingsOf(name)])) {
    const folder = await found(parent.getDirectoryHandle(spelling))
    if (folder !== undefined) return folder
  }
  return undefined
}

/** Resolves with undefined when the folder has no such entry. */
function found<T>(handle: Promise<T>): Promise<T | undefined> {
  return handle.catch((error: Error) => {
    if (error.name === "NotFoundError") return undefined
    throw error
  })
}

function divided(path: string): { folders: string[]; name: string } {
  const folders = path.split("/")
  return { name: folders.pop() ?? "", folders }
}
