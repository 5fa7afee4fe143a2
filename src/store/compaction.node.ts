/**
 * Frees the disk space of records that were overwritten or deleted. LevelDB frees it only when it happens to merge the
 * files that have them: after a first sync of 3,000 notes two thirds of the folder were such records, for good.
 */
import { readdir, stat, statfs } from "node:fs/promises"
import { join } from "node:path"
import type { ClassicLevel } from "classic-level"

type Level = ClassicLevel<string, Buffer>

/** The key of a record with the bytes of all tables after the last compaction. The store's contract has no such key. */
const SIZE_KEY = "\u0000compacted"
/** A folder with less to free than this is left as it is, bytes. */
const LEAST_BYTES = 2 * 2 ** 20
/** Nothing is compacted when the disk has less space than the folder takes and this, bytes. */
const ROOM_BYTES = 64 * 2 ** 20

export class Compaction {
  readonly #folder: string
  /** Bytes written since the folder was last measured. */
  #written = LEAST_BYTES
  /** Whether something was written since the last call of `whenIdle`. */
  #busy = false
  #running: Promise<boolean> | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  wrote(bytes: number): void {
    this.#written += bytes
    this.#busy = true
  }

  /**
   * Call every few seconds. Compacts the database when nothing was written since the last call, and when its tables
   * have at least twice the bytes that they had after the last compaction. So each byte is written at most once more.
   * LevelDB compacts in a thread of its own; commits and reads go on meanwhile. Resolves with whether it was done.
   */
  async whenIdle(level: Level): Promise<boolean> {
    const isIdle = !this.#busy
    this.#busy = false
    if (!isIdle || this.#written < LEAST_BYTES || this.#running !== undefined) return false
    this.#written = 0
    // A failure loses nothing but the space: if LevelDB refuses writes after it, the next commit opens it again.
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
    const before = Number((await level.get(SIZE_KEY)) ?? 0)
    const now = await this.#bytes()
    if (now < 2 * before + LEAST_BYTES) return false
    const { bavail, bsize } = await statfs(this.#folder)
    if (bavail * bsize < now + ROOM_BYTES) return false
    await level.compactRange("\u0000", "\uffff")
    await level.put(SIZE_KEY, Buffer.from(String(await this.#bytes())))
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
