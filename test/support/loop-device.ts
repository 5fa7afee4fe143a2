/**
 * An ext4 file system whose power can be cut. It is mounted from an image through a loop device. A copy of the image
 * has what a machine would find on its disk after a power failure: bytes that have not reached the image are not in the
 * copy.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)

/** Why this machine cannot make a `LoopDisk`. Undefined: it can, so a disk that cannot be made later fails the test. */
export function whyNoLoopDevice(): string | undefined {
  if (process.getuid?.() !== 0) return "mounting a loop device needs root"
  const folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
  return folders.some((folder) => existsSync(`${folder}/losetup`)) ? undefined : "losetup is not installed"
}

const MEGABYTES = 64
const mounted = new Set<LoopDisk>()

export class LoopDisk {
  /** Path at which the file system is mounted. */
  readonly path: string
  readonly #folder: string
  readonly #image: string

  private constructor(folder: string) {
    this.#folder = folder
    this.#image = path.join(folder, "image")
    this.path = path.join(folder, "mounted")
  }

  /** Makes a new, empty file system. */
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

  /** Writes everything to the image, as a machine does by itself some seconds after the last write. */
  async settle(): Promise<void> {
    await run("sync", ["-f", this.path])
  }

  /**
   * Mounts a copy of the disk as it would be after a power failure now; the file system replays its journal. Stop all
   * programs that write to this disk first. The kernel may still be writing, so the image is read until two reads give
   * the same bytes. Then the image had exactly these bytes at some moment between the two reads.
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

  /** Bytes of the image that were ever written. */
  async written(): Promise<number> {
    return (await stat(this.#image)).blocks * 512
  }

  async remove(): Promise<void> {
    if (!mounted.delete(this)) return
    await run("umount", [this.path])
    await rm(this.#folder, { recursive: true })
  }
}

/** Unmounts and removes all disks that are still mounted. Processes with open files on them must have ended. */
export async function removeAllDisks(): Promise<void> {
  for (const disk of [...mounted]) await disk.remove()
}
