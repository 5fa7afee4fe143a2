/**
 * What all logs of a relay read through: a bounded number of open files, and a bounded number of bytes of the blocks
 * that were read last. So memory does not grow with what is stored.
 */
import type { Disk, DiskFile } from "../machine/disk.ts"

export const BLOCK = 4096
/** Bytes that are read of a file at once where much is read of it, and how many such pieces of memory are kept. */
export const WINDOW = 2 ** 18
const WINDOWS = 4
const FILES = 128
/** More blocks than any file has. */
const SPACE = 2 ** 24

interface OpenFile {
  readonly file: Promise<DiskFile>
  users: number
}

export class Cache {
  readonly #disk: Disk
  readonly #blocks: number
  /** Both in the order of their last use. */
  readonly #files = new Map<string, OpenFile>()
  readonly #read = new Map<number, Buffer>()
  readonly #windows: Buffer[] = []
  #passed: { readonly key: number; readonly block: Buffer } | undefined
  /** Names a file's content; a path whose content changes gets another one. */
  readonly #ids = new Map<string, number>()
  #nextId = 1

  constructor(disk: Disk, bytes: number) {
    this.#disk = disk
    this.#blocks = Math.max(8, Math.floor(bytes / BLOCK))
  }

  /** Bytes of a file, past the cache; in new memory, or in this. */
  async read(path: string, at: number, length: number, into?: Uint8Array): Promise<Buffer> {
    const open = this.#open(path)
    open.users++
    try {
      return asBuffer(await (await open.file).read(at, length, into))
    } catch (error) {
      this.#close(path, open)
      throw error
    } finally {
      open.users--
      this.#trim()
    }
  }

  /** Shows `use` bytes of a file, past the cache. They are gone afterwards: their memory is used again. */
  async glance<T>(path: string, at: number, length: number, use: (bytes: Buffer) => T): Promise<T> {
    const spare = length <= WINDOW ? this.#windows.pop() : undefined
    const memory = spare ?? Buffer.allocUnsafeSlow(Math.max(length, WINDOW))
    try {
      return use(await this.read(path, at, length, memory))
    } finally {
      if (memory.length === WINDOW && this.#windows.length < WINDOWS) this.#windows.push(memory)
    }
  }

  /** The `n`-th block of a file that does not change, when it is at hand. */
  peek(path: string, n: number): Buffer | undefined {
    const key = this.#key(path, n)
    const block = this.#read.get(key)
    if (!block) return undefined
    this.#read.delete(key)
    this.#read.set(key, block)
    return block
  }

  /** The `n`-th block; shorter at the end of the file. `check` may throw, and then it is not kept. */
  async block(path: string, n: number, check?: (block: Buffer) => void): Promise<Buffer> {
    const ready = this.peek(path, n)
    if (ready) return ready
    const key = this.#key(path, n)
    const block = await this.read(path, n * BLOCK, BLOCK)
    check?.(block)
    this.#read.set(key, block)
    if (this.#read.size > this.#blocks) this.#read.delete(this.#read.keys().next().value!)
    return block
  }

  /** The same for whoever passes through a file once: only the last such block is kept, and nothing else goes for it. */
  async passing(path: string, n: number, check: (block: Buffer) => void): Promise<Buffer> {
    const key = this.#key(path, n)
    const ready = this.#passed?.key === key ? this.#passed.block : this.peek(path, n)
    if (ready) return ready
    const block = await this.read(path, n * BLOCK, BLOCK)
    check(block)
    this.#passed = { key, block }
    return block
  }

  /** Bytes of a file that does not change; fewer at its end. */
  async range(path: string, at: number, length: number): Promise<Buffer> {
    const first = Math.floor(at / BLOCK)
    const last = Math.floor((at + length - 1) / BLOCK)
    const blocks: Buffer[] = []
    for (let n = first; n <= last; n++) blocks.push(this.peek(path, n) ?? (await this.block(path, n)))
    const bytes = blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
    return bytes.subarray(at - first * BLOCK, at - first * BLOCK + length)
  }

  /** The file is gone, or another one will be there. */
  forget(path: string): void {
    this.#ids.delete(path)
    const open = this.#files.get(path)
    if (open) this.#close(path, open)
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()]
    this.#files.clear()
    this.#read.clear()
    await Promise.all(files.map(async ({ file }) => (await file).close()))
  }

  #key(path: string, n: number): number {
    let id = this.#ids.get(path)
    if (id === undefined) this.#ids.set(path, (id = this.#nextId++))
    return id * SPACE + n
  }

  #open(path: string): OpenFile {
    let open = this.#files.get(path)
    if (open) this.#files.delete(path)
    else open = { file: this.#disk.read(path), users: 0 }
    this.#files.set(path, open)
    return open
  }

  #trim(): void {
    if (this.#files.size <= FILES) return
    for (const [path, open] of this.#files) {
      if (open.users === 0) this.#close(path, open)
      if (this.#files.size <= FILES) return
    }
  }

  #close(path: string, open: OpenFile): void {
    if (this.#files.get(path) === open) this.#files.delete(path)
    // Who reads from it now still has it; the disk closes it behind the last read.
    open.file.then((file) => file.close()).catch(() => {})
  }
}

/** The same bytes as a Buffer. */
export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
