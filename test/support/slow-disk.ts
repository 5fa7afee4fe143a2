/** This machine's disk. A test can hold back its syncs, make them fail, and break a part of the disk. */
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"

export interface SlowDisk extends Disk {
  /** Syncs wait until `release`, so nothing becomes durable. */
  hold(): void
  release(): void
  /** Syncs fail until `mend`. With `part`, only syncs and reads of files whose path contains it fail. */
  break(part?: string): void
  mend(): void
}

export function slowDisk(): SlowDisk {
  let open = Promise.resolve()
  let release = () => {}
  let broken = false
  let brokenPart: string | undefined
  const check = (path: string) => {
    if (brokenPart !== undefined && path.includes(brokenPart)) throw new Error("this part of the disk is broken")
  }
  const slow = async (path: string, opening: Promise<DiskFile>): Promise<DiskFile> => {
    const file = await opening
    return {
      size: () => file.size(),
      async read(at, length, into) {
        check(path)
        return file.read(at, length, into)
      },
      write: (at, bytes) => file.write(at, bytes),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
      async sync() {
        await open
        if (broken) throw new Error("the disk is broken")
        check(path)
        await file.sync()
      },
    }
  }
  return {
    ...nodeDisk,
    open: (path) => slow(path, nodeDisk.open(path)),
    read: (path) => slow(path, nodeDisk.read(path)),
    hold() {
      open = new Promise((resolve) => {
        release = resolve
      })
    },
    release: () => release(),
    break(part) {
      if (part === undefined) broken = true
      brokenPart = part
    },
    mend() {
      broken = false
      brokenPart = undefined
    },
  }
}
