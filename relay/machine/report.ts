/** Passes the relay's events to a callback, or writes them as lines of JSON. */
import { HeadwaterError } from "../../src/base/errors.ts"

export type Level = "info" | "warn" | "error"

/** Receives the relay's events. No event has a token or the content of a change. */
export type Report = (level: Level, event: string, details?: Readonly<Record<string, unknown>>) => void

/** How many equal events are reported within `WINDOW_MS`. Further ones are only counted. */
const MOST = 20
const WINDOW_MS = 60_000

interface Window {
  readonly since: number
  readonly level: Level
  count: number
}

/**
 * Reports the first `MOST` equal events of a minute, and later how many more there were. Otherwise a client that
 * connects again and again with bad frames could fill the disk with lines. Events with the same name and code are
 * equal. `report` never throws, whatever the callback does.
 */
export class SparingReport {
  readonly #report: Report
  readonly #now: () => number
  /** Whether the callback has thrown. */
  #failed = false
  /**
   * The windows by event name and code. Their number is bounded, because all names and codes are in the relay's source.
   */
  readonly #windows = new Map<string, Window>()

  constructor(report: Report, now: () => number) {
    this.#report = report
    this.#now = now
  }

  readonly report: Report = (level, event, details) => {
    const code = details?.["code"]
    const kind = typeof code === "string" ? `${event} ${code}` : event
    const now = this.#now()
    let window = this.#windows.get(kind)
    if (!window || Math.abs(now - window.since) >= WINDOW_MS) {
      if (window) this.#tellLeftOut(kind, window)
      this.#windows.set(kind, (window = { since: now, level, count: 0 }))
    }
    if (++window.count <= MOST) this.#tell(level, event, details)
  }

  /** Calls the callback. When it throws, the relay goes on, and the first failure is shown as a warning. */
  #tell(...event: Parameters<Report>): void {
    const failed = (error: unknown) => {
      if (!this.#failed) process.emitWarning(`the callback for reports has failed: ${error}`, "HeadwaterWarning")
      this.#failed = true
    }
    try {
      const told: unknown = this.#report(...event)
      if (told instanceof Promise) told.catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  /** Call it when the relay closes. Reports the number of left-out events that was not reported yet. */
  end(): void {
    for (const [kind, window] of this.#windows) this.#tellLeftOut(kind, window)
    this.#windows.clear()
  }

  #tellLeftOut(kind: string, { level, count }: Window): void {
    if (count > MOST) this.#tell(level, "more of the same", { of: kind, leftOut: count - MOST })
  }
}

/** Writes each event as one line with a JSON object. */
export const linesTo =
  (stream: { write(line: string): unknown }, now: () => number): Report =>
  (level, event, details = {}) => {
    const shown = Object.entries(details).map(([key, value]) => [key, value instanceof Error ? describe(value) : value])
    const line = { time: new Date(now()).toISOString(), level, event, ...Object.fromEntries(shown) }
    stream.write(`${JSON.stringify(line)}\n`)
  }

/**
 * Returns the message of an error and its causes. An error is a defect, and is shown with its stack, unless it is a
 * `HeadwaterError` or names a system call.
 */
export function describe(error: Error): string {
  const own = error instanceof HeadwaterError || "syscall" in error ? error.message : (error.stack ?? error.message)
  return error.cause instanceof Error ? `${own} (${describe(error.cause)})` : own
}
