/**
 * Tells whether entries can be stored now. A trial write of a few bytes finds a full or broken disk before anybody
 * pushes. A log that could not be opened, or whose last flush failed, shows a fault that only its own files have.
 */
import type { Clock } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Disk } from "../machine/disk.ts"

/** Bytes of the trial write: one block. They are random, because some file systems store no zeros. */
const TRIAL_BYTES = 4096
/** Failed logs that are remembered at most. */
const MOST_FAILED = 1000

export interface HealthOptions {
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  /** How long an answer counts, ms. Without it, a client that asks all the time would keep the disk busy. */
  readonly healthMs: number
}

export class LogHealth {
  readonly #o: HealthOptions
  readonly #failed = new Set<string>()
  /** The last trial, while its answer counts. */
  #trial: Promise<void> | undefined

  constructor(options: HealthOptions) {
    this.#o = options
  }

  /** The workspace's log could not be written or opened. */
  failed(workspace: string): void {
    if (this.#failed.size < MOST_FAILED) this.#failed.add(workspace)
  }

  /** The workspace's log was written or opened, or is not open any more. */
  works(workspace: string): void {
    this.#failed.delete(workspace)
  }

  /** Rejects with `LOG_FAILED` when entries cannot be stored. */
  async check(): Promise<void> {
    const [failed] = this.#failed
    if (failed !== undefined)
      throw new HeadwaterError("LOG_FAILED", `the log of workspace ${failed} could not be opened or written last time`)
    if (!this.#trial) {
      this.#trial = this.#try()
      this.#trial.catch(() => {})
      this.#o.clock.after(this.#o.healthMs, () => {
        this.#trial = undefined
      })
    }
    await this.#trial
  }

  async #try(): Promise<void> {
    const { folder, disk, clock } = this.#o
    const path = `${folder}/health.tmp`
    try {
      const file = await disk.open(path)
      try {
        await file.truncate(0)
        await file.write(0, clock.random(TRIAL_BYTES))
        await file.sync()
      } finally {
        await file.close()
        await disk.remove(path)
      }
    } catch (cause) {
      throw new HeadwaterError(
        "LOG_FAILED",
        `the folder ${folder} cannot be written to: check its permissions and free space`,
        { cause },
      )
    }
  }
}
