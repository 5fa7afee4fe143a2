/**
 * Checks whether entries can be stored now. A trial write of one block detects a full or broken disk before anybody
 * pushes. A failed flush of one log does not make `check` reject, because the other logs may work. A failed flush only
 * discards the result of the last trial, so that the next `check` writes again.
 */
import type { Clock } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Disk } from "../machine/disk.ts"

/**
 * Bytes of the trial write: one block. The bytes are random. Some file systems use no space for zeros, so a write of
 * zeros would succeed on a full disk.
 */
const TRIAL_BYTES = 4096

export interface HealthOptions {
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  /**
   * ms for which the result of a trial is reused. Otherwise a client that asks for the relay's health again and again
   * would keep the disk busy.
   */
  readonly healthMs: number
}

export class LogHealth {
  readonly #o: HealthOptions
  /** Whether a flush has failed and no flush has succeeded since. */
  #failing = false
  /** The last trial, until its result expires. */
  #trial: Promise<void> | undefined
  /** Resolves when the last trial has ended. Trials run one after the other, because all write to the same file. */
  #lastTrial = Promise.resolve()

  constructor(options: HealthOptions) {
    this.#o = options
  }

  /** Call it when a log could not be written, because the result of an earlier trial is then outdated. */
  failed(): void {
    this.#failing = true
    this.#trial = undefined
  }

  /**
   * Call it when a log was written. If a flush had failed before, the result of the last trial is outdated.
   */
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
