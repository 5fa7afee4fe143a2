/**
 * The relay's logs on segment files. Each workspace has a folder, named by the hex of sha256 of the workspace's id. The
 * folder holds the segments `00000001.log` and on (`segment/header.ts`, `segment/record.ts`), and beside each sealed
 * segment its index, `00000001.idx` and on (`segment/sealed-index-format.ts`).
 *
 * Memory holds the index of each open log's last segment (up to 15 MiB), and a bounded number of blocks of all other
 * files. So memory grows with the number of logs borrowed at the same time, not with the number of logs or their size.
 * A look-up in the sealed segments asks the Bloom filter of each segment, the newest first.
 */
import { hash } from "node:crypto"
import type { Clock } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Disk } from "../machine/disk.ts"
import type { Log, Logs } from "./contract.ts"
import { Reader } from "./files/reader.ts"
import type { LogEvent } from "./folder.ts"
import { LogHealth } from "./health.ts"
import { IdleLogs } from "./idle-logs.ts"
import { type LogSizes, usualLogSizes } from "./log-sizes.ts"
import { SegmentLog } from "./segment-log.ts"

export interface LogsOptions {
  /** The folder of the logs, made if it does not exist. One process at a time may use it. */
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  /**
   * Called for each problem with the disk, and for each step that a log takes to solve it:
   * `{ level, event: "log.…", workspace, … }`.
   */
  report(event: LogEvent): void
  /** Sizes that replace the usual ones, for tests. */
  readonly sizes?: Partial<LogSizes>
}

/**
 * Opens the folder. Rejects with `STORE_IN_USE` when another process uses the folder, and with `LOG_FAILED` when the
 * folder cannot be used.
 */
export async function openLogs(options: LogsOptions): Promise<Logs> {
  const { folder, disk } = options
  try {
    await disk.makeFolder(folder)
    const unlock = await disk.lock(folder)
    return new SegmentLogs(options, { identity: await disk.identity(folder), unlock })
  } catch (error) {
    if (error instanceof HeadwaterError) throw error
    const advice = "check that it is a folder that this process may write to, and that the disk has room"
    throw new HeadwaterError("LOG_FAILED", `the folder ${folder} cannot be used: ${advice}`, { cause: error })
  }
}

/** The folder that this process has locked. */
interface Locked {
  /** The folder's `Disk.identity`. */
  readonly identity: string | undefined
  unlock(): Promise<void>
}

/** A log that is open, or is being opened. */
interface Lent {
  readonly log: Promise<SegmentLog>
  /** The log, once it is open. */
  opened?: SegmentLog
  borrowers: number
}

class SegmentLogs implements Logs {
  readonly #options: LogsOptions
  readonly #sizes: LogSizes
  readonly #locked: Locked
  readonly #reader: Reader
  /** The open logs by workspace id. */
  readonly #open = new Map<string, Lent>()
  /** The logs in `#open` that nobody has borrowed. */
  readonly #idle: IdleLogs
  readonly #health: LogHealth
  /** Logs that are being shut, by workspace id. A log is opened again only after it is shut. */
  readonly #leaving = new Map<string, Promise<void>>()
  #closed = false

  constructor(options: LogsOptions, locked: Locked) {
    this.#options = options
    this.#sizes = { ...usualLogSizes, ...options.sizes }
    this.#locked = locked
    this.#idle = new IdleLogs(this.#sizes)
    this.#health = new LogHealth({ ...options, healthMs: this.#sizes.healthMs })
    this.#reader = new Reader(options.disk, this.#sizes)
  }

  async open(workspace: string): Promise<Log> {
    if (this.#closed) throw new HeadwaterError("CLOSED", "the logs are closed")
    if (Buffer.byteLength(workspace) > 64) throw new HeadwaterError("ID_INVALID", "a workspace id has at most 64 bytes")
    let lent = this.#open.get(workspace)
    if (lent) this.#idle.take(workspace)
    else this.#open.set(workspace, (lent = { log: this.#openLog(workspace), borrowers: 0 }))
    lent.borrowers++
    try {
      return (lent.opened = await lent.log)
    } catch (error) {
      if (this.#open.get(workspace) === lent) this.#open.delete(workspace)
      throw error
    }
  }

  async check(): Promise<void> {
    if (this.#closed) throw new HeadwaterError("CLOSED", "the logs are closed")
    await this.#requireFolder()
    await this.#health.check()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const open = [...this.#open.values()]
    await Promise.all(open.map(({ log }) => log.then((opened) => opened.shut()).catch(() => {})))
    await Promise.all(this.#leaving.values())
    await this.#reader.close()
    await this.#locked.unlock()
  }

  async #openLog(workspace: string): Promise<SegmentLog> {
    await this.#leaving.get(workspace)
    await this.#requireFolder()
    const { folder, disk, clock, report } = this.#options
    const shared = { disk, clock, reader: this.#reader, sizes: this.#sizes, health: this.#health }
    const path = `${folder}/${hash("sha256", workspace, "hex")}`
    const own = {
      report: (event: LogEvent) => report({ ...event, workspace }),
      make: async () => {
        await this.#requireFolder()
        await disk.makeFolder(path)
      },
    }
    return SegmentLog.open({ path, workspace, ...shared, ...own }, () => this.#giveBack(workspace))
  }

  /**
   * Rejects when the path does not name the locked folder any more. Nothing may then be written to the path, because
   * another process may use the folder that is there now, or nobody may ever read that folder.
   */
  async #requireFolder(): Promise<void> {
    const { folder, disk } = this.#options
    if ((await disk.identity(folder)) === this.#locked.identity) return
    const what = `the folder ${folder} was removed or replaced while it was in use: start the relay again`
    throw new HeadwaterError("LOG_FAILED", what)
  }

  #giveBack(workspace: string): void {
    const lent = this.#open.get(workspace)
    if (!lent || lent.borrowers === 0) return
    lent.borrowers--
    if (lent.borrowers > 0) return
    this.#idle.add(workspace, lent.opened?.memory ?? 0, () => this.#shut(workspace, lent))
  }

  #shut(workspace: string, { log }: Lent): void {
    this.#open.delete(workspace)
    const left = log
      .then((opened) => opened.shut())
      .catch((error) => this.#options.report({ level: "warn", event: "log.unclosed", workspace, error }))
      .finally(() => this.#leaving.delete(workspace))
    this.#leaving.set(workspace, left)
  }
}
