/** Files that are open for reading. All logs of a relay share a bounded number of descriptors. */
import type { Disk, DiskFile } from "../../machine/disk.ts"
import { asBuffer } from "../bytes.ts"

interface OpenFile {
  readonly file: Promise<DiskFile>
  /** Reads under way. A file that is read is not closed to make room. */
  readers: number
}

export class OpenFiles {
  readonly #disk: Disk
  readonly #limit: number
  /** By path, in the order of their last use. */
  readonly #files = new Map<string, OpenFile>()

  /** `limit`: descriptors that stay open between reads. */
  constructor(disk: Disk, limit: number) {
    this.#disk = disk
    this.#limit = limit
  }

  /** `length` bytes from `at` on, fewer at the end of the file. They are in `into`, or in new memory. */
  async read(path: string, at: number, length: number, into?: Uint8Array): Promise<Buffer> {
    const open = this.#open(path)
    open.readers++
    try {
      return asBuffer(await (await open.file).read(at, length, into))
    } catch (error) {
      this.#close(path, open)
      throw error
    } finally {
      open.readers--
      this.#trim()
    }
  }

  /** Call it when the file is removed or replaced: the next read opens what has the name then. */
  forget(path: string): void {
    const open = this.#files.get(path)
    if (open) this.#close(path, open)
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()]
    this.#files.clear()
    await Promise.all(files.map(async ({ file }) => (await file).close()))
  }

  #open(path: string): OpenFile {
    let open = this.#files.get(path)
    if (open) this.#files.delete(path)
    else open = { file: this.#disk.read(path), readers: 0 }
    this.#files.set(path, open)
    return open
  }

  #trim(): void {
    if (this.#files.size <= this.#limit) return
    for (const [path, open] of this.#files) {
      if (open.readers === 0) this.#close(path, open)
      if (this.#files.size <= this.#limit) return
    }
  }

  #close(path: string, open: OpenFile): void {
    if (this.#files.get(path) === open) this.#files.delete(path)
    // Reads under way keep the file: the disk closes it behind the last of them.
    open.file.then((file) => file.close()).catch(() => {})
  }
}
