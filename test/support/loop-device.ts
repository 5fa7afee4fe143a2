/**
 * An ext4 file system whose power can be cut: its disk is an image behind a loop device. What has not reached the image
 * by then is gone, as it is when a machine loses power; a copy of the image is what the machine finds when it starts again.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)

/** Why nobody can ask this machine to cut the power; undefined: it must work, and whatever does not is a failure. */
export function whyNoLoopDevice(): string | undefined {
  if (process.getuid?.() !== 0) return "mounting a loop device needs root"
  const folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
  return folders.some((folder) => existsSync(`${folder}/losetup`)) ? undefined : "losetup is not installed"
}

const MEGABYTES = 64
const mounted = new Set<LoopDisk>()

export class LoopDisk {
  /** Where it is mounted. */
  readonly path: string
  readonly #folder: string
  readonly #image: string

  private constructor(folder: string) {
    this.#folder = folder
    this.#image = path.join(folder, "image")
    this.path = path.join(folder, "mounted")
  }

  /** A new, empty one. */
  static async make(): Promise<LoopDisk> {
    return LoopDisk.#start(async (image) => {
      const file = await open(image, "w")
      await file.truncate(MEGABYTES * 2 ** 20)
      await file.close()
      await run("mkfs.ext4", ["-q", "-F", image])
    })
  }

  static async #start(write: (image: string) => Promise<void>): Promise<LoopDisk> {
    const disk = new LoopDisk(await mkdtemp(path.join(tmpdir(), "headwater-loop-")))
    await mkdir(disk.path)
    await write(disk.#image)
    await run("mount", ["-t", "ext4", "-o", "loop", disk.#image, disk.path])
    mounted.add(disk)
    return disk
  }

  /** Writes everything back, as a machine does that has some quiet seconds. */
  async settle(): Promise<void> {
    await run("sync", ["-f", this.path])
  }

  /**
   * The disk as it would be found had the power gone now, mounted again: the file system replays its journal.
   * Whoever writes to this one must be stopped meanwhile. The kernel may still be writing back, so the image is read
   * until it reads the same twice: then there was a moment between the two at which all of it was so.
   */
  async cut(): Promise<LoopDisk> {
    let image = await readFile(this.#image)
    for (;;) {
      const again = await readFile(this.#image)
      if (again.equals(image)) break
      image = again
    }
    return LoopDisk.#start((copy) => writeFile(copy, image))
  }

  /** Bytes of the image that have ever been written. */
  async written(): Promise<number> {
    return (await stat(this.#image)).blocks * 512
  }

  async remove(): Promise<void> {
    if (!mounted.delete(this)) return
    await run("umount", [this.path])
    await rm(this.#folder, { recursive: true })
  }
}

/** Unmounts and removes whatever is still mounted. Processes that have files open there must have ended. */
export async function removeAllDisks(): Promise<void> {
  for (const disk of [...mounted]) await disk.remove()
}
