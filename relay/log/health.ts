/**
 * Whether entries can be stored now. A write of a few bytes tells of a full or broken disk before anybody pushes. A log
 * that fails says nothing of the others: its own clients are told, and its failure is only a reason to try again.
 */
import type { Clock } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Disk } from "../machine/disk.ts"

/** Bytes of the trial write: one block. They are random, because some file systems store no zeros. */
const TRIAL_BYTES = 4096

export interface HealthOptions {
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  /** How long an answer counts, ms. Without it, a client that asks all the time would keep the disk busy. */
  readonly healthMs: number
}

export class LogHealth {
  readonly #o: HealthOptions
  /** A flush has failed, and none has succeeded since. */
  #failing = false
  /** The last trial, as long as it counts. */
  #trial: Promise<void> | undefined
  /** Settles with the last trial: all write to the same file, one after the other. */
  #lastTrial = Promise.resolve()

  constructor(options: HealthOptions) {
    this.#o = options
  }

  /** A log could not be written: a trial from before says nothing any more. */
  failed(): void {
    this.#failing = true
    this.#trial = undefined
  }

  /** A log was written: after a failure, neither does a trial that has failed. */
  works(): void {
    if (this.#failing) this.#trial = undefined
    this.#failing = false
  }

  /** Rejects with `LOG_FAILED` when entries cannot be stored. */
  async check(): Promise<void> {
    if (!this.#trial) {
      const trial = this.#lastTrial.then(() => this.#try())
      this.#trial = trial
      this.#lastTrial = trial.catch(() => {})
      this.#o.clock.after(this.#o.healthMs, () => {
        if (this.#trial === trial) this.#trial = undefined
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
