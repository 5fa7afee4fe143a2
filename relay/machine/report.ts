/** What a relay reports of itself: to a callback, or as lines of a log. */
import { HeadwaterError } from "../../src/base/errors.ts"

export type Level = "info" | "warn" | "error"

/** Where a relay reports what happens. It is never given a token, nor what is inside a change. */
export type Report = (level: Level, event: string, details?: Readonly<Record<string, unknown>>) => void

/** Writes one JSON object a line. A HeadwaterError is shown by its message and cause, any other error by its stack. */
export const linesTo =
  (stream: { write(line: string): unknown }, now: () => number): Report =>
  (level, event, details = {}) => {
    const shown = Object.entries(details).map(([key, value]) => [key, value instanceof Error ? describe(value) : value])
    const line = { time: new Date(now()).toISOString(), level, event, ...Object.fromEntries(shown) }
    stream.write(`${JSON.stringify(line)}\n`)
  }

function describe(error: Error): string {
  const own = error instanceof HeadwaterError ? error.message : (error.stack ?? error.message)
  return error.cause instanceof Error ? `${own} (${describe(error.cause)})` : own
}
