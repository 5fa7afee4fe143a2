/**
 * Frees the disk space of records that were overwritten or deleted. LevelDB itself frees this space only when it
 * happens to merge the files that have such records. After a first sync of 3,000 notes, such records took two thirds of
 * the folder, and LevelDB did not free them.
 */
import { readdir, readFile, stat, statfs, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { ClassicLevel } from "classic-level"

type Level = ClassicLevel<string, Buffer>

/**
 * The name of the file with the size of all tables and logs after the last compaction, in bytes. The size is not in the
 * database, because a write that fails there may make LevelDB lose later records.
 */
const SIZE_FILE = "compacted"
/**
 * How long nothing must have been written before a compaction, ms. Calls of `whenIdle` are no measure of this time,
 * because every open workspace of the folder calls it.
 */
const IDLE_MS = 3000
/**
 * In bytes. The folder is measured only after this much was written or deleted. It is compacted only if it has this
 * much more than twice its size after the last compaction, or if at least this much was deleted.
 */
const LEAST_BYTES = 2 * 2 ** 20
/** An estimate of the bytes that a deleted record takes in the tables: most are single changes and outbox records. */
const DELETED_BYTES = 200
/** In bytes. The folder is compacted only if the disk has free space for a copy of it and this much more. */
const ROOM_BYTES = 64 * 2 ** 20

export class Compaction {
  readonly #folder: string
  /** Bytes written since the folder was last measured. */
  #written = LEAST_BYTES
  /** Records deleted since the last compaction. */
  #deleted = 0
  /** Records deleted since the folder was last measured. */
  #deletedNow = 0
  /** When something was last written, as a time of `performance.now()`. */
  #wroteAt = Number.NEGATIVE_INFINITY
  #running: Promise<boolean> | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Call after each write. `deleted`: how many records it deletes. */
  wrote(bytes: number, deleted: number): void {
    this.#written += bytes
    this.#deleted += deleted
    this.#deletedNow += deleted
    this.#wroteAt = performance.now()
  }

  /**
   * Call every few seconds. Compacts the database when nothing was written for `IDLE_MS`, and one of two conditions
   * holds: its files have at least twice the bytes that they had after the last compaction, or about half of those
   * bytes were deleted. So each byte is written at most once more, and each deletion costs twice the bytes that it
   * frees.
   *
   * LevelDB compacts in a thread of its own; commits and reads go on meanwhile. Resolves with whether the database was
   * compacted.
   */
  async whenIdle(level: Level): Promise<boolean> {
    const isIdle = performance.now() - this.#wroteAt >= IDLE_MS
    const isLittle = this.#written < LEAST_BYTES && this.#deletedNow * DELETED_BYTES < LEAST_BYTES
    if (!isIdle || isLittle || this.#running !== undefined) return false
    this.#written = 0
    this.#deletedNow = 0
    // After a failed compaction the space stays in use. If LevelDB then refuses writes, the next commit opens the
    // database again.
    this.#running = this.#compact(level).catch(() => false)
    const isDone = await this.#running
    this.#running = undefined
    return isDone
  }

  /** Resolves when no compaction runs any more. Await it before the database is closed. */
  async ended(): Promise<void> {
    await this.#running
  }

  async #compact(level: Level): Promise<boolean> {
    const before = Number(await readFile(join(this.#folder, SIZE_FILE), "utf8").catch(() => 0)) || 0
    const now = await this.#bytes()
    const isHalfDeleted = this.#deleted * DELETED_BYTES >= Math.max(before / 2, LEAST_BYTES)
    if (now < 2 * before + LEAST_BYTES && !isHalfDeleted) return false
    const { bavail, bsize } = await statfs(this.#folder)
    if (bavail * bsize < now + ROOM_BYTES) return false
    const deleted = this.#deleted
    await level.compactRange("\u0000", "\uffff")
    this.#deleted -= deleted // what was deleted during the compaction still counts
    await writeFile(join(this.#folder, SIZE_FILE), String(await this.#bytes()))
    return true
  }

  /** Bytes of all tables and logs. */
  async #bytes(): Promise<number> {
    const names = (await readdir(this.#folder)).filter((name) => /\.(ldb|sst|log)$/.test(name))
    const sizes = await Promise.all(
      names.map((name) =>
        stat(join(this.#folder, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    )
    return sizes.reduce((sum, size) => sum + size, 0)
  }
}
