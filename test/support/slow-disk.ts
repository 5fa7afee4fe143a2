/** This machine's disk, whose syncs a test may hold back or let fail. */
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"

export interface SlowDisk extends Disk {
  /** Syncs wait until `release`: nothing becomes durable. */
  hold(): void
  release(): void
  /** Syncs fail until `mend`. */
  break(): void
  mend(): void
}

export function slowDisk(): SlowDisk {
  let open = Promise.resolve()
  let release = () => {}
  let broken = false
  const slow = async (opening: Promise<DiskFile>): Promise<DiskFile> => {
    const file = await opening
    return {
      size: () => file.size(),
      read: (at, length, into) => file.read(at, length, into),
      write: (at, bytes) => file.write(at, bytes),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
      async sync() {
        await open
        if (broken) throw new Error("the disk is broken")
        await file.sync()
      },
    }
  }
  return {
    ...nodeDisk,
    open: (path) => slow(nodeDisk.open(path)),
    hold() {
      open = new Promise((resolve) => {
        release = resolve
      })
    },
    release: () => release(),
    break() {
      broken = true
    },
    mend() {
      broken = false
    },
  }
}
