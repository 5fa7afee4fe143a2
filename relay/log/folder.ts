/** The folder of one log: its file names, and the services that all parts of the log share. */
import type { Clock } from "../../src/base/env.ts"
import type { Disk } from "../machine/disk.ts"
import type { Level } from "../machine/report.ts"
import type { Reader } from "./files/reader.ts"
import type { LogHealth } from "./health.ts"
import type { LogSizes } from "./log-sizes.ts"

export interface Folder {
  readonly path: string
  readonly workspace: string
  readonly disk: Disk
  readonly reader: Reader
  readonly clock: Clock
  readonly sizes: LogSizes
  readonly health: LogHealth
  report(event: LogEvent): void
  /**
   * Makes the folder in the folder of all logs. Rejects with `LOG_FAILED` when the folder of all logs was removed or
   * replaced.
   */
  make(): Promise<void>
}

/**
 * An event for the relay's report. `info`: an expected event. `warn`: something is wrong, but nothing is lost. `error`:
 * something is lost, or was not stored.
 */
export interface LogEvent {
  readonly level: Level
  /** The name of the event: `log.…`. */
  readonly event: string
  readonly [detail: string]: unknown
}

const nameOf = (folder: Folder, number: number) => `${folder.path}/${String(number).padStart(8, "0")}`
export const segmentPath = (folder: Folder, number: number): string => `${nameOf(folder, number)}.log`
export const indexPath = (folder: Folder, number: number): string => `${nameOf(folder, number)}.idx`
