/**
 * Room on the disk that a `nodeStore` keeps for the time when the disk is full. LevelDB writes when it is opened: a new
 * manifest, and a table of what its logs hold. Where there is no room for these, nothing could be read any more.
 */
import { randomFillSync } from "node:crypto"
import { open, readdir, rm, stat, truncate } from "node:fs/promises"
import { join } from "node:path"

/** What an opening takes besides what the logs hold, with some to spare. Measured: 16 kB. */
const LEAST_BYTES = 128 * 1024
/** The reserve grows by this at least, so that few writes wait for that. */
const STEP_BYTES = 256 * 1024
/** What is kept from one opening to the next, when the logs are empty. */
const KEPT_BYTES = 2 ** 20

export class Reserve {
  readonly #folder: string
  readonly #path: string
  /** Of the file; 0 where there is none. */
  #bytes = 0
  /** That LevelDB's logs hold at most. */
  #logged = 0

  constructor(folder: string) {
    this.#folder = folder
    this.#path = join(folder, "reserve")
  }

  /** Call when the database has been opened: its logs are empty. Makes the reserve, as far as there is room. */
  async opened(): Promise<void> {
    this.#logged = 0
    this.#bytes = Math.min(KEPT_BYTES, await sizeOf(this.#path))
    if (this.#bytes === KEPT_BYTES) await truncate(this.#path, KEPT_BYTES)
    await this.before(0)?.catch(() => {}) // each commit tries it again
  }

  /**
   * Call before `bytes` more are logged. Rejects when the disk has no room for the reserve that is needed then; nothing may
   * be written until it has, for that would use up what the next opening needs. Undefined: there is enough.
   */
  before(bytes: number): Promise<void> | undefined {
    this.#logged += bytes
    if (this.#logged + LEAST_BYTES <= this.#bytes) return undefined
    return this.#grow(bytes).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOSPC" || error.code === "EDQUOT") throw error
      // For any other reason the store goes on without it.
    })
  }

  async #grow(bytes: number): Promise<void> {
    this.#logged = bytes + (await this.#measureLogs())
    const lacking = this.#logged + LEAST_BYTES - this.#bytes
    if (lacking <= 0) return
    const more = Math.max(lacking, this.#bytes === 0 ? 0 : STEP_BYTES)
    const file = await open(this.#path, "a")
    try {
      await file.writeFile(randomFillSync(Buffer.alloc(more))) // zeros might take no room on the disk
      this.#bytes += more
    } catch (error) {
      // While nothing is written, a part of the least will do. More is for others, who may need the rest of the disk.
      const { size } = await file.stat()
      this.#bytes = Math.max(this.#bytes, Math.min(size, LEAST_BYTES))
      await file.truncate(this.#bytes)
      throw error
    } finally {
      await file.close()
    }
  }

  async #measureLogs(): Promise<number> {
    const logs = (await readdir(this.#folder)).filter((name) => name.endsWith(".log"))
    const sizes = await Promise.all(logs.map((name) => sizeOf(join(this.#folder, name))))
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /** Gives the room to the database. */
  async release(): Promise<void> {
    this.#bytes = 0
    await rm(this.#path, { force: true })
  }
}

/** Bytes of a file; 0 where it is not there. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )
