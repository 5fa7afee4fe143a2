/** Reuses memory for large reads, because new memory for each read would make the process grow. */
import type { OpenFiles } from "./open-files.ts"

export class Buffers {
  /** Bytes of one buffer. A long read should be split into reads of this size. */
  readonly bytes: number
  readonly #files: OpenFiles
  readonly #limit: number
  readonly #free: Buffer[] = []

  /** `limit`: the number of buffers that are kept between reads. */
  constructor(files: OpenFiles, bytes: number, limit: number) {
    this.#files = files
    this.bytes = bytes
    this.#limit = limit
  }

  /**
   * Reads bytes of a file and passes them to `use`, which must not keep them, because the next read overwrites them.
   */
  async read<T>(path: string, at: number, length: number, use: (bytes: Buffer) => T): Promise<T> {
    const free = length <= this.bytes ? this.#free.pop() : undefined
    const memory = free ?? Buffer.allocUnsafeSlow(Math.max(length, this.bytes))
    try {
      return use(await this.#files.read(path, at, length, memory))
    } finally {
      if (memory.length === this.bytes && this.#free.length < this.#limit) this.#free.push(memory)
    }
  }
}
