/**
 * Keeps the reserve: a file that takes up disk space. When the disk is full, `nodeStore` deletes the file, so that
 * LevelDB can use its space. LevelDB needs space each time it is opened: for a new manifest, and for a table with the
 * records of its logs. Without this space the database could not be opened, and so could not even be read.
 */
import { randomFillSync } from "node:crypto"
import { open, readdir, rm, stat, truncate } from "node:fs/promises"
import { join } from "node:path"

/**
 * The space that LevelDB needs for an opening, besides the bytes in its logs. Measured: 16 kB. The rest is a margin.
 */
const LEAST_BYTES = 128 * 1024
/** The reserve grows by at least this many bytes, so that few writes have to wait while it grows. */
const STEP_BYTES = 256 * 1024
/** The size to which an opening cuts a larger reserve, because the logs are empty then. */
const KEPT_BYTES = 2 ** 20

export class Reserve {
  readonly #folder: string
  readonly #path: string
  /** The size of the reserve file in bytes; 0 when there is no file. */
  #bytes = 0
  /** The most bytes that LevelDB's logs can have now. */
  #logged = 0

  constructor(folder: string) {
    this.#folder = folder
    this.#path = join(folder, "reserve")
  }

  /**
   * Call when the database has been opened, which empties its logs. Makes the reserve as large as the next opening
   * needs, if the disk has the space.
   */
  async opened(): Promise<void> {
    this.#logged = 0
    this.#bytes = Math.min(KEPT_BYTES, await sizeOf(this.#path))
    if (this.#bytes === KEPT_BYTES) await truncate(this.#path, KEPT_BYTES)
    await this.before(0)?.catch(() => {}) // each commit tries again to make the reserve
  }

  /**
   * Call before `bytes` more are written to the logs. Makes the reserve as large as the next opening will need, and
   * returns undefined when it is large enough already. Rejects when the disk has no space for the reserve. Then nothing
   * may be written, because a write would use up the space that the next opening needs.
   */
  before(bytes: number): Promise<void> | undefined {
    this.#logged += bytes
    if (this.#logged + LEAST_BYTES <= this.#bytes) return undefined
    return this.#grow(bytes).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOSPC" || error.code === "EDQUOT") throw error
      // After any other error, the store continues with the reserve that it has.
    })
  }

  async #grow(bytes: number): Promise<void> {
    this.#logged = bytes + (await this.#measureLogs())
    const lacking = this.#logged + LEAST_BYTES - this.#bytes
    if (lacking <= 0) return
    const more = Math.max(lacking, this.#bytes === 0 ? 0 : STEP_BYTES)
    const file = await open(this.#path, "a")
    try {
      await file.writeFile(randomFillSync(Buffer.alloc(more))) // zeros might take no space on the disk
      this.#bytes += more
    } catch (error) {
      // Nothing is written until the reserve has grown. Until then, a reserve of at most `LEAST_BYTES` is enough, and
      // other programs get the rest of the disk's space.
      const { size } = await file.stat()
      this.#bytes = Math.max(this.#bytes, Math.min(size, LEAST_BYTES))
      await file.truncate(this.#bytes)
      throw error
    } finally {
      await file.close()
    }
  }

  /** Call when LevelDB has emptied its logs. Cuts the reserve to the size that it has after an opening. */
  async trim(): Promise<void> {
    this.#logged = await this.#measureLogs()
    const needed = Math.max(KEPT_BYTES, this.#logged + LEAST_BYTES)
    if (needed >= this.#bytes) return
    await truncate(this.#path, needed)
    this.#bytes = needed
  }

  async #measureLogs(): Promise<number> {
    const logs = (await readdir(this.#folder)).filter((name) => name.endsWith(".log"))
    const sizes = await Promise.all(logs.map((name) => sizeOf(join(this.#folder, name))))
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /** Deletes the reserve, so that the database can use its space. */
  async release(): Promise<void> {
    this.#bytes = 0
    await rm(this.#path, { force: true })
  }
}

/** Returns the size of a file in bytes; 0 when there is no such file. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )
