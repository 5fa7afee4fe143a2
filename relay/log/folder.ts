/** The folder of one log, and what its parts share. */
import type { Clock } from "../../src/base/env.ts"
import type { Disk } from "../machine/disk.ts"
import type { Level } from "../machine/report.ts"
import type { Cache } from "./cache.ts"

export interface Folder {
  readonly path: string
  readonly workspace: string
  readonly disk: Disk
  readonly cache: Cache
  readonly clock: Clock
  /** When a segment is full. */
  readonly full: { readonly bytes: number; readonly entries: number; readonly changes: number }
  report(event: FolderEvent): void
}

/** Info: what was to be expected. Warn: something is wrong, and nothing is the worse for it. Error: something is lost, or was not stored. */
export interface FolderEvent {
  readonly level: Level
  readonly event: string
  readonly [detail: string]: unknown
}

const named = (folder: Folder, number: number) => `${folder.path}/${String(number).padStart(8, "0")}`
export const segmentPath = (folder: Folder, number: number): string => `${named(folder, number)}.log`
export const indexPath = (folder: Folder, number: number): string => `${named(folder, number)}.idx`

/** A file of the log does not hold what was written there. */
export class Damage extends Error {
  readonly segment: number

  constructor(segment: number, what: string) {
    super(`segment ${segment}: ${what}`)
    this.segment = segment
  }
}
