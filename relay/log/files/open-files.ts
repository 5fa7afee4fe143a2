/** Keeps files open for reading. All logs of a relay share a bounded number of descriptors. */
import type { Disk, DiskFile } from "../../machine/disk.ts"
import { asBuffer } from "../bytes.ts"
import { readAround, SECTOR_BYTES } from "./bad-sectors.ts"

interface OpenFile {
  readonly file: Promise<DiskFile>
  /** Number of reads under way. While there are any, the file is not closed in favour of another. */
  readers: number
}

export class OpenFiles {
  readonly #disk: Disk
  readonly #limit: number
  /** The open files by path, in the order of their last use. */
  readonly #files = new Map<string, OpenFile>()

  /** By path, the numbers of the file's sectors that could not be read. */
  readonly #bad = new Map<string, Set<number>>()

  /** `limit`: the number of descriptors that stay open between reads. */
  constructor(disk: Disk, limit: number) {
    this.#disk = disk
    this.#limit = limit
  }

  /**
   * Reads `length` bytes from byte `at` on, or fewer if the file ends before. Returns them in `into`, or in new memory.
   * Has zeros in place of sectors that cannot be read.
   */
  async read(path: string, at: number, length: number, into?: Uint8Array): Promise<Buffer> {
    const open = this.#open(path)
    open.readers++
    try {
      return asBuffer(await readAround(await open.file, at, length, into, (sector) => this.#noteBad(path, sector)))
    } catch (error) {
      this.#close(path, open)
      throw error
    } finally {
      open.readers--
      this.#trim()
    }
  }

  /** Whether a read has met a bad sector in the range from `from` up to `to`. */
  isBad(path: string, from: number, to: number): boolean {
    const sectors = this.#bad.get(path) ?? []
    return [...sectors].some((n) => n * SECTOR_BYTES < to && (n + 1) * SECTOR_BYTES > from)
  }

  /**
   * Call it when the file is removed or replaced: the next read then opens the file that the path names at that time.
   */
  forget(path: string): void {
    this.#bad.delete(path)
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

  #noteBad(path: string, sector: number): void {
    this.#bad.set(path, (this.#bad.get(path) ?? new Set()).add(sector))
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
    // Reads under way still get their bytes, because the disk closes the file only after the last of these reads.
    open.file.then((file) => file.close()).catch(() => {})
  }
}
