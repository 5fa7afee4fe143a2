/** A small file system in memory that a test can fill. */
import { execFileSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"

/** Why this machine cannot mount a `SmallDisk`. Undefined: it can, so a mount that fails later fails the test. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== "linux") return "a tmpfs needs Linux"
  if (process.getuid?.() !== 0) return "mounting a tmpfs needs root"
  try {
    new SmallDisk(1)[Symbol.dispose]()
  } catch (error) {
    return `mounting a tmpfs is not allowed here: ${(error as Error).message.trim().split("\n").at(-1)}`
  }
  return undefined
}

export class SmallDisk implements Disposable {
  readonly path = mkdtempSync(path.join(tmpdir(), "headwater-full-"))

  constructor(megabytes: number) {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", this.path], { stdio: "pipe" })
  }

  /** Fills the file system until no more than `left` bytes are free. */
  fill(left = 0): void {
    const file = openSync(path.join(this.path, "filler"), "a")
    const free = () => {
      const { bavail, bsize } = statfsSync(this.path)
      return bavail * bsize
    }
    while (free() > left) writeSync(file, Buffer.alloc(4096, 1))
    closeSync(file)
  }

  /** Removes what `fill` has written. */
  makeRoom(): void {
    rmSync(path.join(this.path, "filler"))
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["-l", this.path])
    rmSync(this.path, { recursive: true })
  }
}
