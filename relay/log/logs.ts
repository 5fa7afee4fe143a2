/**
 * The relay's log on segment files: one folder per workspace, named by the hex of sha256 of its id, with the segments
 * `00000001.log` and on (`log/format.ts`) and the index of each sealed one beside it (`log/index-format.ts`).
 *
 * Memory holds the heads of the records of each open log's last segment (up to 15 MiB), and blocks of everything
 * else in a cache of fixed size; a look-up in what is sealed asks a bloom filter of each segment, the newest first. So it
 * grows with the logs that are borrowed at the same time, neither with all that there are nor with what is in them.
 */
import { hash } from "node:crypto"
import type { Clock } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Disk } from "../machine/disk.ts"
import { Cache } from "./cache.ts"
import type { Log, Logs } from "./contract.ts"
import type { Folder, FolderEvent } from "./folder.ts"
import { FileLog } from "./segment-log.ts"

export interface LogsOptions {
  /** Made when it is not there. One process at a time has it. */
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  /** Told what is wrong with the disk and what was done about it: `{ level, event: "log.…", workspace, … }`. */
  report(event: FolderEvent): void
  /** Logs that stay open though nobody has borrowed them; 64 unless given. */
  readonly maxOpen?: number
  /** Bytes that those may keep in memory, about; 64 MiB unless given. */
  readonly idleBytes?: number
  /** Bytes of sealed segments and their indexes that all logs together keep in memory; 8 MiB unless given. */
  readonly cache?: number
  /** When a segment is sealed: 16 MiB, 20,000 entries or 65,536 changes unless given. */
  readonly segment?: { readonly bytes?: number; readonly entries?: number; readonly changes?: number }
}

/** `STORE_IN_USE`: another process serves the folder. `LOG_FAILED`: it cannot be used. */
export async function openLogs(options: LogsOptions): Promise<Logs> {
  const { folder, disk } = options
  try {
    await disk.makeFolder(folder)
    return new FileLogs(options, await disk.lock(folder))
  } catch (error) {
    if (error instanceof HeadwaterError) throw error
    throw new HeadwaterError("LOG_FAILED", `the folder ${folder} cannot be used`, { cause: error })
  }
}

/** A log that is open, or on its way in or out. */
interface Lent {
  readonly log: Promise<FileLog>
  /** Once it is. */
  opened?: FileLog
  borrowers: number
}

class FileLogs implements Logs {
  readonly #options: LogsOptions
  readonly #unlock: () => Promise<void>
  readonly #cache: Cache
  /** In the order of their last borrowing. */
  readonly #open = new Map<string, Lent>()
  /** What is being closed must be finished before it is opened again. */
  readonly #leaving = new Map<string, Promise<void>>()
  #closed = false

  constructor(options: LogsOptions, unlock: () => Promise<void>) {
    this.#options = options
    this.#unlock = unlock
    this.#cache = new Cache(options.disk, options.cache ?? 8 * 2 ** 20)
  }

  async open(workspace: string): Promise<Log> {
    if (this.#closed) throw new HeadwaterError("CLOSED", "the logs are closed")
    if (Buffer.byteLength(workspace) > 64) throw new HeadwaterError("ID_INVALID", "a workspace id has at most 64 bytes")
    const lent = this.#open.get(workspace) ?? { log: this.#openLog(workspace), borrowers: 0 }
    lent.borrowers++
    this.#open.delete(workspace)
    this.#open.set(workspace, lent)
    try {
      return (lent.opened = await lent.log)
    } catch (error) {
      if (this.#open.get(workspace) === lent) this.#open.delete(workspace)
      throw error
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const open = [...this.#open.values()]
    await Promise.all(open.map(({ log }) => log.then((opened) => opened.shut()).catch(() => {})))
    await Promise.all(this.#leaving.values())
    await this.#cache.close()
    await this.#unlock()
  }

  async #openLog(workspace: string): Promise<FileLog> {
    await this.#leaving.get(workspace)
    const { disk, clock, segment = {}, report } = this.#options
    const { bytes = 16 * 2 ** 20, entries = 20_000, changes = 2 ** 16 } = segment
    const folder: Folder = {
      path: `${this.#options.folder}/${hash("sha256", workspace, "hex")}`,
      workspace,
      disk,
      clock,
      cache: this.#cache,
      full: { bytes, entries, changes },
      report: (event) => report({ ...event, workspace }),
    }
    return FileLog.open(folder, () => this.#giveBack(workspace))
  }

  #giveBack(workspace: string): void {
    const lent = this.#open.get(workspace)
    if (!lent || lent.borrowers === 0) return
    lent.borrowers--
    const { maxOpen = 64, idleBytes = 64 * 2 ** 20 } = this.#options
    const idle = [...this.#open].filter(([, { borrowers }]) => borrowers === 0)
    let bytes = idle.reduce((sum, [, { opened }]) => sum + (opened?.memory ?? 0), 0)
    for (const [name, longest] of idle) {
      if (this.#open.size <= maxOpen && bytes <= idleBytes) return
      bytes -= longest.opened?.memory ?? 0
      this.#shut(name, longest)
    }
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
