/**
 * Caches the last used blocks of files in a bounded number of bytes, so that memory does not grow with the size of the
 * files.
 */
import type { OpenFiles } from "./open-files.ts"

export const BLOCK_BYTES = 4096
/** Must be greater than the number of blocks of any file. */
const BLOCKS_PER_FILE = 2 ** 24
/** With fewer blocks in memory, one look-up would drop a block that it needs again. */
const FEWEST_BLOCKS = 8

export class Blocks {
  readonly #files: OpenFiles
  readonly #limit: number
  /** The blocks by `#key`, in the order of their last use. */
  readonly #blocks = new Map<number, Buffer>()
  #lastPassed: { readonly key: number; readonly block: Buffer } | undefined
  /** Maps each path to a number for its content. A path whose content changes gets another number. */
  readonly #ids = new Map<string, number>()
  #nextId = 1

  constructor(files: OpenFiles, bytes: number) {
    this.#files = files
    this.#limit = Math.max(FEWEST_BLOCKS, Math.floor(bytes / BLOCK_BYTES))
  }

  /** Returns the `n`-th block of a file that does not change, if the block is in memory. */
  peek(path: string, n: number): Buffer | undefined {
    const key = this.#key(path, n)
    const block = this.#blocks.get(key)
    if (!block) return undefined
    this.#blocks.delete(key)
    this.#blocks.set(key, block)
    return block
  }

  /** Returns the `n`-th block; it is shorter at the end of the file. If `check` throws, the block is not kept. */
  async read(path: string, n: number, check?: (block: Buffer) => void): Promise<Buffer> {
    const ready = this.peek(path, n)
    if (ready) return ready
    const key = this.#key(path, n)
    const block = await this.#files.read(path, n * BLOCK_BYTES, BLOCK_BYTES)
    check?.(block)
    this.#blocks.set(key, block)
    if (this.#blocks.size > this.#limit) this.#blocks.delete(this.#blocks.keys().next().value!)
    return block
  }

  /**
   * Like `read`, for reading a file once from start to end: only the last block is kept, and no other block is dropped
   * for it.
   */
  async pass(path: string, n: number, check: (block: Buffer) => void): Promise<Buffer> {
    const key = this.#key(path, n)
    const ready = this.#lastPassed?.key === key ? this.#lastPassed.block : this.peek(path, n)
    if (ready) return ready
    const block = await this.#files.read(path, n * BLOCK_BYTES, BLOCK_BYTES)
    check(block)
    this.#lastPassed = { key, block }
    return block
  }

  /** Returns `length` bytes of a file that does not change, from byte `at` on, or fewer if the file ends before. */
  async range(path: string, at: number, length: number): Promise<Buffer> {
    const first = Math.floor(at / BLOCK_BYTES)
    const last = Math.floor((at + length - 1) / BLOCK_BYTES)
    const blocks: Buffer[] = []
    for (let n = first; n <= last; n++) blocks.push(this.peek(path, n) ?? (await this.read(path, n)))
    const bytes = blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
    const from = at - first * BLOCK_BYTES
    return bytes.subarray(from, from + length)
  }

  /**
   * Call it when the file is removed or replaced. Its old blocks are not returned any more, and are dropped from memory
   * as other blocks are added.
   */
  forget(path: string): void {
    this.#ids.delete(path)
  }

  clear(): void {
    this.#blocks.clear()
  }

  #key(path: string, n: number): number {
    let id = this.#ids.get(path)
    if (id === undefined) this.#ids.set(path, (id = this.#nextId++))
    return id * BLOCKS_PER_FILE + n
  }
}
